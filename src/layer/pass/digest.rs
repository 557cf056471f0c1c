//! The digesting side of a pass: everything that is to be known of the bytes, on threads of its own.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;

use super::Error;
use super::feed::{Filled, KEPT_INPUTS, Message, Start};
use crate::layer::window::{self, Finder, Place, Used};
use crate::layer::{CHUNK, Checkpoint, Seek};
use crate::oci::{DiffId, Digest, Hasher};
use crate::sys::zlib::WINDOW;

/// What is known of a stream when all of it has passed.
pub(super) struct Summed {
    pub diff_id: DiffId,
    pub uncompressed: u64,
    pub seek: Seek,
}

/// Digests what the decoding side sends, and gives each uncompressed byte to `take`.
pub(super) fn digest(
    messages: &Receiver<Message>,
    take: &mut impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Summed, Error> {
    let mut sums = Sums::new()?;
    for message in messages {
        match message {
            Message::Input { at, bytes } => sums.marks.input(at, bytes),
            Message::Output { at, bytes, starts } => {
                take(&bytes)?;
                sums.output(at, bytes, starts);
            }
        }
    }
    Ok(sums.finish())
}

/// The digest and the length of a stream.
pub(super) fn hash(pieces: &Receiver<Filled>) -> (Digest, u64) {
    let (mut hasher, mut length) = (Hasher::default(), 0);
    for bytes in pieces {
        hasher.update(&bytes);
        length += bytes.len() as u64;
    }
    (hasher.finish(), length)
}

struct Sums {
    diff: Hasher,
    uncompressed: u64,
    seek: Seek,
    marks: Marks,
}

impl Sums {
    fn new() -> Result<Self, Error> {
        Ok(Self { diff: Hasher::default(), uncompressed: 0, seek: Seek::default(), marks: Marks::new()? })
    }

    fn output(&mut self, at: u64, bytes: Filled, starts: Vec<Start>) {
        self.diff.update(&bytes);
        self.uncompressed += bytes.len() as u64;
        self.seek.chunks.extend(bytes.chunks(CHUNK as usize).map(|chunk| *blake3::hash(chunk).as_bytes()));
        self.marks.output(Piece { at, bytes }, starts, &mut self.seek);
    }

    fn finish(mut self) -> Summed {
        self.marks.resolve(&mut self.seek);
        let diff_id = DiffId(self.diff.finish());
        Summed { diff_id, uncompressed: self.uncompressed, seek: self.seek }
    }
}

/// Consecutive bytes of a stream.
struct Piece {
    at: u64,
    bytes: Filled,
}

impl Piece {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

/// Turns starts into checkpoints, each when the buffer after it has come.
struct Marks {
    finder: Finder,
    /// The last ones; a window's use is not found out from older ones.
    inputs: VecDeque<Piece>,
    /// The last three.
    outputs: VecDeque<Piece>,
    waiting: Vec<Start>,
}

impl Marks {
    fn new() -> Result<Self, Error> {
        let finder =
            Finder::new().map_err(|error| Error::Data { codec: "gzip", at: 0, reason: error.to_string() })?;
        Ok(Self { finder, inputs: VecDeque::new(), outputs: VecDeque::new(), waiting: Vec::new() })
    }

    fn input(&mut self, at: u64, bytes: Filled) {
        if self.inputs.len() == KEPT_INPUTS {
            self.inputs.pop_front();
        }
        self.inputs.push_back(Piece { at, bytes });
    }

    fn output(&mut self, piece: Piece, starts: Vec<Start>, seek: &mut Seek) {
        self.outputs.push_back(piece);
        self.resolve(seek);
        self.waiting = starts;
        if self.outputs.len() > 2 {
            self.outputs.pop_front();
        }
    }

    /// Makes checkpoints of the starts that wait.
    fn resolve(&mut self, seek: &mut Seek) {
        for start in std::mem::take(&mut self.waiting) {
            let window_at = seek.windows.len();
            if start.windowed {
                self.put_window(&start, &mut seek.windows);
            }
            seek.checkpoints.push(Checkpoint {
                output: start.output.into(),
                input: start.input.into(),
                window_at: (window_at as u64).into(),
                window_len: ((seek.windows.len() - window_at) as u32).into(),
                bits: start.bits,
                ..Checkpoint::default()
            });
        }
    }

    fn put_window(&mut self, start: &Start, windows: &mut Vec<u8>) {
        let mut window = Box::new([0; WINDOW]);
        let known = (start.output as usize).min(WINDOW);
        copy(&self.outputs, start.output - known as u64, &mut window[WINDOW - known..]);
        let end = self.outputs.back().map_or(0, Piece::end);
        let mut following = vec![0; (end.saturating_sub(start.output) as usize).min(WINDOW)];
        copy(&self.outputs, start.output, &mut following);
        let used = self.used(start, &window, &following);
        window::encode(&window, &used, windows);
    }

    fn used(&mut self, start: &Start, window: &[u8; WINDOW], following: &[u8]) -> Used {
        // The byte before is needed as well: the block may begin in it.
        let from = start.input.saturating_sub(1);
        if self.inputs.front().is_none_or(|oldest| oldest.at > from) {
            return Used::all();
        }
        let mut input: Vec<&[u8]> = self
            .inputs
            .iter()
            .filter(|piece| piece.end() > from)
            .map(|piece| &piece.bytes[from.saturating_sub(piece.at) as usize..])
            .collect();
        let Some((before, rest)) = input.first().and_then(|first| first.split_first()) else {
            return Used::all();
        };
        let before = *before;
        input[0] = rest;
        self.finder.find(window, following, &Place { bits: start.bits, before, input: &input })
    }
}

/// Fills `into` with the bytes from `at` on, as far as the pieces have them.
fn copy(pieces: &VecDeque<Piece>, at: u64, into: &mut [u8]) {
    let end = at + into.len() as u64;
    for piece in pieces {
        let (from, to) = (at.max(piece.at), end.min(piece.end()));
        if from < to {
            let bytes = &piece.bytes[(from - piece.at) as usize..(to - piece.at) as usize];
            into[(from - at) as usize..(to - at) as usize].copy_from_slice(bytes);
        }
    }
}
