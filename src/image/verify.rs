//! Whether what is in the store is what it should be. Every byte is read: of blobs, and of what was derived from them.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Read;

use super::side_by_side::{side_by_side, workers};
use super::stored::{Entry, Stored};
use super::{Error, Image, LayerOf, Progress, Result, Source};
use crate::layer::sidecar::Sidecar;
use crate::layer::{Index, index};
use crate::oci::{Descriptor, Digest, Document, Hasher, media};
use crate::store::files::Key;
use crate::store::{Derived, Kept, Store};

/// A file of the store, or what should be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    Blob(Digest),
    /// A blob that was set aside.
    Aside(Digest),
    Index(Digest),
    Sidecar(Digest),
    Tree(Digest),
    CachedFile(Key),
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A blob's bytes are not what it is named for.
    Changed {
        found: Digest,
    },
    Missing {
        image: Digest,
    },
    /// The image says something else of it.
    Contradicted {
        image: Digest,
        what: String,
    },
    /// What can be made again is damaged.
    Damaged(String),
    /// Set aside, and nothing is wrong with it.
    Whole,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub object: Object,
    pub problem: Problem,
}

/// How many there are of each kind, and how large they are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub blobs: usize,
    pub derived: usize,
    pub cached: usize,
    pub bytes: u64,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Aside(digest) => write!(f, "set-aside blob {digest}"),
            Self::Index(digest) => write!(f, "index of layer {digest}"),
            Self::Sidecar(digest) => write!(f, "sidecar of layer {digest}"),
            Self::Tree(digest) => write!(f, "merged tree {digest}"),
            Self::CachedFile(key) => write!(f, "cached file {}", blake3::Hash::from_bytes(*key)),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { found } => write!(f, "corrupt: its digest is {found}"),
            Self::Missing { image } => write!(f, "missing, and needed by image {image}"),
            Self::Contradicted { image, what } => write!(f, "not what image {image} says: {what}"),
            Self::Damaged(why) => write!(f, "damaged: {why}"),
            Self::Whole => write!(f, "whole"),
        }
    }
}

/// All that is to be read.
pub struct Verification<'a> {
    store: &'a Store,
    tasks: Vec<Task>,
    pub extent: Extent,
}

#[derive(Clone, Copy)]
struct Task {
    object: Object,
    size: u64,
}

impl<'a> Verification<'a> {
    pub fn of(store: &'a Store) -> Result<Self> {
        let mut tasks = Vec::new();
        let mut add = |found: Vec<Kept>, object: fn(Digest) -> Object| {
            let count = found.len();
            tasks.extend(found.into_iter().map(|Kept { name, size }| Task { object: object(name), size }));
            count
        };
        let blobs = add(store.blobs()?, Object::Blob);
        add(store.aside()?, Object::Aside);
        let derived = [
            add(store.all_derived(Derived::Index)?, Object::Index),
            add(store.all_derived(Derived::Sidecar)?, Object::Sidecar),
            add(store.all_derived(Derived::Tree)?, Object::Tree),
        ];
        let cached = store.cached()?;
        tasks.extend(
            cached.iter().map(|file| Task { object: Object::CachedFile(file.name), size: file.size }),
        );
        let bytes = tasks.iter().map(|task| task.size).sum();
        let extent = Extent { blobs, derived: derived.iter().sum(), cached: cached.len(), bytes };
        Ok(Self { store, tasks, extent })
    }

