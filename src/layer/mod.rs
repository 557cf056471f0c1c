//! One layer: its index, made in one pass over its bytes, and its files, decompressed when something reads them.

mod blob;
mod checkpoint;
mod chunk;
mod codec;
mod contents;
mod decoder;
mod error;
pub mod index;
mod inflate;
pub mod pass;
mod readahead;
pub mod scan;
pub mod sidecar;
mod supply;
pub mod tar;
#[cfg(test)]
mod tarball;
pub mod tree;
mod uncompressed;
pub mod whiteout;
mod window;
pub mod write;

pub use blob::{Blob, BlobReader};
pub use checkpoint::{CHUNK, Checkpoint, Seek};
pub use chunk::{BUDGET, ChunkCache};
pub use codec::Codec;
pub use contents::Contents;
pub use decoder::decoder;
pub use error::Error;
pub use index::{Content, Extent, Id, Identity, Index, Kind, Time};
pub use scan::Scan;
pub use supply::{Layer, OpenError};
pub use tree::Tree;
