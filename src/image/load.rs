//! An image comes into the store, whole or not at all.

use super::intake::{Intake, distinct};
use super::side_by_side::side_by_side;
use super::{Error, Image, LayerOf, Progress, Result, Source, Stored};
use crate::layer::pass::SidecarPolicy;
use crate::oci::{Descriptor, Digest};
use crate::store::Store;

/// Copies the image into the store: layers, config, and the manifest last. Then its names are given, or it is listed
/// without one. Tells the manifest's digest.
pub fn load(store: &Store, source: &dyn Source, image: &Image, progress: &dyn Progress) -> Result<Digest> {
    // Until the manifest is listed nothing reaches the blobs, and a sweep would take them.
    let _lease = store.lease()?;
    let layers = distinct(&image.layers()?)?;
    let intake = Intake { store, source, progress };
    side_by_side(&layers, LayerOf::size, |layer| intake.load(layer))?;
    store.put(image.config.bytes())?;
    store.put(image.manifest.bytes())?;
    let mut descriptor = image.descriptor.clone();
    descriptor.platform = descriptor.platform.or_else(|| image.platform());
    match image.names.as_slice() {
        [] => store.tag(&descriptor, None)?,
        names => names.iter().try_for_each(|name| store.tag(&descriptor, Some(name)))?,
    }
    Ok(descriptor.digest)
}

impl Intake<'_> {
    /// Keeps the layer's blob and its index.
    fn load(&self, layer: &LayerOf) -> Result<()> {
        if self.has_sound(layer)? {
            return Ok(());
        }
        let ingest = self.store.ingest()?;
        self.make_index(self.source, layer, SidecarPolicy::WhenNeeded, Some(ingest)).map(drop)
    }

    /// Whether the store has the layer; an index that it lacks is made. A blob that turns out corrupt there is set
    /// aside.
    fn has_sound(&self, layer: &LayerOf) -> Result<bool> {
        let Descriptor { digest, size, .. } = layer.descriptor;
        if self.store.blob_size(&digest)? != Some(size) {
            return Ok(false);
        }
        if self.index(layer)?.is_some() {
            return Ok(true);
        }
        match self.make_index(&Stored::new(self.store), layer, SidecarPolicy::WhenNeeded, None) {
            Ok(_) => Ok(true),
            Err(error @ (Error::DigestMismatch { .. } | Error::Pass { .. })) => {
                log::warn!("{error}; it is read again from where the image is");
                self.store.set_aside(&digest)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
