//! An image's layers made ready to be read where they are.

use std::collections::HashMap;
use std::sync::Arc;

use super::intake::{Intake, distinct, explain_absence};
use super::side_by_side::{side_by_side, workers};
use super::{Error, Image, LayerOf, Length, Progress, Result, Source};
use crate::layer::pass::SidecarPolicy;
use crate::layer::{Blob, Layer, OpenError};
use crate::oci::{Descriptor, Digest};
use crate::store::{Derived, Store};

/// The image's layers, bottom first, to be read where they are. What the store does not have the index of is read
/// through once, and found to be what the image says.
pub fn layers(
    store: &Store,
    source: &dyn Source,
    image: &Image,
    progress: &dyn Progress,
) -> Result<Vec<Arc<Layer>>> {
    // What was derived is opened again by its name, and must not be swept in between.
    let _lease = store.lease()?;
    let wanted = image.layers()?;
    let distinct = distinct(&wanted)?;
    let intake = Intake { store, source, progress };
    let opened =
        side_by_side(&distinct, LayerOf::size, workers(source), |layer| intake.open(layer).map(Arc::new))?;
    let by_digest: HashMap<Digest, Arc<Layer>> =
        distinct.iter().map(|layer| layer.descriptor.digest).zip(opened).collect();
    Ok(wanted.iter().filter_map(|layer| by_digest.get(&layer.descriptor.digest).cloned()).collect())
}

impl Intake<'_> {
    /// Makes the layer readable where it is.
    fn open(&self, layer: &LayerOf) -> Result<Layer> {
        let digest = &layer.descriptor.digest;
        let blob = self.place(layer)?;
        if let Some(opened) = self.reopen(layer, blob.clone())? {
            self.check_in_place(layer, blob.as_ref())?;
            return Ok(opened);
        }
        let policy = match blob {
            Some(_) => SidecarPolicy::WhenNeeded,
            // Its bytes will not be there again.
            None => SidecarPolicy::Always,
        };
        let index = self.make_index(self.source, layer, policy, None)?;
        if let Some(blob) = &blob {
            self.remember_in_place(layer, blob);
        }
        Ok(Layer::open(index, blob, self.store.derived(Derived::Sidecar, digest)?)?)
    }

    /// The layer from what the store has of it; `None` where that is lost, damaged or not enough.
    fn reopen(&self, layer: &LayerOf, blob: Option<Blob>) -> Result<Option<Layer>> {
        let digest = &layer.descriptor.digest;
        let Some(index) = self.index(layer)? else { return Ok(None) };
        match Layer::open(index, blob, self.store.derived(Derived::Sidecar, digest)?) {
            Ok(opened) => Ok(Some(opened)),
            Err(OpenError::NeedsSidecar { .. }) => Ok(None),
            Err(error @ (OpenError::Sidecar { .. } | OpenError::Index { .. })) => {
                log::warn!("{error}; it is made again");
                self.store.drop_derived(Derived::Sidecar, digest)?;
                self.store.drop_derived(Derived::Index, digest)?;
                Ok(None)
            }
            Err(error @ OpenError::Size { .. }) => Err(error.into()),
        }
    }

    fn place(&self, layer: &LayerOf) -> Result<Option<Blob>> {
        let Descriptor { digest, size, .. } = layer.descriptor;
        match self.source.place(&layer.descriptor).map_err(|error| explain_absence(layer, error))? {
            Some(blob) if blob.size() != size => {
                Err(Error::SizeMismatch { digest, described: size, found: Length::Exactly(blob.size()) })
            }
            place => Ok(place),
        }
    }
}