    /// Reads everything, and tells what is wrong: of files, then of images.
    pub fn run(&self, progress: &dyn Progress) -> Result<Vec<Fault>> {
        let check = |task: &Task| {
            let problem = self.check(&task.object, progress);
            problem.map(|problem| problem.map(|problem| Fault { object: task.object, problem }))
        };
        let found = side_by_side(&self.tasks, |task| task.size, workers(&Stored::new(self.store)), check)?;
        let mut faults: Vec<Fault> = found.into_iter().flatten().collect();
        for fault in self.of_images(&faults)? {
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        Ok(faults)
    }

    fn check(&self, object: &Object, progress: &dyn Progress) -> Result<Option<Problem>> {
        match object {
            Object::Blob(digest) => {
                let Some(file) = there(self.store.blob(digest))? else { return Ok(None) };
                let found = digest_of(digest, file, progress)?;
                Ok((found != *digest).then_some(Problem::Changed { found }))
            }
            Object::Aside(digest) => {
                let Some(file) = self.store.aside_blob(digest)? else { return Ok(None) };
                let found = digest_of(digest, file, progress)?;
                Ok((found == *digest).then_some(Problem::Whole))
            }
            Object::Index(key) => self.check_index(Derived::Index, key, progress),
            Object::Tree(key) => self.check_index(Derived::Tree, key, progress),
            Object::Sidecar(key) => self.check_sidecar(key, progress),
            Object::CachedFile(key) => self.check_cached(key, progress),
        }
    }

    fn check_index(&self, kind: Derived, key: &Digest, progress: &dyn Progress) -> Result<Option<Problem>> {
        let Some(file) = self.store.derived(kind, key)? else { return Ok(None) };
        let checked = Index::open(&file, key).and_then(|index| index.check_all());
        progress.advance(key, file.metadata().map_err(Error::source)?.len());
        damage(checked)
    }

    fn check_sidecar(&self, key: &Digest, progress: &dyn Progress) -> Result<Option<Problem>> {
        let Some(file) = self.store.derived(Derived::Sidecar, key)? else { return Ok(None) };
        let size = file.metadata().map_err(Error::source)?.len();
        let index = self.store.derived(Derived::Index, key)?;
        let index = index.and_then(|file| Index::open(&file, key).ok());
        let checked = Sidecar::open(file).and_then(|sidecar| match &index {
            Some(index) => sidecar.check_all(index),
            // Nothing is read from it without its index.
            None => Ok(()),
        });
        progress.advance(key, size);
        Ok(checked.err().map(|error| Problem::Damaged(error.to_string())))
    }

    fn check_cached(&self, key: &Key, progress: &dyn Progress) -> Result<Option<Problem>> {
        let Some(mut file) = self.store.cached_file(key)? else { return Ok(None) };
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut file).map_err(Error::source)?;
        let size = file.metadata().map_err(Error::source)?.len();
        progress.advance(&Digest::from_bytes(*key), size);
        let found = hasher.finalize();
        Ok((found.as_bytes() != key).then(|| Problem::Damaged(format!("its BLAKE3 is {found}"))))
    }

    /// What the images of the store need and is not there, or is not what they say. What is known to be corrupt is not
    /// read again.
    fn of_images(&self, faults: &[Fault]) -> Result<Vec<Fault>> {
        let corrupt: HashSet<Digest> = faults.iter().filter_map(Fault::corrupt_blob).collect();
        let stored = Stored::new(self.store);
        let mut found = Vec::new();
        for entry in stored.entries()? {
            let mut left = vec![entry.descriptor.clone()];
            let mut seen = HashSet::new();
            while let Some(descriptor) = left.pop() {
                if !seen.insert(descriptor.digest) || corrupt.contains(&descriptor.digest) {
                    continue;
                }
                let of_image =
                    ImageCheck { store: self.store, stored: &stored, entry: &entry, corrupt: &corrupt };
                left.extend(of_image.check(&descriptor, &mut found)?);
            }
        }
        Ok(found)
    }
}

impl Fault {
    fn corrupt_blob(&self) -> Option<Digest> {
        match self {
            Self { object: Object::Blob(digest), problem: Problem::Changed { .. } } => Some(*digest),
            _ => None,
        }
    }
}

/// One of the images of an entry.
struct ImageCheck<'a> {
    store: &'a Store,
    stored: &'a Stored,
    entry: &'a Entry,
    corrupt: &'a HashSet<Digest>,
}

