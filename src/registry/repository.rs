//! A repository: the manifests and blobs of a registry by one name.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use parking_lot::Mutex;
use ureq::http::Method;

use super::answer::Answer;
use super::client::{Call, Client, Payload, Target};
use super::download::Download;
use super::{Error, Result};
use crate::image::{self, Source, verified};
use crate::layer::Blob;
use crate::oci::{DOCUMENT_LIMIT, Descriptor, Digest, Document, Reference, media};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";
const LIST_LIMIT: u64 = 16 << 20;
/// A list comes in pages; so many of them have an end.
const PAGES: usize = 1000;
const KEPT: usize = 2 * DOCUMENT_LIMIT as usize;

pub struct Repository {
    pub(super) client: Arc<Client>,
    /// The path in the registry: `library/alpine`.
    pub(super) name: String,
    pub(super) scope: String,
    /// What has been fetched: choosing an image and reading it ask for the same.
    documents: Mutex<Documents>,
}

/// Documents by their digests, up to [`KEPT`] bytes.
#[derive(Default)]
struct Documents {
    kept: HashMap<Digest, Vec<u8>>,
    bytes: usize,
}

impl Documents {
    fn keep(&mut self, bytes: &[u8]) {
        if self.bytes + bytes.len() <= KEPT && self.kept.insert(Digest::of(bytes), bytes.to_vec()).is_none() {
            self.bytes += bytes.len();
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub struct Root {
    pub descriptor: Descriptor,
    pub document: Document,
}

/// What is to be done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Pull,
    Push,
    Delete,
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,delete",
        }
    }
}

impl Repository {
    pub fn new(client: Arc<Client>, name: &str, access: Access) -> Self {
        let scope = format!("repository:{name}:{}", access.actions());
        Self { client, name: name.to_owned(), scope, documents: Mutex::default() }
    }

    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// The manifest or index that a tag or digest stands for.
    pub fn root(&self, reference: &Reference) -> Result<Root> {
        let wanted = locator(reference);
        let answer = self.get_manifest(&wanted)?;
        let media_type = content_type(&answer);
        let claimed = answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let bytes = answer.read(DOCUMENT_LIMIT, "a manifest")?;
        let digest = Digest::of(&bytes);
        // What was asked for by its digest is that or nothing; a tag has only the registry's word.
        if let Some(expected) = reference.digest().or(claimed).filter(|expected| *expected != digest) {
            let (host, found) = (self.host().to_owned(), digest.to_string());
            return Err(Error::OtherDigest { host, digest: expected, found });
        }
        let size = bytes.len() as u64;
        self.documents.lock().keep(&bytes);
        let document = Document::parse(bytes).map_err(|source| Error::Document { digest, source })?;
        let media_type = own_type(&document).unwrap_or(media_type);
        Ok(Root { descriptor: Descriptor::new(media_type, digest, size), document })
    }

    /// The digest that a tag stands for now, without fetching what it is of.
    pub fn digest(&self, reference: &Reference) -> Result<Digest> {
        let path = self.path("manifests", &locator(reference));
        let mut call = self.call(Method::HEAD, path).with("accept", ACCEPT);
        let answer = self.client.ask_patiently(&mut call)?.expect(&[200], || shown(reference))?;
        match answer.header("docker-content-digest").and_then(|text| text.parse().ok()) {
            Some(digest) => Ok(digest),
            // Not every registry says it.
            None => Ok(self.root(reference)?.descriptor.digest),
        }
    }

