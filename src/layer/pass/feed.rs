//! The decoding side of a pass: buffers of compressed bytes come in, buffers of uncompressed ones go out, and both are
//! shared with the digesting side, which sends them back by letting go of them.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::copy::Copying;
use super::{Error, MOST_OUTPUT};
use crate::layer::CHUNK;

/// A multiple of [`CHUNK`], so that a chunk never spans two buffers.
pub(super) const BUFFER: usize = 2 * CHUNK as usize;

/// How many messages may wait for the digesting side.
pub(super) const QUEUE: usize = 4;

/// How many buffers of compressed bytes the digesting side keeps, to find what a checkpoint's window needs.
pub(super) const KEPT_INPUTS: usize = 8;

/// Enough that a buffer has come back before its turn comes again.
const RING: usize = QUEUE + KEPT_INPUTS + 4;

/// Bytes that nobody changes any more.
#[derive(Clone)]
pub(super) struct Filled {
    buffer: Arc<Vec<u8>>,
    length: usize,
}

impl Deref for Filled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// A place where decoding can start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub output: u64,
    pub input: u64,
    pub bits: u8,
    /// Whether what follows refers to bytes before.
    pub windowed: bool,
    /// Chunks that end farther than this from here are copied to the sidecar.
    pub reach: u64,
}

/// What the digesting side is told.
pub(super) enum Message {
    /// Compressed bytes. Those of a plain layer come as output only.
    Input { at: u64, bytes: Filled },
    /// Uncompressed bytes, and the starts among them.
    Output { at: u64, bytes: Filled, starts: Vec<Start> },
}

/// The digesting side has ended: its own error says why.
#[derive(Debug, thiserror::Error)]
#[error("the pass was stopped")]
pub(super) struct Stopped;

/// The source failed, not the decoder that reads from it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct SourceFailed(io::Error);

/// Buffers in turn; one that is still in use is left to its user and replaced.
#[derive(Default)]
struct Ring(VecDeque<Arc<Vec<u8>>>);

impl Ring {
    fn take(&mut self) -> Vec<u8> {
        let oldest = if self.0.len() < RING { None } else { self.0.pop_front() };
        oldest.and_then(|buffer| Arc::try_unwrap(buffer).ok()).unwrap_or_else(|| vec![0; BUFFER])
    }

    fn share(&mut self, buffer: Vec<u8>, length: usize) -> Filled {
        let buffer = Arc::new(buffer);
        self.0.push_back(buffer.clone());
        Filled { buffer, length }
    }
}

/// The compressed stream.
pub(super) struct Input<R> {
    source: R,
    current: Filled,
    used: usize,
    /// Of the first byte of `current`, in the stream.
    at: u64,
    is_sent: bool,
    ring: Ring,
    sender: SyncSender<Message>,
    to_hash: SyncSender<Filled>,
}

impl<R: Read> Input<R> {
    /// `sender` is told of the stream's bytes, and `to_hash` is given them, unless the stream is plain.
    pub fn new(source: R, sender: SyncSender<Message>, to_hash: SyncSender<Filled>) -> io::Result<Self> {
        let current = Filled { buffer: Arc::new(Vec::new()), length: 0 };
        let ring = Ring::default();
        let mut input = Self { source, current, used: 0, at: 0, is_sent: false, ring, sender, to_hash };
        input.refill()?;
        Ok(input)
    }

    /// The stream's first bytes.
    pub fn start(&self) -> &[u8] {
        &self.current
    }

    /// How many bytes were consumed.
    pub fn position(&self) -> u64 {
        self.at + self.used as u64
    }

    /// The next buffer of a plain layer, which is sent as output. Empty at the end.
    pub fn take_whole(&mut self) -> io::Result<Filled> {
        if self.used > 0 {
            self.refill()?;
        }
        self.used = self.current.len();
        Ok(self.current.clone())
    }

    /// Buffers are filled up, so that the same stream gives the same buffers however it comes.
    fn refill(&mut self) -> io::Result<()> {
        let mut buffer = self.ring.take();
        let mut length = 0;
        while length < buffer.len() {
            match self.source.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::new(error.kind(), SourceFailed(error))),
            }
        }
        self.at += self.current.len() as u64;
        self.used = 0;
        self.is_sent = false;
        self.current = self.ring.share(buffer, length);
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        self.is_sent = true;
        let message = Message::Input { at: self.at, bytes: self.current.clone() };
        self.sender.send(message).map_err(|_| io::Error::other(Stopped))?;
        self.to_hash.send(self.current.clone()).map_err(|_| io::Error::other(Stopped))
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.current.len() {
            self.refill()?;
        }
        if !self.is_sent && self.current.length > 0 {
            self.send()?;
        }
        Ok(&self.current[self.used..])
    }

    fn consume(&mut self, count: usize) {
        self.used = self.current.len().min(self.used + count);
    }
}

/// The uncompressed stream.
pub(super) struct Output<'scope, 'env> {
    buffer: Vec<u8>,
    filled: usize,
    /// Of the first byte of `buffer`, in the stream.
    at: u64,
    starts: Vec<Start>,
    /// The last start before `buffer`.
    before: Option<Start>,
    ring: Ring,
    sender: SyncSender<Message>,
    copying: Copying<'scope, 'env>,
}

impl<'scope, 'env> Output<'scope, 'env> {
    pub fn new(sender: SyncSender<Message>, copying: Copying<'scope, 'env>) -> Self {
        let mut ring = Ring::default();
        let buffer = ring.take();
        Self { buffer, filled: 0, at: 0, starts: Vec::new(), before: None, ring, sender, copying }
    }

    pub fn position(&self) -> u64 {
        self.at + self.filled as u64
    }

    /// Where the next bytes go; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// The first `count` bytes of the room were filled.
    pub fn advance(&mut self, count: usize) -> Result<(), Error> {
        self.filled += count;
        if self.filled == self.buffer.len() { self.flush() } else { Ok(()) }
    }

    /// The last start.
    pub fn last_start(&self) -> Option<&Start> {
        self.starts.last().or(self.before.as_ref())
    }

    /// Decoding can start here. Of two starts at one place the later is nearer.
    pub fn mark(&mut self, start: Start) {
        if self.starts.last().is_some_and(|last| last.output == start.output) {
            self.starts.pop();
        }
        self.starts.push(start);
    }

    /// A whole buffer of a plain layer.
    pub fn pass_on(&mut self, bytes: Filled) -> Result<(), Error> {
        let at = self.at;
        self.at += bytes.len() as u64;
        self.send(at, bytes)
    }

    /// Sends what there is.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.filled == 0 {
            return Ok(());
        }
        let empty = self.ring.take();
        let bytes = self.ring.share(std::mem::replace(&mut self.buffer, empty), self.filled);
        let at = self.at;
        self.at += self.filled as u64;
        self.filled = 0;
        self.send(at, bytes)
    }

    fn send(&mut self, at: u64, bytes: Filled) -> Result<(), Error> {
        if self.at > MOST_OUTPUT {
            return Err(Error::TooLarge { limit: MOST_OUTPUT });
        }
        let starts = std::mem::take(&mut self.starts);
        self.copying.take(at, &bytes, self.before.as_ref(), &starts)?;
        self.before = starts.last().copied().or(self.before);
        self.sender.send(Message::Output { at, bytes, starts }).map_err(|_| Error::Stopped)
    }

    /// Gives what copies chunks. What was not flushed is lost.
    pub fn finish(self) -> Copying<'scope, 'env> {
        self.copying
    }
}
