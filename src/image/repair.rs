//! What [`verify`](super::verify) found is set right: what was derived is made again; a blob that is wrong is set aside,
//! and one that an image lacks is taken back from where it was set aside to, or fetched from where the image came from.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use super::intake::{Intake, distinct};
use super::stored::{Entry, Stored};
use super::verify::{Fault, Object, Problem};
use super::{Error, Progress, Result, Source};
use crate::layer::pass::SidecarPolicy;
use crate::oci::{Descriptor, Digest, Document, Manifest, Reference, media};
use crate::store::{Derived, Store};

/// What became of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Mended(&'static str),
    /// From where this name is.
    Fetched(Reference),
    /// The user has to do something, or nothing can be done.
    Open(String),
}

/// Where an image came from, by one of its names.
pub type Origin<'a> = dyn Fn(&Reference) -> Result<Box<dyn Source + Send>> + 'a;

/// Sets right what can be, and tells of each fault what became of it; also of those that were hidden behind it. `None`
/// for an origin: nothing is fetched.
pub fn repair(
    store: &Store,
    faults: Vec<Fault>,
    origin: Option<&Origin<'_>>,
    progress: &dyn Progress,
) -> Result<Vec<(Fault, Outcome)>> {
    let _lease = store.lease()?;
    // First what was set aside and is whole: it may be what is missing elsewhere.
    let restored = restore(store, &faults)?;
    let stored = Stored::new(store);
    let mut fetch = Fetch::new(store, &stored, progress);
    let mut cleared = Vec::new();
    for fault in faults {
        let became = clear(store, &stored, &restored, &fault)?;
        fetch.lost.extend(became.lost());
        cleared.push((fault, became));
    }
    if let Some(origin) = origin {
        fetch.all(origin)?;
    }
    cleared.extend(
        fetch.hidden.drain(..).map(|(fault, digest)| (fault, Cleared::Lost { digest, set_aside: false })),
    );
    Ok(cleared.into_iter().map(|(fault, became)| (fault, fetch.outcome(became))).collect())
}

fn restore(store: &Store, faults: &[Fault]) -> Result<HashSet<Digest>> {
    let mut restored = HashSet::new();
    for fault in faults {
        if let (Object::Aside(digest), Problem::Whole) = (&fault.object, &fault.problem) {
            store.restore(digest)?;
            restored.insert(*digest);
        }
    }
    Ok(restored)
}

/// A fault, once all is out of the way that is wrong.
enum Cleared {
    Done(Outcome),
    /// An image lacks this blob.
    Lost {
        digest: Digest,
        set_aside: bool,
    },
}

impl Cleared {
    fn lost(&self) -> Option<Digest> {
        match self {
            Self::Lost { digest, .. } => Some(*digest),
            Self::Done(_) => None,
        }
    }
}

fn clear(store: &Store, stored: &Stored, restored: &HashSet<Digest>, fault: &Fault) -> Result<Cleared> {
    let mended = |how| Ok(Cleared::Done(Outcome::Mended(how)));
    match (&fault.object, &fault.problem) {
        (Object::Aside(_), _) => mended("it is back in its place"),
        (Object::Blob(digest), _) if restored.contains(digest) => {
            mended("the one that was set aside is in its place")
        }
        (Object::Blob(digest), Problem::Changed { .. }) => {
            store.set_aside(digest)?;
            match is_needed(store, digest)? {
                true => Ok(Cleared::Lost { digest: *digest, set_aside: true }),
                false => mended("set aside; no image needs it"),
            }
        }
        (Object::Blob(digest), Problem::Missing { .. }) => {
            Ok(Cleared::Lost { digest: *digest, set_aside: false })
        }
        (Object::Blob(_), _) => Ok(Cleared::Done(Outcome::Open("the image itself is wrong".to_owned()))),
        (Object::Index(layer) | Object::Sidecar(layer), _) => {
            store.drop_derived(Derived::Sidecar, layer)?;
            store.drop_derived(Derived::Index, layer)?;
            index_again(store, stored, layer)
        }
        (Object::Tree(key), _) => {
            store.drop_derived(Derived::Tree, key)?;
            mended("dropped; the next mount makes it again")
        }
        (Object::CachedFile(key), _) => {
            store.drop_cached(key)?;
            mended("dropped")
        }
    }
}

