//! Decodes a layer in whatever way it is compressed, and marks where decoding can start.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe;

use super::Error;
use super::feed::{Input, Output, SourceFailed, Start, Stopped};
use crate::layer::Codec;
use crate::layer::decoder::{After, after_member, decoder, zstd_decoder};
use crate::sys::zlib::{self, Inflate, State, Stop, Wrap};

/// After how much output a gzip stream is marked at the next block.
const SPACING: u64 = 1 << 20;

/// Members and frames can be as small as a file's: how much output lies between two that are marked.
const MEMBER_SPACING: u64 = 256 << 10;

/// A chunk that ends farther than this behind the start before it is slow to read.
const REACH: u64 = 8 << 20;

/// The same for zstd, where a start needs no window and so could be anywhere.
const ZSTD_REACH: u64 = 4 << 20;

/// A zstd frame that does not say its size is most often the only one.
const ZSTD_REACH_UNKNOWN: u64 = 1 << 20;

pub(super) fn decode<R: Read>(
    codec: Codec,
    input: &mut Input<R>,
    output: &mut Output<'_, '_>,
) -> Result<(), Error> {
    match codec {
        Codec::Plain => plain(input, output),
        Codec::Gzip => gzip(input, output),
        Codec::Zstd => zstd(input, output),
        Codec::Xz | Codec::Bzip2 => {
            let decoder = decoder(codec, input).map_err(|error| failed(codec, 0, error))?;
            through(codec, decoder, output)
        }
    }
}

fn plain<R: Read>(input: &mut Input<R>, output: &mut Output<'_, '_>) -> Result<(), Error> {
    loop {
        let bytes = input.take_whole().map_err(|error| failed(Codec::Plain, 0, error))?;
        if bytes.is_empty() {
            return Ok(());
        }
        output.pass_on(bytes)?;
    }
}

fn through(codec: Codec, mut decoder: impl Read, output: &mut Output<'_, '_>) -> Result<(), Error> {
    loop {
        match decoder.read(output.room()) {
            Ok(0) => return Ok(()),
            Ok(count) => output.advance(count)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(codec, output.position(), error)),
        }
    }
}

/// What an error means that came through a decoder.
fn failed(codec: Codec, at: u64, error: io::Error) -> Error {
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<Stopped>()) {
        Error::Stopped
    } else if codec == Codec::Plain || inner.is_some_and(|inner| inner.is::<SourceFailed>()) {
        Error::Read(error)
    } else if error.kind() == io::ErrorKind::UnexpectedEof {
        Error::Truncated { codec: codec.name(), at }
    } else {
        Error::Data { codec: codec.name(), at, reason: error.to_string() }
    }
}

/// The next compressed bytes; their end is too early.
fn more<R: Read>(codec: Codec, input: &mut Input<R>) -> Result<&[u8], Error> {
    let at = input.position();
    match input.fill_buf() {
        Ok([]) => Err(Error::Truncated { codec: codec.name(), at }),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(failed(codec, at, error)),
    }
}

fn gzip<R: Read>(input: &mut Input<R>, output: &mut Output<'_, '_>) -> Result<(), Error> {
    let memory = |error: zlib::Error| Error::Data { codec: "gzip", at: 0, reason: error.to_string() };
    let mut inflate = Inflate::new(Wrap::Gzip).map_err(memory)?;
    loop {
        gzip_member(&mut inflate, input, output)?;
        let at = input.position();
        match after_member(input).map_err(|error| failed(Codec::Gzip, at, error))? {
            After::Member => inflate.reset(Wrap::Gzip).map_err(memory)?,
            After::End => return Ok(()),
            After::Garbage => return Err(Error::Garbage { codec: "gzip", at: input.position() }),
        }
    }
}

