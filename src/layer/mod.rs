//! One layer: its index, made in one pass over its bytes, and its files, decompressed when something reads them.

mod blob;

pub use blob::{Blob, BlobReader};
