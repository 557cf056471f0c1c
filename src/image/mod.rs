//! Images: a manifest, its config and its layers, wherever they come from. A [`Source`] gives their bytes, a [`Sink`]
//! takes them; what is kept of them is kept only once it is verified.

mod copy;
mod derive;
mod error;
mod import;
mod in_place;
mod incoming;
mod intake;
mod layers;
mod load;
mod made;
mod outgoing;
mod removal;
pub mod repair;
mod select;
mod side_by_side;
mod sink;
mod source;
mod stored;
pub mod verify;

pub use copy::{Parts, copy};
pub use derive::{Derivation, Step};
pub use error::{Error, Length};
pub use import::import;
pub use layers::layers;
pub use load::{load, load_of_index};
pub use made::{Content, taken, written};
pub use outgoing::Outgoing;
pub use removal::{Candidate, Removal};
pub use select::{Selection, Warning, select};
pub use sink::Sink;
pub use source::{Progress, Source, verified};
pub use stored::{By, Entry, Found, Stored, reachable, reachable_from};

use crate::oci::{Config, Descriptor, DiffId, Digest, Manifest, Platform, Raw, Reference};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One image for one platform, its documents read and verified.
#[derive(Clone, Debug)]
pub struct Image {
    /// Of the manifest.
    pub descriptor: Descriptor,
    pub manifest: Raw<Manifest>,
    pub config: Raw<Config>,
    pub names: Vec<Reference>,
}

/// A layer, and what it must be when it is decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerOf {
    pub descriptor: Descriptor,
    pub diff_id: DiffId,
}

impl LayerOf {
    fn size(&self) -> u64 {
        self.descriptor.size
    }
}

impl Image {
    /// Docker's image ID: the digest of the config.
    pub fn id(&self) -> Digest {
        self.manifest.value().config.digest
    }

    pub fn platform(&self) -> Option<Platform> {
        self.config.value().platform()
    }

    /// The layers, bottom first.
    pub fn layers(&self) -> Result<Vec<LayerOf>> {
        let layers = &self.manifest.value().layers;
        let diff_ids = &self.config.value().rootfs.diff_ids;
        if layers.len() != diff_ids.len() {
            return Err(Error::LayerCount {
                manifest: self.descriptor.digest,
                layers: layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let pair = |(descriptor, diff_id): (&Descriptor, &DiffId)| LayerOf {
            descriptor: descriptor.clone(),
            diff_id: *diff_id,
        };
        Ok(layers.iter().zip(diff_ids).map(pair).collect())
    }

    /// The uncompressed layers' identities, bottom first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.config.value().rootfs.diff_ids
    }
}

/// Reads the image whose manifest `descriptor` names. An index is refused: [`select()`] chooses from one.
pub fn read(source: &dyn Source, descriptor: &Descriptor) -> Result<Image> {
    let invalid = |digest| move |source| Error::Invalid { digest, source };
    let bytes = source.document(descriptor)?;
    let manifest = Raw::<Manifest>::parse(bytes).map_err(invalid(descriptor.digest))?;
    if !manifest.value().is_image() {
        let media_type = manifest.value().artifact_type().to_owned();
        return Err(Error::NotAnImage { digest: descriptor.digest, media_type });
    }
    let of = &manifest.value().config;
    let config = Raw::<Config>::parse(source.document(of)?).map_err(invalid(of.digest))?;
    Ok(Image { descriptor: descriptor.clone(), manifest, config, names: Vec::new() })
}

#[cfg(test)]
mod tests;
