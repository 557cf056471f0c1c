//! Where images are read from, and who is told how far it got.

use std::io::{self, Read};

use super::{Error, Result};
use crate::layer::Blob;
use crate::oci::{Descriptor, Digest};

/// A place that holds images: the store, an archive, a registry.
pub trait Source: Sync {
    /// A manifest, index or config, [`verified`]. Content that is not there is [`Error::Missing`].
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;

    /// A layer's bytes from the start, unverified.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>>;

    /// The layer's bytes behind the first `from`, unverified.
    fn blob_from(&self, descriptor: &Descriptor, from: u64) -> Result<Box<dyn Read + Send + '_>> {
        let mut stream = self.blob(descriptor)?;
        io::copy(&mut Read::take(&mut stream, from), &mut io::sink()).map_err(Error::source)?;
        Ok(stream)
    }

    /// Whether it takes long to get there: then what came before a cut is kept, and more is waited for at once.
    fn is_remote(&self) -> bool {
        false
    }

    /// Where the layer's bytes can be read in place; `None` where they come only as a stream.
    fn place(&self, descriptor: &Descriptor) -> Result<Option<Blob>>;

    /// Whether what is at a [`Self::place`] was verified before it came there.
    fn is_verified(&self) -> bool {
        false
    }
}

/// The bytes of a document, if they are what the descriptor names.
///
/// The digest decides. Images with a wrong size beside the right digest are about, and every reader takes them.
pub fn verified(descriptor: &Descriptor, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let found = Digest::of(&bytes);
    if found != descriptor.digest {
        return Err(Error::DigestMismatch { expected: descriptor.digest, found });
    }
    if bytes.len() as u64 != descriptor.size {
        let (digest, size) = (descriptor.digest, descriptor.size);
        log::warn!("document {digest} has {} bytes, its descriptor says {size}", bytes.len());
    }
    Ok(bytes)
}

/// Told of each layer that is read; layers are read side by side, and called from several threads.
pub trait Progress: Sync {
    /// A layer of `total` bytes, compressed, is about to be read.
    fn begin(&self, layer: &Digest, total: u64);
    /// `bytes` more of it are read.
    fn advance(&self, layer: &Digest, bytes: u64);
    fn end(&self, layer: &Digest);
}

/// Silence.
impl Progress for () {
    fn begin(&self, _: &Digest, _: u64) {}
    fn advance(&self, _: &Digest, _: u64) {}
    fn end(&self, _: &Digest) {}
}
