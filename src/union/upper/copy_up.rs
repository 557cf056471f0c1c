//! Copying a lower object up.

use std::os::fd::BorrowedFd;

use super::{Dir, Object, Origin, Result, Upper};
use crate::layer::Time;

/// A lower object, to be copied to the upper.
pub struct Original<'a> {
    pub what: What<'a>,
    pub permissions: u16,
    pub user: u32,
    pub group: u32,
    pub accessed: Time,
    pub modified: Time,
    /// As a user sees them.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    pub origin: Origin<'a>,
}

pub enum What<'a> {
    Directory,
    File(Data<'a>),
    Symlink(&'a [u8]),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Socket,
}

/// The content of the new file.
pub enum Data<'a> {
    /// It is about to be truncated.
    Empty,
    /// Of an open file: cloned, or copied with its holes.
    File(BorrowedFd<'a>),
    Read(Reader<'a>),
    /// It stays in the lower file until [`Upper::fill`]; only the size is known.
    Later {
        size: u64,
    },
}

/// Reads up to `length` bytes at an offset and gives them to the function, once.
pub type Read<'a> = dyn Fn(u64, u32, &mut dyn FnMut(&[u8])) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>
    + 'a;

pub struct Reader<'a> {
    pub size: u64,
    /// Where there is data, as offset and length; `None` for a file without holes.
    pub extents: Option<&'a [(u64, u64)]>,
    pub read: &'a Read<'a>,
}

/// A name that a lower hardlink has.
#[derive(Clone, Copy)]
pub struct Alias<'a> {
    pub parent: &'a Dir,
    pub name: &'a [u8],
}

impl Upper {
    /// Makes the object in the upper, where `name` must be absent. The parent keeps its times.
    pub fn copy_up(&self, _parent: &Dir, _name: &[u8], _original: &Original<'_>) -> Result<Object> {
        Err(rustix::io::Errno::NOSYS.into())
    }

    /// Makes a lower object that has several names, under all of them. It is the caller's to have copied the parents up.
    pub fn copy_up_links(&self, _aliases: &[Alias<'_>], _original: &Original<'_>) -> Result<Object> {
        Err(rustix::io::Errno::NOSYS.into())
    }

    /// Gives an object that was copied up with [`Data::Later`] its content. `file` is open for writing.
    pub fn fill(&self, _file: BorrowedFd<'_>, _data: &Data<'_>) -> Result<()> {
        Err(rustix::io::Errno::NOSYS.into())
    }
}
