//! One layer: its index, made in one pass over its bytes, and its files, decompressed when something reads them.

mod blob;
mod checkpoint;
mod codec;
pub mod index;
pub mod pass;
pub mod sidecar;
pub mod tree;
mod window;

pub use blob::{Blob, BlobReader};
pub use checkpoint::{CHUNK, Checkpoint, Seek};
pub use codec::Codec;
pub use index::{Content, Extent, Id, Identity, Index, Kind, Time};
pub use tree::Tree;
