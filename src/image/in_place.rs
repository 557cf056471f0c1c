//! Layers that are read in place. An index says what a blob must be, not that the bytes at some place are that blob:
//! each place is read through once, and remembered for as long as its file does not change.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use super::incoming::Incoming;
use super::intake::Intake;
use super::{Error, LayerOf, Result};
use crate::layer::Blob;
use crate::oci::{Digest, Hasher};
use crate::store::Derived;

impl Intake<'_> {
    /// Makes sure that the blob at its place is the layer's. Where there is none, the sidecar is all that is read.
    pub fn check_in_place(&self, layer: &LayerOf, blob: Option<&Blob>) -> Result<()> {
        let Some(blob) = blob.filter(|_| !self.source.is_verified()) else { return Ok(()) };
        if self.is_remembered(layer, blob)? {
            return Ok(());
        }
        let expected = layer.descriptor.digest;
        match self.digest_of(layer, blob)? {
            found if found == expected => {
                self.remember_in_place(layer, blob);
                Ok(())
            }
            found => Err(Error::DigestMismatch { expected, found }),
        }
    }

    fn is_remembered(&self, layer: &LayerOf, blob: &Blob) -> Result<bool> {
        let key = key(layer, blob).map_err(Error::source)?;
        Ok(self.store.derived(Derived::Archive, &key)?.is_some())
    }

    /// Remembers that the bytes there are the layer's. It only saves the next mount a reading.
    pub fn remember_in_place(&self, layer: &LayerOf, blob: &Blob) {
        if self.source.is_verified() {
            return;
        }
        let digest = layer.descriptor.digest;
        let kept = key(layer, blob).map_err(Error::source).and_then(|key| {
            Ok(self.store.put_derived(Derived::Archive, &key, digest.to_string().as_bytes()).map(drop)?)
        });
        if let Err(error) = kept {
            log::debug!("layer {digest} is verified, and will be again: {error}");
        }
    }

    fn digest_of(&self, layer: &LayerOf, blob: &Blob) -> Result<Digest> {
        let mut incoming = Incoming::new(Box::new(blob.reader()), &layer.descriptor, None, self.progress);
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 1 << 17];
        let read = loop {
            match incoming.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        incoming.finish()?;
        read.map_err(Error::source)?;
        Ok(hasher.finish())
    }
}

/// Names a place and the state of the file there: any change to it makes another name.
fn key(layer: &LayerOf, blob: &Blob) -> io::Result<Digest> {
    let (file, offset) = blob.place();
    let file = file.metadata()?;
    let mut hasher = Hasher::default();
    hasher.update(b"plyfs layer in place\0");
    hasher.update(layer.descriptor.digest.as_bytes());
    for number in [file.dev(), file.ino(), file.size(), offset, blob.size()] {
        hasher.update(&number.to_le_bytes());
    }
    for number in [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()] {
        hasher.update(&number.to_le_bytes());
    }
    Ok(hasher.finish())
}
