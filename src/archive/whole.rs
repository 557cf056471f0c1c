//! An image with those for other platforms: all that an index of the archive names and that is there.

use super::Archive;
use crate::image::{self, Image, Source};
use crate::oci::{Descriptor, Digest, Document, Index, Raw};

/// How many entries are looked into.
const ENTRIES_READ: usize = 100;

/// An index, and its images whose layers are all in the archive.
pub struct Whole {
    pub descriptor: Descriptor,
    pub index: Raw<Index>,
    pub images: Vec<Image>,
}

impl Archive {
    /// The index at the archive's top that names this manifest; `None` if it stands there by itself.
    pub fn whole(&self, manifest: &Digest) -> Option<Whole> {
        let entries = self.layout()?.entries.iter().take(ENTRIES_READ);
        let mut named = entries.take_while(|entry| entry.digest != *manifest);
        named.find_map(|entry| {
            let Ok(Document::Index(index)) = Document::parse(self.document(entry).ok()?) else { return None };
            let names_it = index.value().manifests.iter().any(|named| named.digest == *manifest);
            names_it.then(|| Whole {
                descriptor: entry.clone(),
                images: self.images_of(index.value()),
                index,
            })
        })
    }

    /// What can't be read, or lacks a layer, is passed over: `docker save` names platforms that it did not put in.
    fn images_of(&self, index: &Index) -> Vec<Image> {
        let manifests = index.manifests.iter().filter(|manifest| !manifest.is_attestation());
        let read = |manifest: &Descriptor| {
            let image = image::read(self, manifest);
            image.inspect_err(|error| log::info!("{}: {error}", manifest.digest)).ok()
        };
        let is_here =
            |image: &Image| image.manifest.value().layers.iter().all(|layer| self.place(layer).is_ok());
        manifests.filter_map(read).filter(is_here).collect()
    }
}
