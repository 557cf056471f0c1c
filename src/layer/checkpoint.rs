//! What lets a reader start in the middle of a layer: checkpoints in the compressed stream, the windows they need,
//! and a BLAKE3 for each chunk of the uncompressed one.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The grid of chunk digests: chunk `n` is the bytes from `n * CHUNK` on of the uncompressed stream.
pub const CHUNK: u64 = 128 * 1024;

/// A place where decompression can start.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Checkpoint {
    /// The first byte of the uncompressed stream that decompression from here gives.
    pub output: U64,
    /// The first byte of the compressed stream that is still to be read.
    pub input: U64,
    /// Where this checkpoint's window lies in [`Seek::windows`].
    pub window_at: U64,
    pub window_len: U32,
    /// gzip: how many bits of the byte before `input` belong to the next block.
    pub bits: u8,
    /// What kind of place this is; the codec's own.
    pub form: u8,
    pub reserved: [u8; 2],
}

/// All of them for one layer, in stream order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seek {
    pub chunks: Vec<[u8; 32]>,
    pub checkpoints: Vec<Checkpoint>,
    pub windows: Vec<u8>,
}