impl ImageCheck<'_> {
    /// Looks at a manifest, or gives what an index names.
    fn check(&self, descriptor: &Descriptor, found: &mut Vec<Fault>) -> Result<Vec<Descriptor>> {
        let digest = descriptor.digest;
        let kind = descriptor.media_type.as_str();
        if !(kind.is_empty() || media::is_index(kind) || media::is_manifest(kind)) {
            return Ok(Vec::new());
        }
        let contradicted = |what: String| Fault {
            object: Object::Blob(digest),
            problem: Problem::Contradicted { image: self.entry.descriptor.digest, what },
        };
        match self.stored.document(descriptor) {
            Ok(bytes) => match Document::parse(bytes) {
                Ok(Document::Index(index)) => return Ok(index.value().manifests.clone()),
                Ok(Document::Manifest(_)) => self.check_manifest(descriptor, found)?,
                Err(error) => found.push(contradicted(error.to_string())),
            },
            // An index names platforms that were never fetched; what it is itself has to be there.
            Err(Error::Missing(_)) if digest != self.entry.descriptor.digest => {}
            Err(Error::Missing(_)) => found.push(self.missing(digest)),
            Err(error) => return Err(error),
        }
        Ok(Vec::new())
    }

    fn missing(&self, digest: Digest) -> Fault {
        Fault {
            object: Object::Blob(digest),
            problem: Problem::Missing { image: self.entry.descriptor.digest },
        }
    }

    fn check_manifest(&self, descriptor: &Descriptor, found: &mut Vec<Fault>) -> Result<()> {
        match super::read(self.stored, descriptor) {
            Ok(image) => self.check_layers(&image, found),
            Err(Error::Missing(config)) => {
                found.push(self.missing(config));
                Ok(())
            }
            // A signature or the like.
            Err(Error::NotAnImage { .. }) => Ok(()),
            Err(Error::DigestMismatch { expected, .. }) if self.corrupt.contains(&expected) => Ok(()),
            Err(Error::Invalid { digest, source }) => {
                let image = self.entry.descriptor.digest;
                let problem = Problem::Contradicted { image, what: source.to_string() };
                found.push(Fault { object: Object::Blob(digest), problem });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn check_layers(&self, image: &Image, found: &mut Vec<Fault>) -> Result<()> {
        let layers = match image.layers() {
            Ok(layers) => layers,
            Err(error) => {
                found.push(self.contradicted(image.descriptor.digest, error.to_string()));
                return Ok(());
            }
        };
        for layer in layers.iter().filter(|layer| !self.corrupt.contains(&layer.descriptor.digest)) {
            let Descriptor { digest, size, .. } = layer.descriptor;
            match self.store.blob_size(&digest)? {
                None if media::is_foreign(&layer.descriptor.media_type) => {}
                None => found.push(self.missing(digest)),
                Some(there) if there != size => {
                    found.push(self.contradicted(digest, format!("it has {there} bytes, and not {size}")));
                }
                Some(_) => found.extend(self.check_diff_id(layer)?),
            }
        }
        Ok(())
    }

    fn contradicted(&self, blob: Digest, what: String) -> Fault {
        let image = self.entry.descriptor.digest;
        Fault { object: Object::Blob(blob), problem: Problem::Contradicted { image, what } }
    }

    fn check_diff_id(&self, layer: &LayerOf) -> Result<Option<Fault>> {
        let digest = layer.descriptor.digest;
        let Some(file) = self.store.derived(Derived::Index, &digest)? else { return Ok(None) };
        let Ok(index) = Index::open(&file, &digest) else { return Ok(None) };
        let (expected, found) = (layer.diff_id, index.identity().diff_id);
        let what = || format!("it decompresses to {found}, and not to {expected}");
        Ok((found != expected).then(|| self.contradicted(digest, what())))
    }
}

/// `None` for a blob that was removed meanwhile.
fn there(opened: crate::store::Result<File>) -> Result<Option<File>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(crate::store::Error::NoBlob(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn digest_of(name: &Digest, mut file: File, progress: &dyn Progress) -> Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(Error::source)? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&buffer[..count]);
                progress.advance(name, count as u64);
            }
        }
    }
}

fn damage(checked: Result<(), index::Error>) -> Result<Option<Problem>> {
    match checked {
        Ok(()) => Ok(None),
        Err(index::Error::Damaged { fault, .. }) => Ok(Some(Problem::Damaged(fault.to_owned()))),
        Err(error @ index::Error::Unreadable { .. }) => Err(Error::Index(error)),
    }
}
