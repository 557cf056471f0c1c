//! The images of the store: found by name or id, and what they reach.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use super::{Error, Image, Result, Selection, Source, select, verified};
use crate::layer::Blob;
use crate::oci::{
    ChainId, Config, DOCUMENT_LIMIT, Descriptor, Digest, Document, Manifest, Platform, Raw, Reference, media,
};
use crate::store::{self, Store};

/// The store as a source of images.
#[derive(Clone, Debug)]
pub struct Stored {
    store: Store,
}

/// An image of the store, with all its names: one manifest, or an index of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub descriptor: Descriptor,
    pub names: Vec<Reference>,
}

/// What a word of the user means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub entry: Entry,
    pub by: By,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    Name(Reference),
    /// The digest of the entry, of a manifest that it holds, or of a config: `manifest` is that one.
    Id {
        manifest: Descriptor,
    },
}

impl Found {
    /// The manifest or index that is meant.
    pub fn root(&self) -> &Descriptor {
        match &self.by {
            By::Name(_) => &self.entry.descriptor,
            By::Id { manifest } => manifest,
        }
    }
}

impl Source for Stored {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.store.document(&descriptor.digest, DOCUMENT_LIMIT).map_err(missing)?;
        verified(descriptor, bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.store.blob(&descriptor.digest).map_err(missing)?))
    }

    fn place(&self, descriptor: &Descriptor) -> Result<Option<Blob>> {
        let digest = &descriptor.digest;
        let file = self.store.blob(digest).map_err(missing)?;
        let size = file.metadata().map_err(Error::source)?.len();
        Ok(Some(Blob::new(Arc::new(file), 0, size)))
    }

    /// By [`store::Ingest`]'s promise.
    fn is_verified(&self) -> bool {
        true
    }
}

/// Every source says in the same words that something is not there.
fn missing(error: store::Error) -> Error {
    match error {
        store::Error::NoBlob(digest) => Error::Missing(digest),
        store::Error::Corrupt { expected, found } => Error::DigestMismatch { expected, found },
        other => Error::Store(other),
    }
}

impl Stored {
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }

    /// The images, in the order in which they came.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        for tag in self.store.tags()? {
            match entries.iter_mut().find(|entry| entry.descriptor.digest == tag.descriptor.digest) {
                Some(entry) => entry.names.extend(tag.name),
                None => {
                    entries.push(Entry { descriptor: tag.descriptor, names: tag.name.into_iter().collect() });
                }
            }
        }
        Ok(entries)
    }

    /// What `wanted` means, as docker has it: a whole digest, or a name, or the start of an id.
    pub fn resolve(&self, wanted: &str) -> Result<Found> {
        let entries = self.entries()?;
        if let Ok(reference) = wanted.parse::<Reference>()
            && let Some(found) = self.by_reference(&entries, &reference)
        {
            return Ok(found);
        }
        match hex_prefix(wanted) {
            Some(prefix) => self.by_id(&entries, prefix)?.ok_or_else(|| Error::NotFound(wanted.to_owned())),
            None => Err(Error::NotFound(wanted.to_owned())),
        }
    }

    /// The image that [`Self::resolve`] found, for a platform.
    pub fn open(&self, found: &Found, platform: Option<&Platform>) -> Result<Selection> {
        let mut selection = select(self, std::slice::from_ref(found.root()), platform)?;
        selection.image.names.clone_from(&found.entry.names);
        Ok(selection)
    }

    /// The image that `wanted` means.
    pub fn find(&self, wanted: &str, platform: Option<&Platform>) -> Result<Selection> {
        self.open(&self.resolve(wanted)?, platform)
    }

    /// Every image that can be read, for the host where there is a choice; of each that cannot, the log says why.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for entry in self.entries()? {
            match select(self, std::slice::from_ref(&entry.descriptor), None) {
                Ok(Selection { image, .. }) => images.push(Image { names: entry.names, ..image }),
                Err(error) if error.is_absence() => log::debug!("{}: {error}", entry.descriptor.digest),
                Err(error) => log::warn!("{}: {error}", entry.descriptor.digest),
            }
        }
        Ok(images)
    }

    fn by_reference(&self, entries: &[Entry], wanted: &Reference) -> Option<Found> {
        let Some(digest) = wanted.digest() else {
            let named = entries.iter().find(|entry| entry.names.contains(wanted));
            return named.map(|entry| Found { entry: entry.clone(), by: By::Name(wanted.clone()) });
        };
        // The digest decides, as in docker: a tag beside it is not looked at.
        let in_repository = |entry: &&Entry| {
            entry.names.is_empty() || entry.names.iter().any(|name| name.name() == wanted.name())
        };
        for entry in entries.iter().filter(in_repository) {
            if let Some(manifest) = self.held(entry).into_iter().find(|held| held.descriptor.digest == digest)
            {
                let by = By::Id { manifest: manifest.descriptor };
                return Some(Found { entry: entry.clone(), by });
            }
        }
        None
    }

    /// The one image whose id starts with `prefix`. Manifests that differ in their layers' compression alone have the
    /// same config and so the same id: any of them is that image.
    fn by_id(&self, entries: &[Entry], prefix: &str) -> Result<Option<Found>> {
        let mut found: Option<(Found, Option<Digest>)> = None;
        for entry in entries {
            let mut held = self.held(entry).into_iter();
            let Some(manifest) = held.find(|held| held.ids().any(|id| id.hex().starts_with(prefix))) else {
                continue;
            };
            match &found {
                None => {
                    let by = By::Id { manifest: manifest.descriptor };
                    found = Some((Found { entry: entry.clone(), by }, manifest.config));
                }
                Some((_, config)) if config.is_some() && *config == manifest.config => {}
                Some(_) => return Err(Error::AmbiguousId(prefix.to_owned())),
            }
        }
        Ok(found.map(|(found, _)| found))
    }

    /// The digests of the entry itself and of the indexes and manifests below it.
    pub fn manifests(&self, entry: &Entry) -> Vec<Digest> {
        self.held(entry).into_iter().map(|held| held.descriptor.digest).collect()
    }

    /// The images that an entry holds and that are here: mostly one for each platform.
    pub fn platforms(&self, entry: &Entry) -> Vec<Image> {
        let manifests = self.held(entry).into_iter().filter(|held| held.config.is_some());
        let images = manifests.filter_map(|held| super::read(self, &held.descriptor).ok());
        images.map(|image| Image { names: entry.names.clone(), ..image }).collect()
    }

    /// The entry itself, and the indexes and manifests below it that are there.
    fn held(&self, entry: &Entry) -> Vec<Held> {
        let mut held = Vec::new();
        let walked = walk(self, vec![entry.descriptor.clone()], &mut |descriptor, document| {
            let config = match document {
                Some(Document::Manifest(manifest)) => Some(manifest.value().config.digest),
                Some(Document::Index(_)) | None => None,
            };
            held.push(Held { descriptor: descriptor.clone(), config });
        });
        // One corrupt image must not keep others from being found, nor itself from being removed.
        if let Err(error) = walked {
            log::warn!("{}: {error}", entry.descriptor.digest);
            held.push(Held { descriptor: entry.descriptor.clone(), config: None });
        }
        held
    }
}

