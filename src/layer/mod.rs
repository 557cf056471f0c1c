//! One layer: its index, made in one pass over its bytes, and its files, decompressed when something reads them.

mod blob;
mod checkpoint;
mod codec;
pub mod index;
pub mod pass;
pub mod scan;
pub mod sidecar;
mod tar;
#[cfg(test)]
mod tarball;
pub mod tree;
pub mod whiteout;
mod window;

pub use blob::{Blob, BlobReader};
pub use checkpoint::{CHUNK, Checkpoint, Seek};
pub use codec::Codec;
pub use index::{Content, Extent, Id, Identity, Index, Kind, Time};
pub use scan::Scan;
pub use tree::Tree;