    /// All tags, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let path = format!("/v2/{}/tags/list?n=1000", self.name);
        let pages: Vec<Page> = self.client.pages(path, &self.scope, || self.name.clone())?;
        Ok(pages.into_iter().flat_map(|page| page.tags.unwrap_or_default()).collect())
    }

    /// Removes the manifest, and with it all tags that it has.
    pub fn delete(&self, digest: &Digest) -> Result<()> {
        let mut call = self.call(Method::DELETE, self.path("manifests", &digest.to_string()));
        self.client.ask_patiently(&mut call)?.expect(&[200, 202, 204], || digest.to_string()).map(drop)
    }

    fn get_manifest(&self, wanted: &str) -> Result<Answer> {
        let mut call = self.call(Method::GET, self.path("manifests", wanted)).with("accept", ACCEPT);
        self.client.ask_patiently(&mut call)?.expect(&[200], || format!("manifest {}:{wanted}", self.name))
    }

    fn get_blob(&self, digest: &Digest) -> Result<Answer> {
        let mut call = self.call(Method::GET, self.path("blobs", &digest.to_string()));
        self.client.ask_patiently(&mut call)?.expect(&[200], || format!("blob {digest}"))
    }

    pub(super) fn path(&self, kind: &str, which: &str) -> Target {
        Target::Path(format!("/v2/{}/{kind}/{which}", self.name))
    }

    pub(super) fn call(&self, method: Method, target: Target) -> Call<'_> {
        Call { payload: Payload::None, ..Call::new(method, target, &self.scope) }
    }

    fn fetch(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if let Some(bytes) = self.documents.lock().kept.get(&descriptor.digest) {
            return Ok(bytes.clone());
        }
        if let Some(bytes) = descriptor.embedded() {
            return Ok(bytes);
        }
        let kind = descriptor.media_type.as_str();
        let answer = match kind.is_empty() || media::is_index(kind) || media::is_manifest(kind) {
            true => self.get_manifest(&descriptor.digest.to_string()),
            false => self.get_blob(&descriptor.digest),
        };
        let bytes = answer?.read(DOCUMENT_LIMIT, "a document")?;
        self.documents.lock().keep(&bytes);
        Ok(bytes)
    }
}

impl Client {
    /// A list that comes in pages, each naming the next in its `Link`.
    pub(super) fn pages<P: serde::de::DeserializeOwned>(
        &self,
        path: String,
        scope: &str,
        what: impl Fn() -> String,
    ) -> Result<Vec<P>> {
        let mut pages = Vec::new();
        let mut target = Target::Path(path);
        while pages.len() < PAGES {
            let mut call = Call::new(Method::GET, target, scope);
            let answer = self.ask_patiently(&mut call)?.expect(&[200], &what)?;
            let next = answer.header("link").and_then(next_page).map(str::to_owned);
            let next = next.map(|link| self.location(&answer.uri, Some(&link))).transpose()?;
            let text = answer.read(LIST_LIMIT, "a list")?;
            pages.push(serde_json::from_slice(&text).map_err(|_| self.malformed("a list that is none"))?);
            match next {
                Some(next) => target = Target::Whole(next),
                None => return Ok(pages),
            }
        }
        Err(self.malformed("a list without an end"))
    }
}

impl Source for Repository {
    fn document(&self, descriptor: &Descriptor) -> image::Result<Vec<u8>> {
        match self.fetch(descriptor) {
            Ok(bytes) => verified(descriptor, bytes),
            Err(error) if error.is_absence() => Err(image::Error::Missing(descriptor.digest)),
            Err(error) => Err(image::Error::source(error)),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> image::Result<Box<dyn Read + Send + '_>> {
        self.blob_from(descriptor, 0)
    }

    fn blob_from(&self, descriptor: &Descriptor, from: u64) -> image::Result<Box<dyn Read + Send + '_>> {
        if from >= descriptor.size && from > 0 {
            return Ok(Box::new(io::empty()));
        }
        let download = Download::new(self, descriptor, from);
        match download.begin() {
            Ok(download) => Ok(Box::new(download)),
            Err(error) if error.is_absence() => Err(image::Error::Missing(descriptor.digest)),
            Err(error) => Err(image::Error::source(error)),
        }
    }

    fn place(&self, _: &Descriptor) -> image::Result<Option<Blob>> {
        Ok(None)
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// The digest if there is one, as docker does.
fn locator(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => digest.to_string(),
        None => reference.tag().unwrap_or("latest").to_owned(),
    }
}

fn shown(reference: &Reference) -> String {
    format!("manifest {}:{}", reference.repository(), locator(reference))
}

fn content_type(answer: &Answer) -> String {
    let header = answer.header("content-type").unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim().to_owned()
}

/// What the document says of itself goes before what a server says of it.
fn own_type(document: &Document) -> Option<String> {
    match document {
        Document::Index(index) => {
            Some(index.value().media_type.clone().unwrap_or_else(|| media::OCI_INDEX.to_owned()))
        }
        Document::Manifest(manifest) => Some(manifest.value().media_type().to_owned()),
    }
}

/// `<https://…>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then_some(address)
}
