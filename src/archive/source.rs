//! An archive as a source of documents and layers.

use std::io::Read;

use super::files::Found;
use super::{Archive, Kind, Made};
use crate::image::{self, Source, verified};
use crate::layer::Blob;
use crate::oci::Descriptor;

impl Source for Archive {
    fn document(&self, descriptor: &Descriptor) -> image::Result<Vec<u8>> {
        if let Some(Made::Document(bytes)) = self.made.lock().get(&descriptor.digest) {
            return Ok(bytes.clone());
        }
        if let Some(bytes) = descriptor.embedded() {
            return Ok(bytes);
        }
        let missing = || image::Error::Missing(descriptor.digest);
        let layout = self.layout().ok_or_else(missing)?;
        let bytes = layout.document(&self.files, &descriptor.digest).map_err(image::Error::source)?;
        verified(descriptor, bytes.ok_or_else(missing)?)
    }

    fn blob(&self, descriptor: &Descriptor) -> image::Result<Box<dyn Read + Send + '_>> {
        let found = self.find_layer(descriptor)?;
        let blob = self.files.blob(&found).map_err(image::Error::source)?;
        Ok(Box::new(blob.reader()))
    }

    fn place(&self, descriptor: &Descriptor) -> image::Result<Option<Blob>> {
        Ok(self.files.place(&self.find_layer(descriptor)?))
    }
}

impl Archive {
    pub(super) fn layout(&self) -> Option<&super::Layout> {
        match &self.kind {
            Kind::Saved { layout, .. } => layout.as_ref(),
            Kind::Layout(layout) => Some(layout),
        }
    }

    fn find_layer(&self, descriptor: &Descriptor) -> image::Result<Found> {
        if let Some(Made::Layer(found)) = self.made.lock().get(&descriptor.digest) {
            return Ok(found.clone());
        }
        let found = match self.layout() {
            Some(layout) => layout.find(&self.files, &descriptor.digest).map_err(image::Error::source)?,
            None => None,
        };
        found.ok_or_else(|| missing(descriptor))
    }
}

/// A layer that may not be passed on is not kept with its image.
fn missing(descriptor: &Descriptor) -> image::Error {
    let (digest, urls) = (descriptor.digest, descriptor.urls.clone());
    match urls.is_empty() {
        true => image::Error::Missing(digest),
        false => image::Error::Foreign { digest, urls },
    }
}