/// As far as can be told: where a document is corrupt, it may be.
fn is_needed(store: &Store, blob: &Digest) -> Result<bool> {
    match super::reachable(store) {
        Ok(live) => Ok(live.contains(blob)),
        Err(Error::DigestMismatch { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Reads the layer through again, if an image of the store has it.
fn index_again(store: &Store, stored: &Stored, digest: &Digest) -> Result<Cleared> {
    let images = stored.entries()?;
    let mut layers = images.iter().flat_map(|entry| stored.platforms(entry)).flat_map(|image| {
        // One that is wrong in itself has a fault of its own.
        image.layers().unwrap_or_default()
    });
    let mended = |how| Ok(Cleared::Done(Outcome::Mended(how)));
    let Some(layer) = layers.find(|layer| layer.descriptor.digest == *digest) else {
        return mended("dropped");
    };
    let intake = Intake { store, source: stored, progress: &() };
    match intake.make_index(stored, &layer, SidecarPolicy::WhenNeeded, None) {
        Ok(_) => mended("made again"),
        // What is wrong with the blob is a fault of its own.
        Err(error) => {
            log::info!("{error}");
            mended("dropped")
        }
    }
}

/// The blobs that images lack, on their way back.
struct Fetch<'a> {
    store: &'a Store,
    stored: &'a Stored,
    lost: HashSet<Digest>,
    fetched: HashMap<Digest, Reference>,
    /// The last that was said of it.
    failed: HashMap<Digest, String>,
    /// What a document that came names and is not here either.
    hidden: Vec<(Fault, Digest)>,
    progress: &'a dyn Progress,
}

impl<'a> Fetch<'a> {
    fn new(store: &'a Store, stored: &'a Stored, progress: &'a dyn Progress) -> Self {
        let (lost, fetched, failed) = (HashSet::new(), HashMap::new(), HashMap::new());
        Self { store, stored, lost, fetched, failed, hidden: Vec::new(), progress }
    }

    fn all(&mut self, origin: &Origin<'_>) -> Result<()> {
        for entry in self.stored.entries()? {
            for name in &entry.names {
                let there = name.with_digest(entry.descriptor.digest);
                self.of_entry(&entry, &There { name, open: &|| origin(&there), opened: OnceCell::new() })?;
            }
        }
        Ok(())
    }

    /// The documents from the root down, and what they name.
    fn of_entry(&mut self, entry: &Entry, there: &There<'_>) -> Result<()> {
        let mut left = vec![entry.descriptor.clone()];
        let mut seen = HashSet::new();
        while let Some(descriptor) = left.pop() {
            let kind = descriptor.media_type.as_str();
            let is_document = kind.is_empty() || media::is_index(kind) || media::is_manifest(kind);
            if !is_document || !seen.insert(descriptor.digest) {
                continue;
            }
            self.document(&descriptor, there)?;
            match self.stored.document(&descriptor).map(Document::parse) {
                Ok(Ok(Document::Index(index))) => left.extend(index.value().manifests.iter().cloned()),
                Ok(Ok(Document::Manifest(manifest))) => {
                    if self.fetched.contains_key(&descriptor.digest) {
                        self.look_behind(entry, manifest.value())?;
                    }
                    self.document(&manifest.value().config, there)?;
                    self.layers(&descriptor, there);
                }
                // Not to be had, never fetched, or nothing that plyfs reads.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// While the manifest was not here, nobody could tell what else the image lacks.
    fn look_behind(&mut self, entry: &Entry, manifest: &Manifest) -> Result<()> {
        let layers = manifest.layers.iter().filter(|layer| !media::is_foreign(&layer.media_type));
        for Descriptor { digest, .. } in layers.chain([&manifest.config]) {
            let is_new = !self.fetched.contains_key(digest) && !self.failed.contains_key(digest);
            if is_new && !self.store.has_blob(digest)? && self.lost.insert(*digest) {
                let problem = Problem::Missing { image: entry.descriptor.digest };
                self.hidden.push((Fault { object: Object::Blob(*digest), problem }, *digest));
            }
        }
        Ok(())
    }

    fn document(&mut self, descriptor: &Descriptor, there: &There<'_>) -> Result<()> {
        if !self.lost.contains(&descriptor.digest) {
            return Ok(());
        }
        let came = there.ask(|source| source.document(descriptor));
        if let Ok(bytes) = &came {
            self.store.put(bytes)?;
        }
        self.note(descriptor.digest, there.name, came.map(drop));
        Ok(())
    }

    fn layers(&mut self, manifest: &Descriptor, there: &There<'_>) {
        // What is wrong with an image in itself has a fault of its own.
        let layers = super::read(self.stored, manifest).and_then(|image| distinct(&image.layers()?));
        for layer in layers.unwrap_or_default() {
            let digest = layer.descriptor.digest;
            if self.lost.contains(&digest) {
                let (store, progress) = (self.store, self.progress);
                let came = there.ask(|source| Intake { store, source, progress }.load(&layer));
                self.note(digest, there.name, came);
            }
        }
    }

    fn note(&mut self, digest: Digest, name: &Reference, came: Result<(), String>) {
        match came {
            Ok(()) => {
                self.lost.remove(&digest);
                self.fetched.insert(digest, name.clone());
            }
            Err(why) => {
                self.failed.insert(digest, format!("fetching it from {}: {why}", name.familiar()));
            }
        }
    }

    fn outcome(&self, cleared: Cleared) -> Outcome {
        let (digest, set_aside) = match cleared {
            Cleared::Done(outcome) => return outcome,
            Cleared::Lost { digest, set_aside } => (digest, set_aside),
        };
        if let Some(name) = self.fetched.get(&digest) {
            return Outcome::Fetched(name.clone());
        }
        let why =
            self.failed.get(&digest).map_or("the image has to be pulled or loaded again", String::as_str);
        Outcome::Open(if set_aside { format!("set aside; {why}") } else { why.to_owned() })
    }
}

/// Where an image came from, asked only once something lacks, and not again if it can't be reached.
struct There<'a> {
    name: &'a Reference,
    open: &'a dyn Fn() -> Result<Box<dyn Source + Send>>,
    opened: OnceCell<Result<Box<dyn Source + Send>, String>>,
}

impl There<'_> {
    fn ask<T>(&self, what: impl FnOnce(&dyn Source) -> Result<T>) -> Result<T, String> {
        let opened = self.opened.get_or_init(|| (self.open)().map_err(|error| error.to_string()));
        match opened {
            Ok(source) => what(source.as_ref()).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        }
    }
}
