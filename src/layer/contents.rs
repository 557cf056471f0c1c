//! The bytes of files, out of the layers that they lie in. Each chunk is verified before a byte of it is served: what
//! is read is what was indexed, or an [`Error`].
//!
//! No lock is held while something is decoded or read from disk.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::chunk::{ChunkCache, chunks_of};
use super::readahead::Worker;
use super::supply::Layer;
use super::{CHUNK, Content, Error, Extent};
use crate::stats::{self, Counter};
use crate::store::files::FileCache;

/// The layers of one mount.
pub struct Contents {
    layers: Vec<Arc<Layer>>,
    cache: Arc<ChunkCache>,
    files: Option<FileCache>,
    ahead: Worker,
    keep: Worker,
}

impl Contents {
    /// The files of `layers`, by way of what several mounts may share: chunks in memory and whole files on disk.
    pub fn new(layers: Vec<Arc<Layer>>, cache: Arc<ChunkCache>, files: Option<FileCache>) -> Self {
        let (ahead, keep) = (Worker::new("plyfs-ahead"), Worker::new("plyfs-keep"));
        Self { layers, cache, files, ahead, keep }
    }

    /// Calls `serve` once, with the bytes of a file from `offset` on: `length` of them, or as many as there are.
    pub fn read<R>(
        &self,
        layer: u16,
        content: &Content<'_>,
        offset: u64,
        length: u32,
        serve: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Error> {
        let end = content.size.min(offset.saturating_add(u64::from(length)));
        if offset >= end {
            return Ok(serve(&[]));
        }
        if let Some(file) = self.file(layer, content) {
            stats::count(Counter::WholeFileReads, 1);
            match assembled((end - offset) as usize, |bytes| file.read_exact_at(bytes, offset)) {
                Ok(bytes) => return Ok(bytes.served(serve)),
                Err(error) => log::warn!("reading a cached file: {error}"),
            }
        }
        let layer = self.layers.get(usize::from(layer)).ok_or(Error::NoLayer(layer))?;
        match content.extents {
            None => self.read_dense(layer, content, offset..end, serve),
            Some(extents) => {
                let stored = within(layer, content)?;
                let sparse = |bytes: &mut [u8]| self.fill_sparse(layer, &stored, extents, offset, bytes);
                Ok(assembled((end - offset) as usize, sparse)?.served(serve))
            }
        }
    }

    /// Whether [`Contents::read`] would find the bytes in memory, or in a file that is cached whole.
    pub fn is_at_hand(&self, layer: u16, content: &Content<'_>, offset: u64, length: u32) -> bool {
        let end = content.size.min(offset.saturating_add(u64::from(length)));
        if offset >= end || self.file(layer, content).is_some() {
            return true;
        }
        let (None, Some(layer)) = (content.extents, self.layers.get(usize::from(layer))) else {
            return false;
        };
        within(layer, content).is_ok_and(|stored| {
            chunks_of(&(stored.start + offset..stored.start + end))
                .all(|chunk| layer.has_ready(&self.cache, chunk))
        })
    }

    /// The whole file, where it is cached.
    pub fn file(&self, _layer: u16, content: &Content<'_>) -> Option<Arc<File>> {
        let files = self.files.as_ref()?;
        if is_kept(content) { files.get(&content.digest) } else { None }
    }

    fn read_dense<R>(
        &self,
        layer: &Arc<Layer>,
        content: &Content<'_>,
        range: Range<u64>,
        serve: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Error> {
        let stored = within(layer, content)?;
        let range = stored.start + range.start..stored.start + range.end;
        self.follow(layer, content, &stored, &range);
        let chunks = chunks_of(&range);
        if chunks.end - chunks.start == 1 {
            let chunk = layer.chunk(&self.cache, chunks.clone())?;
            let start = (range.start - chunks.start * CHUNK) as usize;
            let end = (range.end - chunks.start * CHUNK) as usize;
            return Ok(serve(&chunk[start..end]));
        }
        let dense = |bytes: &mut [u8]| self.fill(layer, range.start, bytes);
        Ok(assembled((range.end - range.start) as usize, dense)?.served(serve))
    }

    /// Fills `into` with the layer's bytes from `at` on.
    fn fill(&self, layer: &Layer, at: u64, into: &mut [u8]) -> Result<(), Error> {
        let range = at..at + into.len() as u64;
        let chunks = chunks_of(&range);
        for number in chunks.clone() {
            let chunk = layer.chunk(&self.cache, number..chunks.end)?;
            let begin = number * CHUNK;
            let (from, to) = (range.start.max(begin), range.end.min(begin + CHUNK));
            let part = &chunk[(from - begin) as usize..(to - begin) as usize];
            into[(from - at) as usize..(to - at) as usize].copy_from_slice(part);
        }
        Ok(())
    }

    /// Fills `into` with a sparse file's bytes from `offset` on; it holds zeros.
    fn fill_sparse(
        &self,
        layer: &Layer,
        stored: &Range<u64>,
        extents: &[Extent],
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), Error> {
        let end = offset + into.len() as u64;
        let mut at = stored.start;
        for extent in extents {
            let (start, length) = (extent.offset.get(), extent.length.get());
            let (from, to) = (offset.max(start), end.min(start.saturating_add(length)));
            if from < to {
                let part = &mut into[(from - offset) as usize..(to - offset) as usize];
                self.fill(layer, at + (from - start), part)?;
            }
            // Their sum is inside the layer, as `within` has found.
            at += length;
        }
        Ok(())
    }

    /// Has done in the background what a read suggests.
    fn follow(&self, layer: &Arc<Layer>, content: &Content<'_>, stored: &Range<u64>, read: &Range<u64>) {
        let advice = layer.streams.note(stored, read);
        if let Some(chunks) = advice.ahead {
            stats::count(Counter::ChunksAhead, chunks.end - chunks.start);
            let (layer, cache) = (layer.clone(), self.cache.clone());
            self.ahead.offer(move || have_ready(&layer, &cache, chunks));
        }
        if advice.keep {
            self.keep_stored(layer, content, stored);
        }
    }

    /// Has the file cached whole, in the background, if it is one that may be.
    pub fn keep(&self, layer: u16, content: &Content<'_>) -> Result<(), Error> {
        let layer = self.layers.get(usize::from(layer)).ok_or(Error::NoLayer(layer))?;
        let stored = within(layer, content)?;
        self.keep_stored(layer, content, &stored);
        Ok(())
    }

    fn keep_stored(&self, layer: &Arc<Layer>, content: &Content<'_>, stored: &Range<u64>) {
        if let (true, Some(files)) = (is_kept(content), &self.files) {
            let (layer, cache, files) = (layer.clone(), self.cache.clone(), files.clone());
            let (digest, stored) = (content.digest, stored.clone());
            self.keep.offer(move || keep(&files, &digest, &layer, &cache, stored));
        }
    }
}

/// Whether a file may be cached whole. A sparse one's digest is not of its bytes alone, and it can be of any size.
fn is_kept(content: &Content<'_>) -> bool {
    content.extents.is_none() && content.size > SMALLEST_KEPT
}

const SMALLEST_KEPT: u64 = 4 << 20;

/// Where in the layer a file's bytes are.
fn within(layer: &Layer, content: &Content<'_>) -> Result<Range<u64>, Error> {
    let end = content.offset.checked_add(content.stored()).filter(|end| *end <= layer.uncompressed());
    let end = end.ok_or_else(|| Error::Index {
        layer: layer.index().key(),
        reason: format!("a file at {} lies outside the layer", content.offset),
    })?;
    Ok(content.offset..end)
}

fn have_ready(layer: &Layer, cache: &ChunkCache, chunks: Range<u64>) {
    for chunk in chunks.clone() {
        if let Err(error) = layer.chunk(cache, chunk..chunks.end) {
            // Who reads the chunk is told again.
            log::debug!("reading ahead: {error}");
            return;
        }
    }
}

fn keep(files: &FileCache, digest: &[u8; 32], layer: &Layer, cache: &ChunkCache, stored: Range<u64>) {
    files.keep(digest, stored.end - stored.start, |file| {
        let mut at = stored.start;
        while at < stored.end {
            let number = at / CHUNK;
            let chunk = layer.chunk(cache, number..number + 1).map_err(io::Error::other)?;
            let start = (at - number * CHUNK) as usize;
            let length = (stored.end - at).min((chunk.len() - start) as u64) as usize;
            file.write_all_at(&chunk[start..start + length], at - stored.start)?;
            at += length as u64;
        }
        Ok(())
    });
}

thread_local! {
    /// Where reads that span chunks are put together.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A thread keeps no more than this for its next read.
const MOST_SPARE: usize = 2 << 20;

/// Bytes in a buffer that goes back to its thread.
struct Assembled(Vec<u8>);

fn assembled<E>(length: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Assembled, E> {
    let mut bytes = SPARE.take();
    bytes.clear();
    bytes.resize(length, 0);
    fill(&mut bytes).map(|()| Assembled(bytes))
}

impl Assembled {
    fn served<R>(self, serve: impl FnOnce(&[u8]) -> R) -> R {
        let result = serve(&self.0);
        if self.0.capacity() <= MOST_SPARE {
            SPARE.set(self.0);
        }
        result
    }
}
