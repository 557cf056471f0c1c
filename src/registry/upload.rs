//! Images on their way to a registry: what it has is not sent, what another repository of it has is mounted from
//! there, and an upload that is cut goes on where the registry says it has come to.

use std::collections::HashMap;
use std::io::{self, Read};

use ureq::http::{Method, Uri};

use super::client::{Call, Payload, Target};
use super::patience::Tries;
use super::repository::Repository;
use super::url::with_parameter;
use super::{Error, Result};
use crate::image::{self, Outgoing, Sink};
use crate::oci::{Descriptor, Digest, Reference};

/// How a blob came to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    There,
    Mounted { from: String },
    Pushed,
}

/// A repository to be pushed to.
pub struct Push<'a> {
    repository: &'a Repository,
    /// The other repositories of the registry that may have a blob.
    elsewhere: HashMap<Digest, Vec<String>>,
    told: &'a (dyn Fn(&Descriptor, &Fate) + Sync),
}

impl<'a> Push<'a> {
    pub fn new(
        repository: &'a Repository,
        elsewhere: HashMap<Digest, Vec<String>>,
        told: &'a (dyn Fn(&Descriptor, &Fate) + Sync),
    ) -> Self {
        Self { repository, elsewhere, told }
    }

    fn find(&self, blob: &Descriptor) -> Result<Option<Fate>> {
        let path = self.repository.path("blobs", &blob.digest.to_string());
        let answer = self.repository.client.ask_patiently(&mut self.repository.call(Method::HEAD, path))?;
        match answer.status() {
            200 => Ok(Some(Fate::There)),
            404 => self.mount(blob),
            _ => Err(answer.refused()),
        }
    }

    /// No registry has to mount, so one that does not is sent the blob.
    fn mount(&self, blob: &Descriptor) -> Result<Option<Fate>> {
        let (name, client) = (&self.repository.name, &self.repository.client);
        let candidates = self.elsewhere.get(&blob.digest).map(Vec::as_slice).unwrap_or_default();
        for from in candidates.iter().filter(|from| *from != name) {
            let scope = format!("{} repository:{from}:pull", self.repository.scope);
            let path = format!("/v2/{name}/blobs/uploads/?mount={}&from={from}", blob.digest);
            let mut call = Call::new(Method::POST, Target::Path(path), &scope);
            call.payload = Payload::Bytes(&[]);
            let answer = client.ask_patiently(&mut call)?;
            match answer.status() {
                201 => return Ok(Some(Fate::Mounted { from: from.clone() })),
                // An upload was begun instead, which nobody will go on with.
                202 => self.abandon(client.location(&answer.uri, answer.header("location")).ok()),
                _ => log::info!("{} is not mounted from {from}: {}", blob.digest, answer.refused()),
            }
        }
        Ok(None)
    }

    fn abandon(&self, upload: Option<Uri>) {
        let Some(uri) = upload else { return };
        let mut call = self.repository.call(Method::DELETE, Target::Whole(uri));
        if let Err(error) = self.repository.client.ask(&mut call) {
            log::debug!("an upload is left to expire: {error}");
        }
    }

    fn put_manifest_by(&self, which: &str, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        let path = self.repository.path("manifests", which);
        let mut call = self.repository.call(Method::PUT, path).with("content-type", &descriptor.media_type);
        call.payload = Payload::Bytes(bytes);
        let what = || format!("repository {}", self.repository.name);
        let answer = self.repository.client.ask_patiently(&mut call)?.expect(&[200, 201, 202, 204], what)?;
        check_digest(&answer.host, &descriptor.digest, answer.header("docker-content-digest"))
    }
}

impl Sink for Push<'_> {
    fn has(&self, blob: &Descriptor) -> image::Result<bool> {
        let found = self.find(blob).map_err(image::Error::source)?;
        if let Some(fate) = &found {
            (self.told)(blob, fate);
        }
        Ok(found.is_some())
    }

    fn put_blob(&self, blob: &Outgoing<'_>) -> image::Result<()> {
        let tries = Tries::new(self.repository.client.patience());
        Upload { repository: self.repository, blob, tries, manner: Manner::Parts { most: u64::MAX } }
            .run()?;
        (self.told)(blob.descriptor(), &Fate::Pushed);
        Ok(())
    }

    fn put_manifest(&self, descriptor: &Descriptor, bytes: &[u8], names: &[Reference]) -> image::Result<()> {
        let tags: Vec<&str> = names.iter().filter_map(Reference::tag).collect();
        let digest = descriptor.digest.to_string();
        let which = if tags.is_empty() { vec![digest.as_str()] } else { tags };
        which
            .into_iter()
            .try_for_each(|which| self.put_manifest_by(which, descriptor, bytes))
            .map_err(image::Error::source)
    }
}

/// One blob, sent.
struct Upload<'a> {
    repository: &'a Repository,
    blob: &'a Outgoing<'a>,
    tries: Tries,
    manner: Manner,
}

/// How the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// In requests of their own, of so many bytes at most, before the one that ends the upload.
    Parts { most: u64 },
    /// With the request that ends the upload.
    Whole,
}

