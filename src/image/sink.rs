//! Where images are written to.

use super::{Outgoing, Result};
use crate::oci::{Descriptor, Reference};

/// A place that takes images: an archive, a registry. [`copy`](super::copy()) writes to it.
///
/// Blobs are put from several threads, each once. A manifest comes after all that it needs, so what is there by name
/// is whole.
pub trait Sink: Sync {
    /// Whether the blob is there already, or can be had there without sending it.
    fn has(&self, blob: &Descriptor) -> Result<bool>;

    /// Keeps the blob, or nothing of it.
    fn put_blob(&self, blob: &Outgoing<'_>) -> Result<()>;

    /// Keeps a manifest or an index, whose bytes are what `descriptor` names. What is under an index comes without a
    /// name.
    fn put_manifest(&self, descriptor: &Descriptor, bytes: &[u8], names: &[Reference]) -> Result<()>;
}
