//! What tables and JSON tell of an image.

use crate::cli::time::Created;
use crate::image::{Image, LayerOf};
use crate::layer::Index;
use crate::oci::{Descriptor, Reference};
use crate::store::{Derived, Store};

/// In the place of a repository or tag.
pub const NONE: &str = "<none>";

pub fn created(image: &Image) -> Created {
    Created::parse(image.config.value().created.as_deref())
}

/// The uncompressed layers, as docker counts.
pub fn size(store: &Store, image: &Image) -> u64 {
    image.manifest.value().layers.iter().map(|layer| layer_size(store, layer)).sum()
}

/// A layer that has no index yet counts as it is stored.
pub fn layer_size(store: &Store, layer: &Descriptor) -> u64 {
    index(store, layer).map_or(layer.size, |index| index.identity().uncompressed)
}

/// The layer's index, if it has one.
pub fn index(store: &Store, layer: &Descriptor) -> Option<Index> {
    let file = store.derived(Derived::Index, &layer.digest).ok()??;
    Index::open(&file, &layer.digest).ok()
}

/// The uncompressed size of each layer, bottom first.
pub fn layer_sizes(store: &Store, layers: &[LayerOf]) -> Vec<u64> {
    layers.iter().map(|layer| layer_size(store, &layer.descriptor)).collect()
}

/// `alpine@sha256:...`, one for each repository that the image has a name in.
pub fn repository_digests(names: &[Reference], descriptor: &Descriptor) -> Vec<String> {
    let mut repositories: Vec<String> = names.iter().map(Reference::familiar_name).collect();
    repositories.sort();
    repositories.dedup();
    repositories.into_iter().map(|name| format!("{name}@{}", descriptor.digest)).collect()
}