/// Something that an id can mean.
struct Held {
    descriptor: Descriptor,
    config: Option<Digest>,
}

impl Held {
    fn ids(&self) -> impl Iterator<Item = Digest> {
        [Some(self.descriptor.digest), self.config].into_iter().flatten()
    }
}

/// The hex digits of an id or its start.
fn hex_prefix(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hex && (1..=64).contains(&digits.len())).then_some(digits)
}

/// Calls `visit` with each descriptor and, where it is an index or a manifest that is there, what it says. Each
/// digest is visited once, so no nesting or cycle makes this long.
fn walk(
    source: &Stored,
    roots: Vec<Descriptor>,
    visit: &mut dyn FnMut(&Descriptor, Option<&Document>),
) -> Result<()> {
    let mut seen = HashSet::new();
    let mut left = roots;
    while let Some(descriptor) = left.pop() {
        if !seen.insert(descriptor.digest) {
            continue;
        }
        let document = document(source, &descriptor)?;
        if let Some(Document::Index(index)) = &document {
            left.extend(index.value().manifests.iter().rev().cloned());
        }
        visit(&descriptor, document.as_ref());
    }
    Ok(())
}

/// `None` for what is absent, and for content that is no document.
fn document(source: &Stored, descriptor: &Descriptor) -> Result<Option<Document>> {
    let kind = descriptor.media_type.as_str();
    if !(kind.is_empty() || media::is_index(kind) || media::is_manifest(kind)) {
        return Ok(None);
    }
    match source.document(descriptor) {
        Ok(bytes) => Ok(Document::parse(bytes).ok()),
        Err(Error::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every digest that an image of the store needs.
pub fn reachable(store: &Store) -> Result<HashSet<Digest>> {
    reachable_from(store, store.tags()?.into_iter().map(|tag| tag.descriptor).collect())
}

/// Every digest that these images of the store need: documents, configs, layers, and the chains of merged trees.
///
/// A document that is corrupt is an error: what it needs is not known, and must not be removed.
pub fn reachable_from(store: &Store, roots: Vec<Descriptor>) -> Result<HashSet<Digest>> {
    let source = Stored::new(store);
    let mut live = HashSet::new();
    walk(&source, roots, &mut |descriptor, document| {
        live.insert(descriptor.digest);
        if let Some(Document::Manifest(manifest)) = document {
            live.extend(needed_by(&source, manifest.value()));
        }
    })?;
    Ok(live)
}

fn needed_by(source: &Stored, manifest: &Manifest) -> Vec<Digest> {
    let mut needed = vec![manifest.config.digest];
    needed.extend(manifest.layers.iter().map(|layer| layer.digest));
    needed.extend(manifest.subject.iter().map(|subject| subject.digest));
    // A tree is made anew if it is lost, so a config that cannot be read costs no more than that.
    let config = source.document(&manifest.config).ok().and_then(|bytes| Raw::<Config>::parse(bytes).ok());
    needed
        .extend(config.and_then(|config| ChainId::of(&config.value().rootfs.diff_ids)).map(|chain| chain.0));
    needed
}
