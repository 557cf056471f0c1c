//! When bytes are made to outlive a power cut.

use std::collections::HashSet;
use std::os::fd::AsFd;

use parking_lot::Mutex;

use super::{Dir, Result, Upper};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Data that was copied up, and what fsync(2) is asked for.
    #[default]
    Auto,
    /// Also every object and directory that a sequence touches.
    Strict,
    /// Nothing at all: the upper is worthless after a power cut, and is marked so.
    Volatile,
}

/// What of a file fsync(2) or fdatasync(2) asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Data,
    Whole,
}

/// The directories, by inode number, that got an entry by copy-up and were not synced since.
#[derive(Default)]
pub(super) struct Unsynced(Mutex<HashSet<u64>>);

impl Upper {
    /// Syncs a file, and those of its `ancestors`, from its parent up, that got entries by copy-up since.
    pub fn sync<'a>(
        &self,
        file: impl AsFd,
        extent: Extent,
        ancestors: impl IntoIterator<Item = &'a Dir>,
    ) -> Result<()> {
        let _ = (file, extent, ancestors);
        Err(rustix::io::Errno::NOSYS.into())
    }

    /// As [`Upper::sync`], for a directory.
    pub fn sync_dir<'a>(&self, directory: &Dir, ancestors: impl IntoIterator<Item = &'a Dir>) -> Result<()> {
        self.sync(directory.readable()?, Extent::Whole, ancestors)
    }
}
