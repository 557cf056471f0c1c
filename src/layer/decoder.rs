//! A compressed file as a stream of what is in it, and what every reader of such files must agree on.

use std::io::{self, BufRead, Read};

use zstd::stream::raw;
use zstd::stream::zio;
use zstd::zstd_safe::DParameter;

use super::Codec;
use crate::sys::zlib::{Inflate, State, Stop, Wrap};

/// The largest window that zstd takes without being asked: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The dictionary of `xz -9` is 64 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// What `input` holds. Members and frames that follow one another are read as one.
pub fn decoder<'a>(codec: Codec, input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match codec {
        Codec::Plain => Box::new(input),
        Codec::Gzip => Box::new(Gzip::new(input)?),
        Codec::Zstd => Box::new(zio::Reader::new(input, zstd_decoder()?)),
        Codec::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Codec::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
    })
}

/// A decoder that refuses windows over [`ZSTD_WINDOW_LOG`].
pub(super) fn zstd_decoder() -> io::Result<raw::Decoder<'static>> {
    let mut decoder = raw::Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

/// What comes after a gzip member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Member,
    End,
    /// Nothing that belongs to the stream; it is next.
    Garbage,
}

/// Zeros may follow the last member: tapes and some writers pad with them. They are consumed.
pub(super) fn after_member(input: &mut impl BufRead) -> io::Result<After> {
    let mut is_padded = false;
    loop {
        let bytes = input.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let is_more_than_zeros = zeros < bytes.len();
        match bytes {
            [] => return Ok(After::End),
            [0x1f, ..] if !is_padded => return Ok(After::Member),
            _ => is_padded = true,
        }
        input.consume(zeros);
        if is_more_than_zeros {
            return Ok(After::Garbage);
        }
    }
}

/// One gzip member after another.
struct Gzip<R> {
    input: R,
    inflate: Inflate,
    is_within: bool,
}

impl<R: BufRead> Gzip<R> {
    fn new(input: R) -> io::Result<Self> {
        let inflate = Inflate::new(Wrap::Gzip).map_err(io::Error::other)?;
        Ok(Self { input, inflate, is_within: true })
    }

    fn next_member(&mut self) -> io::Result<bool> {
        match after_member(&mut self.input)? {
            After::Member => {
                self.inflate.reset(Wrap::Gzip).map_err(io::Error::other)?;
                self.is_within = true;
                Ok(true)
            }
            After::End => Ok(false),
            After::Garbage => Err(invalid("something else follows the gzip stream")),
        }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() && (self.is_within || self.next_member()?) {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the gzip stream is cut off"));
            }
            let progress = self.inflate.inflate(bytes, buffer, Stop::AtEnd).map_err(invalid)?;
            self.input.consume(progress.consumed);
            self.is_within = progress.state != State::End;
            if progress.produced > 0 {
                return Ok(progress.produced);
            }
        }
        Ok(0)
    }
}

fn invalid(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_string())
}