/// What parts have, one after the other, where a registry, or a proxy before it, takes no large ones.
const PARTS: [u64; 4] = [64 << 20, 16 << 20, 4 << 20, 1 << 20];

impl Manner {
    /// What else to try with a blob, where this was refused for what it is.
    fn instead(self, fault: &Error, size: u64, least: u64) -> Option<Self> {
        let (Self::Parts { most }, Error::Refused { status, said, .. }) = (self, fault) else { return None };
        match status {
            413 => {
                let refused = most.min(size);
                let smaller = PARTS.into_iter().find(|part| *part < refused)?;
                let part = smaller.max(least);
                (part < refused).then_some(Self::Parts { most: part })
            }
            405 | 415 | 501 => Some(Self::Whole),
            400 | 416 if said.to_lowercase().contains("unsupported") => Some(Self::Whole),
            _ => None,
        }
    }
}

/// Where an upload stands.
struct Session {
    uri: Uri,
    /// How many bytes the registry has.
    at: u64,
    /// It wants parts to have no fewer, but for the last.
    least: u64,
}

impl Upload<'_> {
    fn run(&mut self) -> image::Result<()> {
        let mut session = self.begin().map_err(image::Error::source)?;
        while let Err(fault) = self.send(&mut session)? {
            session = self.go_on(session, fault).map_err(image::Error::source)?;
        }
        Ok(())
    }

    fn begin(&self) -> Result<Session> {
        let client = &self.repository.client;
        let path = format!("/v2/{}/blobs/uploads/", self.repository.name);
        let mut call = self.repository.call(Method::POST, Target::Path(path));
        call.payload = Payload::Bytes(&[]);
        let what = || format!("repository {}", self.repository.name);
        let answer = client.ask_patiently(&mut call)?.expect(&[200, 201, 202], what)?;
        let least = answer.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
        let uri = client.location(&answer.uri, answer.header("location"))?;
        Ok(Session { uri, at: 0, least: least.unwrap_or(0) })
    }

    /// Sends what the registry lacks, and ends the upload. A fault of ours ends it all, one of the network does not.
    fn send(&self, session: &mut Session) -> image::Result<Result<()>> {
        let left = self.blob.descriptor().size - session.at;
        if left == 0 {
            return Ok(self.finish(session, Payload::Bytes(&[])));
        }
        let mut bytes = self.blob.open()?;
        let mut outgoing = Watched { stream: &mut bytes, fault: None };
        if let Err(error) = io::copy(&mut Read::take(&mut outgoing, session.at), &mut io::sink()) {
            return Err(outgoing.fault.take().unwrap_or_else(|| image::Error::source(error)));
        }
        let sent = match self.manner {
            Manner::Whole => self.finish(session, Payload::Stream { reader: &mut outgoing, length: left }),
            Manner::Parts { most } => self
                .send_parts(session, &mut outgoing, most)
                .and_then(|()| self.finish(session, Payload::Bytes(&[]))),
        };
        match outgoing.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(sent),
        }
    }

    fn send_parts(&self, session: &mut Session, bytes: &mut impl Read, most: u64) -> Result<()> {
        let size = self.blob.descriptor().size;
        while session.at < size {
            let length = most.min(size - session.at);
            session.uri = self.patch(session, &mut Read::take(&mut *bytes, length), length)?;
            session.at += length;
        }
        Ok(())
    }

    fn patch(&self, session: &Session, bytes: &mut dyn Read, length: u64) -> Result<Uri> {
        let client = &self.repository.client;
        let target = Target::Whole(session.uri.clone());
        let range = format!("{}-{}", session.at, session.at + length - 1);
        let mut call = self.repository.call(Method::PATCH, target);
        call = call.with("content-type", "application/octet-stream").with("content-range", &range);
        call.payload = Payload::Stream { reader: bytes, length };
        let answer = client.ask(&mut call)?.expect(&[200, 201, 202, 204], || "upload".to_owned())?;
        match answer.header("location") {
            Some(location) => client.location(&answer.uri, Some(location)),
            None => Ok(session.uri.clone()),
        }
    }

    fn finish<'p>(&'p self, session: &Session, payload: Payload<'p>) -> Result<()> {
        match self.put(&session.uri, payload) {
            // It may have taken it, and only been too long in saying so.
            Err(_) if self.is_there() => Ok(()),
            finished => finished,
        }
    }

    fn put<'p>(&'p self, uri: &Uri, payload: Payload<'p>) -> Result<()> {
        let digest = self.blob.descriptor().digest;
        let uri = with_parameter(uri, "digest", &digest.to_string());
        let uri = uri.parse().map_err(|_| self.repository.client.malformed("a Location that is none"))?;
        let call = Call { payload, ..Call::new(Method::PUT, Target::Whole(uri), &self.repository.scope) };
        let mut call = call.with("content-type", "application/octet-stream");
        let answer =
            self.repository.client.ask(&mut call)?.expect(&[200, 201, 202, 204], || "upload".to_owned())?;
        check_digest(&answer.host, &digest, answer.header("docker-content-digest"))
    }

    fn is_there(&self) -> bool {
        let path = self.repository.path("blobs", &self.blob.descriptor().digest.to_string());
        let asked = self.repository.client.ask(&mut self.repository.call(Method::HEAD, path));
        asked.is_ok_and(|answer| answer.status() == 200)
    }

    /// After a fault: how far the registry has come, or a new upload if it has forgotten of this one.
    fn go_on(&mut self, session: Session, fault: Error) -> Result<Session> {
        if let Some(manner) = self.manner.instead(&fault, self.blob.descriptor().size, session.least) {
            log::info!("blob {}: {fault}; sending it otherwise", self.blob.descriptor().digest);
            self.manner = manner;
            return self.begin();
        }
        let passing = matches!(
            &fault,
            Error::Unreachable { .. } | Error::NotFound { .. } | Error::Refused { status: 401 | 416, .. }
        );
        if !(passing || fault.is_passing()) || !self.tries.wait(None) {
            return Err(fault);
        }
        log::info!("blob {}: {fault}; trying again", self.blob.descriptor().digest);
        let before = session.at;
        let session = match self.ask_how_far(session) {
            // What is sent whole begins again.
            Ok(_) if self.manner == Manner::Whole => self.begin()?,
            Ok(session) => session,
            Err(error) => {
                log::info!("{error}; the upload begins again");
                self.begin()?
            }
        };
        if session.at > before {
            self.tries.renew();
        }
        Ok(session)
    }

    fn ask_how_far(&self, session: Session) -> Result<Session> {
        let (client, least) = (&self.repository.client, session.least);
        let mut call = self.repository.call(Method::GET, Target::Whole(session.uri.clone()));
        let answer = client.ask_patiently(&mut call)?.expect(&[200, 202, 204], || "upload".to_owned())?;
        let uri = match answer.header("location") {
            Some(location) => client.location(&answer.uri, Some(location))?,
            None => session.uri,
        };
        let at = match answer.header("range") {
            Some(range) => {
                uploaded(range).ok_or_else(|| client.malformed(&format!("the range {range:?}")))?
            }
            None => 0,
        };
        match at <= self.blob.descriptor().size {
            true => Ok(Session { uri, at, least }),
            false => Err(client.malformed("an upload longer than what was sent")),
        }
    }
}

