//! Who is in the store. A [`Lease`] is held while an image comes in, since its blobs are not reachable yet; while one
//! is held nothing is swept. The lock on names is held only while `index.json` is changed.

use std::fs::File;
use std::io;

use super::{Error, LEASE, LOCK, Result, Store};
use crate::sys::file::{self, Sharing};

/// While it lives, nothing is removed from the store.
#[derive(Debug)]
pub struct Lease {
    /// `None` in a layout on a read-only file system that no plyfs has written to: nothing can be removed there.
    _file: Option<File>,
}

/// While it lives, no other process has a lease.
#[derive(Debug)]
pub struct Exclusive {
    _file: File,
}

/// While it lives, no other process changes the names.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Store {
    /// Waits only for a sweep that is under way.
    pub fn lease(&self) -> Result<Lease> {
        let path = self.path(LEASE);
        let file = match file::open_lock(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lease { _file: None }),
            Err(error) => return Err(Error::at("opening", &path)(error)),
        };
        file::lock(&file, Sharing::Shared).map_err(Error::at("locking", &path))?;
        Ok(Lease { _file: Some(file) })
    }

    /// The right to sweep. [`Error::InUse`] while anyone has a lease: a load can take long, and is not waited for.
    pub fn exclusive(&self) -> Result<Exclusive> {
        let path = self.path(LEASE);
        let file = file::open_lock(&path).map_err(Error::at("opening", &path))?;
        match file::try_lock(&file, Sharing::Exclusive).map_err(Error::at("locking", &path))? {
            true => Ok(Exclusive { _file: file }),
            false => Err(Error::InUse),
        }
    }

    pub(super) fn lock(&self) -> Result<Lock> {
        let path = self.path(LOCK);
        let file = file::open_lock(&path).map_err(Error::at("opening", &path))?;
        file::lock(&file, Sharing::Exclusive).map_err(Error::at("locking", &path))?;
        Ok(Lock { _file: file })
    }
}