fn gzip_member<R: Read>(
    inflate: &mut Inflate,
    input: &mut Input<R>,
    output: &mut Output<'_, '_>,
) -> Result<(), Error> {
    let begin = output.position();
    let mut due = Due::at_member(output);
    loop {
        let at = input.position();
        let bytes = more(Codec::Gzip, input)?;
        let (room, stop) = match due {
            Due::Now => (output.room(), Stop::AtBlock),
            Due::After(left) => {
                let room = output.room();
                let length = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                (&mut room[..length], Stop::AtEnd)
            }
        };
        let progress = inflate.inflate(bytes, room, stop).map_err(|error| Error::Data {
            codec: "gzip",
            at,
            reason: error.to_string(),
        })?;
        input.consume(progress.consumed);
        output.advance(progress.produced)?;
        match (progress.state, due) {
            (State::End, _) => return Ok(()),
            (State::Boundary { bits }, Due::Now) => {
                let (output_at, input_at) = (output.position(), input.position());
                let windowed = output_at > begin;
                output.mark(Start { output: output_at, input: input_at, bits, windowed, reach: REACH });
                due = Due::After(SPACING);
            }
            (_, Due::Now) => {}
            (_, Due::After(left)) => due = Due::after(left - progress.produced as u64),
        }
    }
}

/// When a gzip stream is to be marked.
#[derive(Clone, Copy)]
enum Due {
    /// At the next block.
    Now,
    /// After so much output; never 0.
    After(u64),
}

impl Due {
    fn after(left: u64) -> Self {
        if left == 0 { Self::Now } else { Self::After(left) }
    }

    fn at_member(output: &Output<'_, '_>) -> Self {
        match output.last_start().map(|last| output.position() - last.output) {
            None => Self::Now,
            Some(passed) if passed >= MEMBER_SPACING => Self::Now,
            Some(passed) => Self::after(SPACING - passed),
        }
    }
}

fn zstd<R: Read>(input: &mut Input<R>, output: &mut Output<'_, '_>) -> Result<(), Error> {
    let mut decoder = zstd_decoder().map_err(|error| broken_zstd(0, &error))?;
    while !input.fill_buf().map_err(|error| failed(Codec::Zstd, 0, error))?.is_empty() {
        mark_frame(input, output)?;
        while !zstd_step(&mut decoder, input, output)? {}
    }
    Ok(())
}

/// Decodes something of a frame; whether the frame has ended. Input may have ended when output is still to come.
fn zstd_step<R: Read>(
    decoder: &mut Decoder<'_>,
    input: &mut Input<R>,
    output: &mut Output<'_, '_>,
) -> Result<bool, Error> {
    let at = input.position();
    let bytes = input.fill_buf().map_err(|error| failed(Codec::Zstd, at, error))?;
    let mut from = InBuffer::around(bytes);
    let mut to = OutBuffer::around(output.room());
    let hint = decoder.run(&mut from, &mut to).map_err(|error| broken_zstd(at, &error))?;
    let (consumed, produced) = (from.pos(), to.pos());
    if consumed == 0 && produced == 0 && hint != 0 {
        return Err(Error::Truncated { codec: "zstd", at });
    }
    input.consume(consumed);
    output.advance(produced)?;
    Ok(hint == 0)
}

fn broken_zstd(at: u64, error: &io::Error) -> Error {
    Error::Data { codec: "zstd", at, reason: error.to_string() }
}

fn mark_frame<R: Read>(input: &mut Input<R>, output: &mut Output<'_, '_>) -> Result<(), Error> {
    let (output_at, input_at) = (output.position(), input.position());
    let passed = output.last_start().map(|last| output_at - last.output);
    if passed.is_some_and(|passed| passed != 0 && passed < MEMBER_SPACING) {
        return Ok(());
    }
    let reach = match zstd_safe::get_frame_content_size(more(Codec::Zstd, input)?) {
        Ok(Some(size)) if size > ZSTD_REACH => 0,
        Ok(Some(_)) => ZSTD_REACH,
        _ => ZSTD_REACH_UNKNOWN,
    };
    output.mark(Start { output: output_at, input: input_at, bits: 0, windowed: false, reach });
    Ok(())
}
