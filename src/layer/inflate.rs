//! Decoders that stand somewhere in a layer, and the ones that wait where the last read ended.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};

use super::decoder::zstd_decoder;
use super::{Blob, CHUNK, Checkpoint, Codec, Index, index, window};
use crate::sys::zlib::{self, Inflate, State, Stop, Wrap};

/// How many decoders wait for one layer, and for all of the process. A layer may have one beyond that.
const WAITING: usize = 8;
const WAITING_IN_ALL: usize = 64;

/// A zstd decoder can hold 128 MiB.
const WAITING_ZSTD: usize = 2;

const INPUT: usize = 64 << 10;

/// The check values and the length that end a gzip member.
const GZIP_TRAILER: u64 = 8;

static IN_ALL: AtomicUsize = AtomicUsize::new(0);

/// Why a decoder cannot go on. Where it is not reading that failed, the blob is not what was indexed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error(transparent)]
    Index(#[from] index::Error),
    #[error("it ends too early")]
    Ends,
    #[error("{0}")]
    Gzip(#[from] zlib::Error),
    #[error("{0}")]
    Zstd(io::Error),
    #[error(transparent)]
    Window(#[from] window::Damaged),
}

/// One decoder, and where it stands.
pub(super) struct Decoder {
    input: Input,
    /// In the uncompressed layer.
    position: u64,
    state: Decoding,
}

enum Decoding {
    Gzip { inflate: Inflate, entered: Entered },
    Zstd(zstd::stream::raw::Decoder<'static>),
}

/// How a gzip member was entered.
enum Entered {
    /// At a checkpoint: what ends the member is still to be passed over, and no check value is computed.
    InTheMiddle,
    /// At its header.
    AtItsHeader,
}

impl Decoder {
    /// Stands at `checkpoint`.
    pub fn start(index: &Index, blob: &Blob, checkpoint: &Checkpoint) -> Result<Self, Error> {
        let position = checkpoint.output.get();
        let at = checkpoint.input.get();
        let state = match index.identity().codec {
            Codec::Zstd => Decoding::Zstd(zstd_decoder().map_err(Error::Zstd)?),
            _ => Decoding::Gzip { inflate: middle(index, blob, checkpoint)?, entered: Entered::InTheMiddle },
        };
        Ok(Self { input: Input::new(blob.clone(), at), position, state })
    }

    /// Of the next byte that it gives.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Fills all of `output`.
    pub fn fill(&mut self, output: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < output.len() {
            done += self.step(&mut output[done..])?;
        }
        self.position += done as u64;
        Ok(())
    }

    /// Decodes something. Input may have ended when output is still to come.
    fn step(&mut self, output: &mut [u8]) -> Result<usize, Error> {
        let input = self.input.peek()?;
        let (consumed, produced) = match &mut self.state {
            Decoding::Zstd(decoder) => {
                let mut from = InBuffer::around(input);
                let mut to = OutBuffer::around(output);
                decoder.run(&mut from, &mut to).map_err(Error::Zstd)?;
                (from.pos() as u64, to.pos())
            }
            Decoding::Gzip { inflate, entered } => step_gzip(inflate, entered, input, output)?,
        };
        self.input.consume(consumed);
        if consumed == 0 && produced == 0 { Err(Error::Ends) } else { Ok(produced) }
    }
}

/// How much was consumed, which may be more than `input`, and produced.
fn step_gzip(
    inflate: &mut Inflate,
    entered: &mut Entered,
    input: &[u8],
    output: &mut [u8],
) -> Result<(u64, usize), Error> {
    let progress = inflate.inflate(input, output, Stop::AtEnd)?;
    let mut consumed = progress.consumed as u64;
    if progress.state == State::End {
        if let Entered::InTheMiddle = entered {
            consumed += GZIP_TRAILER;
        }
        *entered = Entered::AtItsHeader;
        inflate.reset(Wrap::Gzip)?;
    }
    Ok((consumed, progress.produced))
}

/// Stands in the middle of a member, with the window that it has there.
fn middle(index: &Index, blob: &Blob, checkpoint: &Checkpoint) -> Result<Inflate, Error> {
    let mut inflate = Inflate::new(Wrap::Raw)?;
    if checkpoint.window_len.get() > 0 {
        let window = window::decode(index.window(checkpoint)?)?;
        inflate.set_window(&*window)?;
    }
    if checkpoint.bits > 0 {
        let mut before = [0];
        let at = checkpoint.input.get().checked_sub(1).ok_or(Error::Ends)?;
        if blob.read_at(&mut before, at)? == 0 {
            return Err(Error::Ends);
        }
        inflate.prime(checkpoint.bits, before[0])?;
    }
    Ok(inflate)
}

/// The compressed bytes from some place on.
struct Input {
    blob: Blob,
    buffer: Vec<u8>,
    used: usize,
    /// In the blob, of the byte after `buffer`.
    next: u64,
}

impl Input {
    fn new(blob: Blob, at: u64) -> Self {
        Self { blob, buffer: Vec::new(), used: 0, next: at }
    }

    /// What was read and not yet consumed; empty at the end.
    fn peek(&mut self) -> io::Result<&[u8]> {
        if self.used == self.buffer.len() {
            self.buffer.resize(INPUT, 0);
            let count = self.blob.read_at(&mut self.buffer, self.next)?;
            self.buffer.truncate(count);
            self.used = 0;
            self.next += count as u64;
        }
        Ok(&self.buffer[self.used..])
    }

    /// Passes over `count` bytes, which may be more than were read.
    fn consume(&mut self, count: u64) {
        let buffered = (self.buffer.len() - self.used) as u64;
        let here = count.min(buffered);
        self.used += here as usize;
        self.next = self.next.saturating_add(count - here);
    }
}

/// The decoders of one layer that wait, the last used one last.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Vec<Decoder>>);

impl Waiting {
    /// The one that stands nearest before `position`, if it stands at `from` or behind that.
    pub fn take(&self, from: u64, position: u64) -> Option<Decoder> {
        let mut waiting = self.0.lock();
        let candidates = waiting.iter().enumerate();
        let (at, _) = candidates
            .filter(|(_, decoder)| (from..=position).contains(&decoder.position))
            .max_by_key(|(_, decoder)| decoder.position)?;
        IN_ALL.fetch_sub(1, Ordering::Relaxed);
        Some(waiting.remove(at))
    }

    pub fn put(&self, decoder: Decoder) {
        let most = match decoder.state {
            Decoding::Gzip { .. } => WAITING,
            Decoding::Zstd(_) => WAITING_ZSTD,
        };
        let mut waiting = self.0.lock();
        let is_full = waiting.len() >= most || IN_ALL.load(Ordering::Relaxed) >= WAITING_IN_ALL;
        let dropped = (is_full && !waiting.is_empty()).then(|| waiting.remove(0));
        if dropped.is_none() {
            IN_ALL.fetch_add(1, Ordering::Relaxed);
        }
        waiting.push(decoder);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        IN_ALL.fetch_sub(self.0.get_mut().len(), Ordering::Relaxed);
    }
}

/// The last checkpoint at or before `position`; `None`: there is none.
pub(super) fn checkpoint_before(index: &Index, position: u64) -> Option<&Checkpoint> {
    let checkpoints = index.checkpoints();
    let after = checkpoints.partition_point(|checkpoint| checkpoint.output.get() <= position);
    checkpoints.get(after.checked_sub(1)?)
}

/// The first chunk that begins at `position` or behind it.
pub(super) fn first_chunk(position: u64) -> u64 {
    position.div_ceil(CHUNK)
}
