//! What a writable union is asked for, and what it answers, in words of its own.

use super::NodeId;
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

/// What is made under a new name; regular files also by [`super::Overlay::create`].
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
    pub kill: Kill,
}

/// Whether what is changed loses its set-id bits and file capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kill {
    #[default]
    No,
    Yes,
    /// If this thread, which changes it, may not keep them. Capabilities go whoever it is.
    For(u32),
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
    pub kill: Kill,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
