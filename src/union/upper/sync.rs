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

#[cfg(test)]
impl Unsynced {
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Upper {
    /// Syncs a file, and those of its `ancestors`, from its parent up, that got entries by copy-up since.
    pub fn sync<'a>(
        &self,
        file: impl AsFd,
        extent: Extent,
        ancestors: impl IntoIterator<Item = &'a Dir>,
    ) -> Result<()> {
        if self.policy == Policy::Volatile {
            return Ok(());
        }
        match extent {
            Extent::Data => rustix::fs::fdatasync(file)?,
            Extent::Whole => rustix::fs::fsync(file)?,
        }
        if self.unsynced.0.lock().is_empty() {
            return Ok(());
        }
        ancestors.into_iter().try_for_each(|ancestor| self.sync_ancestor(ancestor))
    }

    /// As [`Upper::sync`], for a directory.
    pub fn sync_dir<'a>(&self, directory: &Dir, ancestors: impl IntoIterator<Item = &'a Dir>) -> Result<()> {
        self.sync(directory.readable()?, Extent::Whole, ancestors)
    }

    /// An entry that comes while we sync is for the next one, so the note is taken before.
    fn sync_ancestor(&self, directory: &Dir) -> Result<()> {
        let inode = directory.stat(b".")?.number.inode;
        if !self.unsynced.0.lock().remove(&inode) {
            return Ok(());
        }
        let synced = directory.readable().and_then(rustix::fs::fsync);
        if synced.is_err() {
            self.unsynced.0.lock().insert(inode);
        }
        Ok(synced?)
    }

    /// To be told of a directory, by its inode number, that has got an entry by copy-up.
    pub(super) fn note_unsynced(&self, inode: u64) {
        if self.policy == Policy::Auto {
            self.unsynced.0.lock().insert(inode);
        }
    }

    /// To be called for each directory whose names a sequence changed.
    pub(super) fn changed(&self, directory: &Dir) -> Result<()> {
        if self.policy == Policy::Strict {
            rustix::fs::fsync(directory.readable()?)?;
        }
        Ok(())
    }
}
