//! An image comes into the store, whole or not at all.

use std::io::Read;
use std::sync::Arc;

use super::intake::{Intake, distinct, explain_absence};
use super::side_by_side::{side_by_side, workers};
use super::{Error, Image, LayerOf, Progress, Result, Source, Stored};
use crate::layer::Blob;
use crate::layer::pass::SidecarPolicy;
use crate::oci::{Descriptor, Digest, Index, Raw, Reference};
use crate::store::{Ingest, Store};

/// Copies the image into the store: layers, config, and the manifest last. Then its names are given, or it is listed
/// without one. Tells the manifest's digest.
pub fn load(store: &Store, source: &dyn Source, image: &Image, progress: &dyn Progress) -> Result<Digest> {
    // Until the manifest is listed nothing reaches the blobs, and a sweep would take them.
    let _lease = store.lease()?;
    bring(store, source, image, progress)?;
    let mut descriptor = image.descriptor.clone();
    descriptor.platform = descriptor.platform.or_else(|| image.platform());
    match image.names.as_slice() {
        [] => store.tag(&descriptor, None)?,
        names => names.iter().try_for_each(|name| store.tag(&descriptor, Some(name)))?,
    }
    Ok(descriptor.digest)
}

/// Copies one of the images of an index into the store. The index comes with it and gets the name; what else it names
/// stays where it is, or is in the store already.
pub fn load_of_index(
    store: &Store,
    source: &dyn Source,
    (descriptor, index): (&Descriptor, &Raw<Index>),
    image: &Image,
    name: &Reference,
    progress: &dyn Progress,
) -> Result<()> {
    // As above.
    let _lease = store.lease()?;
    bring(store, source, image, progress)?;
    store.put(index.bytes())?;
    Ok(store.tag(descriptor, Some(name))?)
}

fn bring(store: &Store, source: &dyn Source, image: &Image, progress: &dyn Progress) -> Result<()> {
    let layers = distinct(&image.layers()?)?;
    let intake = Intake { store, source, progress };
    side_by_side(&layers, LayerOf::size, workers(source), |layer| intake.load(layer))?;
    store.put(image.config.bytes())?;
    store.put(image.manifest.bytes())?;
    Ok(())
}

impl Intake<'_> {
    /// Keeps the layer's blob and its index.
    pub(super) fn load(&self, layer: &LayerOf) -> Result<()> {
        if self.has_sound(layer)? {
            return Ok(());
        }
        if self.source.is_remote() {
            return self.fetch(layer);
        }
        let ingest = self.store.ingest()?;
        self.make_index(self.source, layer, SidecarPolicy::WhenNeeded, Some(ingest)).map(drop)
    }

    /// From far away: what has come before is not asked for again, whoever it was that it came to.
    fn fetch(&self, layer: &LayerOf) -> Result<()> {
        let digest = &layer.descriptor.digest;
        let ingest = self.store.resume(digest)?;
        let kept = ingest.written();
        // It may have come while we waited.
        if self.has_sound(layer)? {
            return Ok(());
        }
        match self.receive(layer, ingest) {
            // A power cut may have damaged what was kept, or it was wrong from the start.
            Err(error) if kept > 0 && error.is_corruption() => {
                log::warn!("{error}; it is fetched again from its start");
                self.receive(layer, self.store.resume(digest)?)
            }
            received => received,
        }
    }

    fn receive(&self, layer: &LayerOf, mut ingest: Ingest) -> Result<()> {
        if ingest.written() > layer.descriptor.size {
            ingest.restart()?;
        }
        let from = ingest.written();
        let kept = Blob::new(Arc::new(ingest.file()?), 0, from).reader();
        let rest = match self.source.blob_from(&layer.descriptor, from) {
            Ok(rest) => rest,
            Err(error) => {
                ingest.leave();
                return Err(explain_absence(layer, error));
            }
        };
        let stream = Box::new(kept.chain(rest));
        self.index_stream(stream, layer, SidecarPolicy::WhenNeeded, Some(ingest)).map(drop)
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
