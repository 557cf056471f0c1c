//! Inflate that can stop at a block boundary and go on from the middle of a stream, which no safe binding offers.

#![allow(unsafe_code)]

use libz_rs_sys as zlib;

const WINDOW_BITS: i32 = 15;
const GZIP: i32 = 16;
const BLOCK_BOUNDARY: i32 = 128;
const LAST_BLOCK: i32 = 64;
const UNUSED_BITS: i32 = 7;

/// How far back deflate can refer.
pub const WINDOW: usize = 1 << WINDOW_BITS;

/// What surrounds the deflate blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// Nothing.
    Raw,
    /// One gzip member: its header is read, its CRC32 and length are checked.
    Gzip,
}

/// Where a call may stop before input or output run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Only at the end of the stream.
    AtEnd,
    /// Also after the header and after each block.
    AtBlock,
}

/// What one call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub consumed: usize,
    pub produced: usize,
    pub state: State,
}

/// Where the stream stands after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Inside the header or a block, or waiting for input or room.
    Within,
    /// Before a block's header; `bits` of the last byte consumed belong to it.
    Boundary { bits: u8 },
    /// The stream is complete, its check values included.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("not enough memory to inflate")]
    Memory,
    #[error("invalid deflate data: {0}")]
    Data(&'static str),
    #[error("a call out of order")]
    Misuse,
}

/// One decoder. It holds its window, so that the output needs not stay where it was written.
pub struct Inflate {
    stream: Box<zlib::z_stream>,
}

// SAFETY: the stream owns its state, and its pointers to input and output are replaced before each use.
unsafe impl Send for Inflate {}

impl Inflate {
    pub fn new(wrap: Wrap) -> Result<Self, Error> {
        let mut stream = Box::new(zlib::z_stream::default());
        // SAFETY: the stream is a valid, uninitialised z_stream with the default allocator; the version is a C string.
        let code = unsafe {
            zlib::inflateInit2_(
                &mut *stream,
                window_bits(wrap),
                zlib::zlibVersion(),
                size_of::<zlib::z_stream>() as i32,
            )
        };
        check(code)?;
        Ok(Self { stream })
    }

    /// Stands before a new stream, everything of the old one forgotten.
    pub fn reset(&mut self, wrap: Wrap) -> Result<(), Error> {
        // SAFETY: the stream was initialised by inflateInit2_.
        check(unsafe { zlib::inflateReset2(&mut *self.stream, window_bits(wrap)) })
    }

    /// Puts the upper `bits` (0 to 7) of `byte` before the input: the part of a byte that a block begins in.
    pub fn prime(&mut self, bits: u8, byte: u8) -> Result<(), Error> {
        match bits {
            0 => Ok(()),
            1..=7 => {
                let value = i32::from(byte >> (8 - bits));
                // SAFETY: the stream was initialised by inflateInit2_.
                check(unsafe { zlib::inflatePrime(&mut *self.stream, i32::from(bits), value) })
            }
            _ => Err(Error::Misuse),
        }
    }

    /// Gives a raw stream the window that it would have at this place.
    pub fn set_window(&mut self, window: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(window.len()).map_err(|_| Error::Misuse)?;
        // SAFETY: the stream was initialised by inflateInit2_; pointer and length are of one slice, which is copied.
        check(unsafe { zlib::inflateSetDictionary(&mut *self.stream, window.as_ptr(), length) })
    }

    /// Inflates from `input` to `output` until one of them is used up, or `stop` is met.
    pub fn inflate(&mut self, input: &[u8], output: &mut [u8], stop: Stop) -> Result<Progress, Error> {
        let given = u32::try_from(input.len()).unwrap_or(u32::MAX);
        let room = u32::try_from(output.len()).unwrap_or(u32::MAX);
        self.stream.next_in = input.as_ptr();
        self.stream.avail_in = given;
        self.stream.next_out = output.as_mut_ptr();
        self.stream.avail_out = room;
        let flush = match stop {
            Stop::AtEnd => zlib::Z_NO_FLUSH,
            Stop::AtBlock => zlib::Z_BLOCK,
        };
        // SAFETY: the stream was initialised by inflateInit2_; both ranges are valid for the length of the call, and
        // what the stream keeps of them is replaced before the next one.
        let code = unsafe { zlib::inflate(&mut *self.stream, flush) };
        let state = self.state(code)?;
        Ok(Progress {
            consumed: (given - self.stream.avail_in) as usize,
            produced: (room - self.stream.avail_out) as usize,
            state,
        })
    }

    fn state(&self, code: i32) -> Result<State, Error> {
        match code {
            zlib::Z_STREAM_END => Ok(State::End),
            zlib::Z_OK | zlib::Z_BUF_ERROR => Ok(self.place()),
            zlib::Z_DATA_ERROR => Err(Error::Data(self.message())),
            other => Err(check(other).err().unwrap_or(Error::Misuse)),
        }
    }

    fn place(&self) -> State {
        let place = self.stream.data_type;
        // After the last block only the trailer follows: no place to go on from.
        if place & BLOCK_BOUNDARY != 0 && place & LAST_BLOCK == 0 {
            State::Boundary { bits: (place & UNUSED_BITS) as u8 }
        } else {
            State::Within
        }
    }

    fn message(&self) -> &'static str {
        if self.stream.msg.is_null() {
            return "no reason given";
        }
        // SAFETY: zlib's messages are C string literals of the library, which live as long as the program.
        let message = unsafe { std::ffi::CStr::from_ptr::<'static>(self.stream.msg) };
        message.to_str().unwrap_or("no reason given")
    }
}

impl Drop for Inflate {
    fn drop(&mut self) {
        // SAFETY: the stream was initialised by inflateInit2_ and is not used again.
        unsafe { zlib::inflateEnd(&mut *self.stream) };
    }
}

fn window_bits(wrap: Wrap) -> i32 {
    match wrap {
        Wrap::Raw => -WINDOW_BITS,
        Wrap::Gzip => WINDOW_BITS + GZIP,
    }
}

fn check(code: i32) -> Result<(), Error> {
    match code {
        zlib::Z_OK => Ok(()),
        zlib::Z_MEM_ERROR => Err(Error::Memory),
        zlib::Z_NEED_DICT => Err(Error::Data("a preset dictionary is needed")),
        _ => Err(Error::Misuse),
    }
}
