//! One layer: its index, made in one pass over its bytes, and its files, decompressed when something reads them.

mod blob;
mod checkpoint;

pub use blob::{Blob, BlobReader};
pub use checkpoint::{CHUNK, Checkpoint, Seek};