/// `0-N`, of which N is the last byte; `0-0` is what registries say of nothing.
fn uploaded(range: &str) -> Option<u64> {
    let range = range.trim();
    let last: u64 = range.strip_prefix("bytes=").unwrap_or(range).strip_prefix("0-")?.parse().ok()?;
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

fn check_digest(host: &str, digest: &Digest, claimed: Option<&str>) -> Result<()> {
    match claimed {
        Some(claimed) if claimed.starts_with("sha256:") && claimed != digest.to_string() => {
            let (host, found) = (host.to_owned(), claimed.to_owned());
            Err(Error::OtherDigest { host, digest: *digest, found })
        }
        _ => Ok(()),
    }
}

/// Remembers why reading failed: the other end of the connection only sees it cut.
struct Watched<'a, R> {
    stream: &'a mut R,
    fault: Option<image::Error>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|error| {
            let kind = error.kind();
            let told = error.to_string();
            self.fault = Some(error.downcast::<image::Error>().unwrap_or_else(image::Error::source));
            io::Error::new(kind, told)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_as_too_large_goes_in_smaller_parts_and_else_whole() {
        let refused =
            |status, said: &str| Error::Refused { host: String::new(), status, said: said.to_owned() };
        let parts = |most| Manner::Parts { most };
        let all = parts(u64::MAX);
        let smaller = |manner: Manner, size, least| manner.instead(&refused(413, ""), size, least);
        assert_eq!(smaller(all, 1 << 30, 0), Some(parts(64 << 20)));
        assert_eq!(smaller(all, 40 << 20, 0), Some(parts(16 << 20)));
        assert_eq!(smaller(parts(64 << 20), 1 << 30, 0), Some(parts(16 << 20)));
        assert_eq!(smaller(parts(1 << 20), 1 << 30, 0), None);
        // No smaller than the registry wants them.
        assert_eq!(smaller(parts(64 << 20), 1 << 30, 20 << 20), Some(parts(20 << 20)));
        assert_eq!(smaller(parts(20 << 20), 1 << 30, 20 << 20), None);
        for (status, said) in [(405, ""), (501, ""), (400, "The operation is unsupported.")] {
            assert_eq!(all.instead(&refused(status, said), 9, 0), Some(Manner::Whole), "{status}");
            assert_eq!(Manner::Whole.instead(&refused(status, said), 9, 0), None, "{status}");
        }
        assert_eq!(all.instead(&refused(400, "digest invalid"), 9, 0), None);
    }

    #[test]
    fn a_range_says_how_far_an_upload_is() {
        assert_eq!(uploaded("0-0"), Some(0));
        assert_eq!(uploaded("0-9"), Some(10));
        assert_eq!(uploaded("bytes=0-9"), Some(10));
        assert_eq!(uploaded("5-9"), None);
        assert_eq!(uploaded("0-18446744073709551615x"), None);
    }
}
