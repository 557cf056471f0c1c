//! The union that can be written: an upper directory over a lower side. A file keeps its number when it is copied up,
//! so that what was opened before sees what is written after.
//!
//! Locks, in the order they are taken: a node's `copying` (held while its data is copied up, and by whoever is about to
//! take its name away); `names`, the table of nodes (never held while data is copied or decompressed); the directories
//! kept open; a directory's listing; the handles.

use std::ops::ControlFlow;

use super::{Attributes, Errno, NodeId, Result, Whence};
use crate::layer::{Kind, Time};

/// Who asks for something to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user: u32,
    pub group: u32,
    pub umask: u16,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    pub parent: NodeId,
    pub name: &'a [u8],
}

/// What is made under a new name; regular files also by [`Overlay::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make<'a> {
    File,
    Directory,
    Symlink(&'a [u8]),
    /// Major and minor.
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Socket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Now,
    At(Time),
}

/// What setattr changes; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub permissions: Option<u16>,
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub size: Option<u64>,
    pub accessed: Option<Moment>,
    pub modified: Option<Moment>,
    /// FATTR_KILL_SUIDGID: the caller may not keep set-id bits and file capabilities.
    pub kill: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renaming {
    /// Over what is there.
    Replace,
    NoReplace,
    Exchange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub access: Access,
    /// O_TRUNC.
    pub truncate: bool,
    /// OPEN_KILL_SUIDGID.
    pub kill: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// fallocate(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    pub what: Allocate,
    pub keep_size: bool,
    pub offset: u64,
    pub length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    Space,
    Zeros,
    /// Always keeps the size.
    Hole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    Any,
    Create,
    Replace,
}

/// What an open file or directory is asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(u64);

impl Handle {
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    pub fn number(self) -> u64 {
        self.0
    }
}

/// What statfs(2) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub block: u32,
    pub blocks: u64,
    pub free: u64,
    pub available: u64,
    pub files: u64,
    pub files_free: u64,
    pub name_max: u32,
}

/// An entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The inode number; no lookup is counted for it.
    pub node: NodeId,
    pub name: Vec<u8>,
    pub kind: Kind,
    pub next: u64,
}

pub struct Overlay {}

// Signatures first; the bodies come next.
#[allow(unused_variables, clippy::unused_self)]
impl Overlay {
    /// Counts one lookup of the node, to be forgotten one day. `.` and `..` are answered too.
    pub fn lookup(&self, parent: NodeId, name: &[u8]) -> Result<Attributes> {
        Err(Errno::NOSYS.into())
    }
    pub fn forget(&self, node: NodeId, lookups: u64) {}
    pub fn attributes(&self, node: NodeId) -> Result<Attributes> {
        Err(Errno::NOSYS.into())
    }
    pub fn set_attributes(&self, node: NodeId, change: &Change) -> Result<Attributes> {
        Err(Errno::NOSYS.into())
    }
    pub fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        Err(Errno::NOSYS.into())
    }
    /// mknod, mkdir, symlink. `permissions` are without the umask taken off (FUSE_DONT_MASK). Counts one lookup.
    pub fn make(&self, caller: Caller, at: Name<'_>, what: Make<'_>, permissions: u16) -> Result<Attributes> {
        Err(Errno::NOSYS.into())
    }
    /// Counts one lookup.
    pub fn create(&self, caller: Caller, at: Name<'_>, permissions: u16) -> Result<(Attributes, Handle)> {
        Err(Errno::NOSYS.into())
    }
    /// Counts one lookup.
    pub fn link(&self, node: NodeId, to: Name<'_>) -> Result<Attributes> {
        Err(Errno::NOSYS.into())
    }
    pub fn unlink(&self, at: Name<'_>) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    pub fn remove_directory(&self, at: Name<'_>) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    pub fn rename(&self, from: Name<'_>, to: Name<'_>, how: Renaming) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    pub fn open(&self, node: NodeId, opening: Opening) -> Result<Handle> {
        Err(Errno::NOSYS.into())
    }
    pub fn release(&self, handle: Handle) {}
    /// Calls `serve` once.
    pub fn read<R>(
        &self,
        node: NodeId,
        offset: u64,
        length: u32,
        serve: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        Err(Errno::NOSYS.into())
    }
    /// `kill`: FUSE_WRITE_KILL_SUIDGID.
    pub fn write(&self, node: NodeId, offset: u64, data: &[u8], kill: bool) -> Result<u32> {
        Err(Errno::NOSYS.into())
    }
    pub fn allocate(&self, node: NodeId, allocation: Allocation) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    pub fn copy_range(&self, from: (NodeId, u64), to: (NodeId, u64), length: u64) -> Result<u64> {
        Err(Errno::NOSYS.into())
    }
    pub fn seek(&self, node: NodeId, offset: u64, whence: Whence) -> Result<u64> {
        Err(Errno::NOSYS.into())
    }
    /// fsync(2) of a file or directory.
    pub fn sync(&self, node: NodeId, data_only: bool) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    pub fn open_directory(&self, node: NodeId) -> Result<Handle> {
        Err(Errno::NOSYS.into())
    }
    pub fn release_directory(&self, handle: Handle) {}
    pub fn read_directory(
        &self,
        handle: Handle,
        cookie: u64,
        take: impl FnMut(&Listed) -> ControlFlow<()>,
    ) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    /// Counts one lookup for each entry that was taken (`Continue`), `.` and `..` excepted.
    pub fn read_directory_plus(
        &self,
        handle: Handle,
        cookie: u64,
        take: impl FnMut(&Listed, &Attributes) -> ControlFlow<()>,
    ) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    pub fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::NOSYS.into())
    }
    /// The names, each ended by a zero byte.
    pub fn list_xattr(&self, node: NodeId) -> Result<Vec<u8>> {
        Err(Errno::NOSYS.into())
    }
    pub fn set_xattr(&self, node: NodeId, name: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    pub fn remove_xattr(&self, node: NodeId, name: &[u8]) -> Result<()> {
        Err(Errno::NOSYS.into())
    }
    pub fn space(&self) -> Result<Space> {
        Err(Errno::NOSYS.into())
    }
}
