//! One layer ready to be read: where its chunks come from, and that each is what the index says.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::chunk::{Chunk, ChunkCache, Claim, Found};
use super::inflate::{self, Decoder, Waiting, checkpoint_before, first_chunk};
use super::readahead::Streams;
use super::sidecar::{self, Sidecar};
use super::{Blob, CHUNK, Codec, Error, Index};
use crate::oci::Digest;
use crate::stats::{self, Counter};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A layer's index, and the bytes that it describes.
pub struct Layer {
    /// Its number in this process, which is how the cache knows it.
    number: u64,
    index: Index,
    blob: Option<Blob>,
    sidecar: Option<Sidecar>,
    waiting: Waiting,
    pub(super) streams: Streams,
    /// How many bytes were decoded, so that tests can tell how often each was.
    #[cfg(test)]
    pub(super) decoded: AtomicU64,
}

/// Why a layer cannot be read with what there is of it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Drop the sidecar, and make it again.
    #[error("layer {layer}: {source}")]
    Sidecar { layer: Digest, source: sidecar::Error },
    /// A pass over the blob makes the sidecar.
    #[error("layer {layer} cannot be read without a sidecar that has all of it")]
    NeedsSidecar { layer: Digest },
    #[error("layer {layer} has {size} bytes, and {expected} were indexed")]
    Size { layer: Digest, size: u64, expected: u64 },
    /// Drop the index, and make it again.
    #[error("the index of {layer} does not have a digest for each chunk")]
    Index { layer: Digest },
}

