//! Open directories and files of the upper.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RawDirEntry};
use rustix::io::Errno;

use super::{Result, View};
use crate::lower::{Number, Stat};
use crate::sys::xattr::Place;

/// An open directory, good for naming what is in it and for nothing else (`O_PATH`). A clone is the same descriptor.
#[derive(Clone, Debug)]
pub struct Dir(Arc<OwnedFd>);

/// An object: by its name in a directory (`.` is the directory itself), or open, when it may have no name any more.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    Name(&'a Dir, &'a [u8]),
    Open(BorrowedFd<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    ReadWrite,
}

/// Bytes of entries that are read at once.
const LISTING: usize = 32 << 10;
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Dir {
    fn from(descriptor: OwnedFd) -> Self {
        Self(Arc::new(descriptor))
    }
}

impl Dir {
    pub(super) fn open(&self, name: &[u8]) -> rustix::io::Result<Dir> {
        let opened = rustix::fs::openat(self, name, OFlags::PATH | DIRECTORY, Mode::empty())?;
        Ok(opened.into())
    }

    /// Open for reading its entries, and for syncing.
    pub(super) fn readable(&self) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(self, ".", OFlags::RDONLY | DIRECTORY, Mode::empty())
    }

    /// The names in it, without `.` and `..`.
    pub(super) fn names(&self) -> rustix::io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        self.each(|entry| {
            names.push(entry.file_name().to_bytes().to_vec());
            Ok(())
        })?;
        Ok(names)
    }

    /// Gives `take` each entry but `.` and `..`.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(&RawDirEntry<'_>) -> rustix::io::Result<()>,
    ) -> rustix::io::Result<()> {
        let mut buffer = Vec::with_capacity(LISTING);
        let mut entries = RawDir::new(self.readable()?, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                take(&entry)?;
            }
        }
        Ok(())
    }

    /// For what was found by the same descriptor, and is therefore in the same directory.
    pub(super) fn is(&self, other: &Dir) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn stat(&self, name: &[u8]) -> rustix::io::Result<Stat> {
        let raw = rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Stat::of(&raw, Number::UPPER))
    }

    /// As [`Dir::stat`], with `None` for what is not there.
    pub(super) fn find(&self, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
        match self.stat(name) {
            Err(Errno::NOENT) => Ok(None),
            found => found.map(Some),
        }
    }

    pub(super) fn place<'a>(&'a self, name: &'a [u8]) -> Place<'a> {
        Place::Name(self.as_fd(), name)
    }
}

impl<'a> At<'a> {
    pub(super) fn place(self) -> Place<'a> {
        match self {
            At::Name(directory, name) => directory.place(name),
            At::Open(file) => Place::Open(file),
        }
    }
}

impl View {
    pub fn open_dir(&self, parent: &Dir, name: &[u8]) -> Result<Dir> {
        Ok(parent.open(name)?)
    }

    /// Opens a regular file, and nothing else.
    pub fn open_file(&self, parent: &Dir, name: &[u8], access: Access) -> Result<File> {
        let mode = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        // Not blocking: what has the name could be a pipe that nobody writes to.
        let flags = mode | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(File::from(file)),
            FileType::Directory => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    pub fn stat(&self, at: At<'_>) -> Result<Stat> {
        match at {
            At::Name(directory, name) => Ok(directory.stat(name)?),
            At::Open(file) => Ok(Stat::of(&rustix::fs::fstat(file)?, Number::UPPER)),
        }
    }

    pub fn read_link(&self, parent: &Dir, name: &[u8]) -> Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes())
    }

    pub fn statvfs(&self) -> Result<rustix::fs::StatVfs> {
        Ok(rustix::fs::fstatvfs(&self.root)?)
    }
}
