//! A compressed file as a stream of what is in it.

use std::io::{self, BufRead, BufReader, Read};

use crate::layer::Codec;
use crate::sys::zlib::{Inflate, State, Stop, Wrap};

const BUFFER: usize = 128 << 10;
/// The largest window that zstd takes without being asked: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The dictionary of `xz -9` is 64 MiB.
const XZ_MEMORY: u64 = 128 << 20;

/// What `input` holds. Members and frames that follow one another are read as one.
pub fn decoder<'a>(codec: Codec, input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let input = BufReader::with_capacity(BUFFER, input);
    Ok(match codec {
        Codec::Plain => Box::new(input),
        Codec::Gzip => Box::new(Gzip::new(input)?),
        Codec::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Codec::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Codec::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
    })
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

    /// Whether another member follows. Zeros may as well, by which tapes are padded.
    fn next_member(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.input.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            match bytes.get(zeros) {
                None if bytes.is_empty() => return Ok(false),
                None => self.input.consume(zeros),
                Some(0x1f) => {
                    self.input.consume(zeros);
                    self.inflate.reset(Wrap::Gzip).map_err(io::Error::other)?;
                    self.is_within = true;
                    return Ok(true);
                }
                Some(_) => return Err(invalid("something else follows the gzip stream")),
            }
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
