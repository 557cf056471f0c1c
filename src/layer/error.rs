//! Why a file's bytes cannot be had, by what the caller can do about it.

use std::io;
use std::sync::Arc;

use super::sidecar;
use crate::oci::Digest;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The blob is not what was indexed: set it aside, and fetch it again.
    #[error("layer {layer} is corrupt at chunk {chunk}: {reason}")]
    Corrupt { layer: Digest, chunk: u64, reason: String },
    #[error("reading layer {layer}: {source}")]
    Read { layer: Digest, source: Arc<io::Error> },
    /// Drop the sidecar, and make it again.
    #[error("layer {layer}: {source}")]
    Sidecar { layer: Digest, source: Arc<sidecar::Error> },
    /// Drop the index, and make it again.
    #[error("the index of layer {layer} is damaged: {reason}")]
    Index { layer: Digest, reason: String },
    #[error("there is no layer {0}")]
    NoLayer(u16),
}
