//! A layer's tar, written: the same entries give the same bytes on every machine, and [`scan`](super::scan) reads from
//! them what was written. Names of users and groups are not; what a plain header can't say is in a pax header.
//!
//! Law: what is scanned of what was written has the paths, bodies, attributes and extended attributes that were given.

mod blocks;
mod header;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

pub use blocks::{Compression, Stream, compressed};

use self::header::{BLOCK, header};
use super::index::Time;
use super::whiteout;

/// What a name of a layer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Below the root, without a slash at either end; empty for the root itself.
    pub path: &'a [u8],
    pub body: Body<'a>,
    pub mode: u16,
    pub user: u32,
    pub group: u32,
    pub modified: Time,
    /// In the order in which they are written.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    Directory,
    /// So many bytes follow, by [`Writer::content`].
    File(u64),
    Symlink(&'a [u8]),
    /// Another name of the file that was written at this path.
    HardLink(&'a [u8]),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// What of a name is hidden in the layers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden<'a> {
    Name(&'a [u8]),
    /// All that is in the directory.
    Everything,
}

pub struct Writer<W> {
    out: W,
    /// Of the file that is being written.
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Self {
        Self { out, left: 0, padding: 0 }
    }

    pub fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.end_file()?;
        self.out.write_all(&header(entry))?;
        if let Body::File(size) = entry.body {
            self.left = size;
            self.padding = (size.wrapping_neg() % BLOCK as u64) as usize;
        }
        Ok(())
    }

    /// The next bytes of the file whose entry was the last.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(io::Error::other("the file is longer than it was said to be"));
        };
        self.out.write_all(bytes)?;
        self.left = left;
        Ok(())
    }

    /// Hides something of the layers below in `directory`.
    pub fn hide(&mut self, directory: &[u8], hidden: Hidden<'_>) -> io::Result<()> {
        let marker = match hidden {
            Hidden::Name(name) => whiteout::encode(name),
            Hidden::Everything => whiteout::OPAQUE.to_vec(),
        };
        self.entry(&Entry {
            path: &join(directory, &marker),
            body: Body::File(0),
            mode: 0o600,
            user: 0,
            group: 0,
            modified: Time::default(),
            xattrs: &[],
        })
    }

    /// Writes the end of the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_file()?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_file(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other("the file is shorter than it was said to be"));
        }
        self.out.write_all(&[0; BLOCK][..self.padding])?;
        self.padding = 0;
        Ok(())
    }
}

/// `directory/name`; the empty path is the root.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}