impl Layer {
    /// A layer that is read from `blob` and `sidecar`: from either alone, where that one has all of it.
    pub fn open(index: Index, blob: Option<Blob>, sidecar: Option<File>) -> Result<Self, OpenError> {
        let identity = *index.identity();
        let layer = identity.digest;
        let sidecar =
            sidecar.map(Sidecar::open).transpose().map_err(|source| OpenError::Sidecar { layer, source })?;
        let chunks = identity.uncompressed.div_ceil(CHUNK);
        if index.chunk_count() != chunks {
            return Err(OpenError::Index { layer });
        }
        if let Some(size) = blob.as_ref().map(Blob::size).filter(|size| *size != identity.size) {
            return Err(OpenError::Size { layer, size, expected: identity.size });
        }
        let is_copied = sidecar.as_ref().is_some_and(|sidecar| sidecar.len() >= chunks);
        let is_seekable = matches!(identity.codec, Codec::Plain | Codec::Gzip | Codec::Zstd);
        if chunks > 0 && !is_copied && (blob.is_none() || !is_seekable) {
            return Err(OpenError::NeedsSidecar { layer });
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (waiting, streams) = (Waiting::default(), Streams::default());
        Ok(Self {
            number,
            index,
            blob,
            sidecar,
            waiting,
            streams,
            #[cfg(test)]
            decoded: AtomicU64::new(0),
        })
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    fn digest(&self) -> Digest {
        self.index.key()
    }

    pub(super) fn uncompressed(&self) -> u64 {
        self.index.identity().uncompressed
    }

    /// Whether the chunk is in memory.
    pub(super) fn has_ready(&self, cache: &ChunkCache, chunk: u64) -> bool {
        cache.has(self.number, chunk)
    }

    /// The chunk `wanted.start`. If it has to be decoded, then so are the others of `wanted`, in the same run.
    pub(super) fn chunk(&self, cache: &ChunkCache, wanted: std::ops::Range<u64>) -> Result<Chunk, Error> {
        let first = wanted.start;
        if let Some(chunk) = cache.get(self.number, first) {
            stats::count(Counter::ChunkHits, 1);
            return Ok(chunk);
        }
        stats::count(Counter::ChunkMisses, 1);
        let from = self.decoded_from(first);
        loop {
            match cache.claim(self.number, from, wanted.clone()) {
                Found::Ready(chunk) => return Ok(chunk),
                Found::Claimed(mut claim) => return self.run(&mut claim),
                Found::Flying(flight) => {
                    if let Some(landed) = flight.wait() {
                        return landed;
                    }
                }
                // What comes of it does not matter here, only that its decoder is free again.
                Found::Behind(flight) => drop(flight.wait()),
            }
        }
    }

    /// The first chunk that has to be decoded on the way to `chunk`, in the worst case.
    fn decoded_from(&self, chunk: u64) -> u64 {
        match self.way(chunk) {
            Way::InPlace | Way::Copied => chunk,
            Way::Decoded => checkpoint_before(&self.index, chunk * CHUNK)
                .map_or(chunk, |checkpoint| first_chunk(checkpoint.output.get())),
        }
    }

    fn way(&self, chunk: u64) -> Way {
        if self.sidecar.as_ref().is_some_and(|sidecar| sidecar.has(chunk)) {
            Way::Copied
        } else if self.index.identity().codec == Codec::Plain {
            Way::InPlace
        } else {
            Way::Decoded
        }
    }

    /// Supplies what was claimed, and gives the first chunk that is wanted.
    fn run(&self, claim: &mut Claim<'_>) -> Result<Chunk, Error> {
        let wanted = claim.wanted();
        let mut decoder = None;
        let first = self.supply(wanted.start, &mut decoder, claim);
        for chunk in wanted.start + 1..wanted.end {
            // Who waits for this chunk is told; for the first one it does not matter.
            if self.supply(chunk, &mut decoder, claim).is_err() {
                break;
            }
        }
        if let Some(decoder) = decoder.filter(|decoder| decoder.position() < self.uncompressed()) {
            self.waiting.put(decoder);
        }
        first
    }

    /// Publishes a chunk, or its error.
    fn supply(
        &self,
        chunk: u64,
        decoder: &mut Option<Decoder>,
        claim: &mut Claim<'_>,
    ) -> Result<Chunk, Error> {
        let bytes = match self.way(chunk) {
            Way::InPlace => self.read(chunk),
            Way::Copied => self.copied(chunk),
            Way::Decoded => self.decoded(chunk, decoder, claim),
        };
        let verified = bytes.and_then(|bytes| self.verified(chunk, bytes));
        match &verified {
            Ok(bytes) => claim.publish(chunk, bytes.clone()),
            Err(error) => claim.fail(chunk, error),
        }
        verified
    }

    fn read(&self, chunk: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = self.room(chunk);
        let blob = self.blob()?;
        let count = blob
            .read_at(&mut bytes, chunk * CHUNK)
            .map_err(|source| Error::Read { layer: self.digest(), source: Arc::new(source) })?;
        if count < bytes.len() { Err(self.corrupt(chunk, "it ends too early")) } else { Ok(bytes) }
    }

    fn copied(&self, chunk: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = self.room(chunk);
        let failed = |source| Error::Sidecar { layer: self.digest(), source: Arc::new(source) };
        let read = self.sidecar.as_ref().map_or(Ok(false), |sidecar| sidecar.read(chunk, &mut bytes));
        match read.map_err(failed)? {
            true if self.matches(chunk, &bytes)? => Ok(bytes),
            _ => Err(failed(sidecar::Error::Damaged("a chunk is changed"))),
        }
    }

    /// Decodes from wherever is nearest, and publishes what is passed on the way.
    fn decoded(
        &self,
        chunk: u64,
        slot: &mut Option<Decoder>,
        claim: &mut Claim<'_>,
    ) -> Result<Vec<u8>, Error> {
        let mut decoder = self.decoder(chunk, slot.take())?;
        loop {
            let at = decoder.position();
            let passed = at / CHUNK;
            let mut bytes = self.room(passed);
            let skipped = (at % CHUNK) as usize;
            let room = bytes.get_mut(skipped..).unwrap_or(&mut []);
            #[cfg(test)]
            self.decoded.fetch_add(room.len() as u64, Ordering::Relaxed);
            stats::count(Counter::BytesInflated, room.len() as u64);
            decoder.fill(room).map_err(|error| self.undecodable(passed, error))?;
            if passed >= chunk {
                *slot = Some(decoder);
                return Ok(bytes);
            }
            if skipped == 0 && claim.has(passed) {
                match self.verified(passed, bytes) {
                    Ok(bytes) => claim.publish(passed, bytes),
                    Err(error) => claim.fail(passed, &error),
                }
            }
        }
    }

    /// A decoder that stands at `chunk` or before it: the one at hand, one that waits, or a new one.
    fn decoder(&self, chunk: u64, at_hand: Option<Decoder>) -> Result<Decoder, Error> {
        let position = chunk * CHUNK;
        let Some(checkpoint) = checkpoint_before(&self.index, position) else {
            return Err(Error::Index { layer: self.digest(), reason: "it has no first checkpoint".into() });
        };
        let from = checkpoint.output.get();
        if let Some(decoder) = at_hand {
            if (from..=position).contains(&decoder.position()) {
                return Ok(decoder);
            }
            self.waiting.put(decoder);
        }
        match self.waiting.take(from, position) {
            Some(decoder) => Ok(decoder),
            None => Decoder::start(&self.index, self.blob()?, checkpoint)
                .map_err(|error| self.undecodable(chunk, error)),
        }
    }

    fn blob(&self) -> Result<&Blob, Error> {
        self.blob.as_ref().ok_or_else(|| Error::Sidecar {
            layer: self.digest(),
            source: Arc::new(sidecar::Error::Damaged("a chunk is missing")),
        })
    }

    /// Zeros, as long as the chunk.
    fn room(&self, chunk: u64) -> Vec<u8> {
        let left = self.uncompressed().saturating_sub(chunk * CHUNK);
        vec![0; left.min(CHUNK) as usize]
    }

    fn verified(&self, chunk: u64, bytes: Vec<u8>) -> Result<Chunk, Error> {
        match self.matches(chunk, &bytes)? {
            true => Ok(Arc::new(bytes)),
            false => Err(self.corrupt(chunk, "its BLAKE3 is another")),
        }
    }

    fn matches(&self, chunk: u64, bytes: &[u8]) -> Result<bool, Error> {
        let expected = self.index.chunk_digest(chunk).map_err(|error| self.unindexed(&error))?;
        Ok(blake3::hash(bytes).as_bytes() == expected)
    }

    fn unindexed(&self, error: &super::index::Error) -> Error {
        Error::Index { layer: self.digest(), reason: error.to_string() }
    }

    fn corrupt(&self, chunk: u64, reason: &str) -> Error {
        Error::Corrupt { layer: self.digest(), chunk, reason: reason.to_owned() }
    }

    fn undecodable(&self, chunk: u64, error: inflate::Error) -> Error {
        match error {
            inflate::Error::Read(source) => Error::Read { layer: self.digest(), source: Arc::new(source) },
            inflate::Error::Index(error) => self.unindexed(&error),
            other => self.corrupt(chunk, &other.to_string()),
        }
    }
}

/// Where a chunk's bytes come from.
enum Way {
    /// From the blob as it is.
    InPlace,
    /// From the sidecar.
    Copied,
    /// From the blob, decoded.
    Decoded,
}
