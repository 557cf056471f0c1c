//! A blob on its way here. A connection that is cut or stalls is made again, and what has come is not asked for twice.

use std::io::{self, Read};

use ureq::http::{Method, Uri};

use super::answer::{Answer, interrupted};
use super::client::{Call, Target};
use super::patience::Tries;
use super::repository::Repository;
use super::{Error, Result};
use crate::oci::Descriptor;

/// Reads the blob's bytes from some place on, as one stream.
pub struct Download<'a> {
    repository: &'a Repository,
    descriptor: Descriptor,
    /// The next byte that is wanted.
    at: u64,
    body: Option<Box<dyn Read + Send>>,
    tries: Tries,
}

impl<'a> Download<'a> {
    pub fn new(repository: &'a Repository, descriptor: &Descriptor, from: u64) -> Self {
        let tries = Tries::new(repository.client.patience());
        Self { repository, descriptor: descriptor.clone(), at: from, body: None, tries }
    }

    /// Asks for it, so that what is not there is found out before anything is read.
    pub fn begin(mut self) -> Result<Self> {
        self.body = Some(self.connect()?);
        Ok(self)
    }

    fn connect(&mut self) -> Result<Box<dyn Read + Send>> {
        let target = self.repository.path("blobs", &self.descriptor.digest.to_string());
        match self.request(target) {
            Err(error) if error.is_absence() && !self.descriptor.urls.is_empty() => {
                self.connect_elsewhere(error)
            }
            connected => connected,
        }
    }

    /// A layer that may not be passed on is where its descriptor says.
    fn connect_elsewhere(&mut self, absence: Error) -> Result<Box<dyn Read + Send>> {
        let mut last = absence;
        for url in &self.descriptor.urls {
            let Ok(uri) = url.parse::<Uri>() else { continue };
            if uri.scheme_str() != Some("https") {
                log::warn!("layer {}: {url} is not fetched: it is not https", self.descriptor.digest);
                continue;
            }
            match self.request(Target::Whole(uri)) {
                Ok(body) => return Ok(body),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn request(&self, target: Target) -> Result<Box<dyn Read + Send>> {
        let client = &self.repository.client;
        let mut call = Call::new(Method::GET, target, &self.repository.scope);
        if self.at > 0 {
            call = call.with("range", &format!("bytes={}-", self.at));
        }
        let answer = client.ask_patiently(&mut call)?;
        let what = || format!("blob {}", self.descriptor.digest);
        let answer = answer.expect(&[200, 206], what)?;
        let skipped = self.begins_at(&answer)?;
        let body = answer.into_reader();
        if skipped == self.at {
            return Ok(Box::new(body));
        }
        // It does not know of ranges: what is here already comes again, and goes by.
        let mut body = body;
        let mut left = Read::take(&mut body, self.at - skipped);
        let patience = client.patience();
        let gone = io::copy(&mut left, &mut io::sink());
        match gone.map_err(|error| interrupted(client.host(), &patience, &error))? {
            gone if gone == self.at - skipped => Ok(Box::new(body)),
            _ => Err(Error::Cut { host: client.host().to_owned(), why: "the blob ended early".to_owned() }),
        }
    }

    /// Where the answer's bytes are in the blob: never behind what is wanted.
    fn begins_at(&self, answer: &Answer) -> Result<u64> {
        if answer.status() != 206 {
            return Ok(0);
        }
        let range = answer.header("content-range").unwrap_or_default();
        let start = range.trim().strip_prefix("bytes ").and_then(|range| range.split('-').next());
        match start.and_then(|start| start.trim().parse().ok()) {
            Some(start) if start <= self.at => Ok(start),
            _ => Err(Error::Malformed { host: answer.host.clone(), what: format!("the range {range:?}") }),
        }
    }

    /// The connection is gone; makes another, as often as patience lasts.
    fn reconnect(&mut self, mut fault: Error) -> io::Result<()> {
        self.body = None;
        loop {
            log::info!("blob {} at byte {}: {fault}", self.descriptor.digest, self.at);
            if !self.tries.wait(None) {
                return Err(io::Error::other(fault));
            }
            match self.connect() {
                Ok(body) => {
                    self.body = Some(body);
                    return Ok(());
                }
                Err(error) if error.is_passing() => fault = error,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(body) = &mut self.body else { return Ok(0) };
            let host = || self.repository.host().to_owned();
            let fault = match body.read(buffer) {
                Ok(0) if self.at < self.descriptor.size && !buffer.is_empty() => {
                    Error::Cut { host: host(), why: "the blob ended early".to_owned() }
                }
                Ok(count) => {
                    self.at += count as u64;
                    if count > 0 {
                        self.tries.renew();
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => interrupted(self.repository.host(), &self.repository.client.patience(), &error),
            };
            self.reconnect(fault)?;
        }
    }
}
