//! A layer's tar, read in order. Like everything else that comes out of a layer it is verified before it is given.

use std::io::{self, Read};

use super::{CHUNK, ChunkCache, Layer};

/// How many chunks are decoded at a time.
const RUN: u64 = 8;

pub struct Uncompressed<'a> {
    layer: &'a Layer,
    cache: &'a ChunkCache,
    position: u64,
}

impl Layer {
    /// The uncompressed tar. A fault in it is a [`super::Error`] within the error.
    pub fn uncompressed_tar<'a>(&'a self, cache: &'a ChunkCache) -> Uncompressed<'a> {
        Uncompressed { layer: self, cache, position: 0 }
    }
}

impl Read for Uncompressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (first, within) = (self.position / CHUNK, (self.position % CHUNK) as usize);
        let end = self.layer.uncompressed().div_ceil(CHUNK).min(first + RUN);
        if first >= end {
            return Ok(0);
        }
        let chunk = self.layer.chunk(self.cache, first..end).map_err(io::Error::other)?;
        let count = chunk.get(within..).unwrap_or(&[]).read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}
