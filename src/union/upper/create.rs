//! New objects and new names.

use std::fs::File;

use super::{Dir, Object, Result, Upper, What};

/// What the upper has at a name that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Nothing,
    Whiteout,
}

/// An object to be made. The mode is final: no umask is applied, and access lists are among the attributes.
pub struct New<'a> {
    pub what: What<'a>,
    pub permissions: u16,
    pub user: u32,
    pub group: u32,
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    pub over: Over,
}

impl Upper {
    /// Makes an object; a regular file comes back open for reading and writing. A directory made over a whiteout is
    /// opaque.
    pub fn create(&self, _parent: &Dir, _name: &[u8], _new: &New<'_>) -> Result<(Object, Option<File>)> {
        Err(rustix::io::Errno::NOSYS.into())
    }

    /// A regular file without a name, open for reading and writing.
    pub fn temporary(&self, _new: &New<'_>) -> Result<File> {
        Err(rustix::io::Errno::NOSYS.into())
    }

    /// Gives a file from [`Upper::temporary`] a name.
    pub fn link_temporary(&self, _file: &File, _parent: &Dir, _name: &[u8], _over: Over) -> Result<Object> {
        Err(rustix::io::Errno::NOSYS.into())
    }

    /// Another name for an object of the upper that is no directory.
    pub fn link(&self, _from: (&Dir, &[u8]), _to: (&Dir, &[u8]), _over: Over) -> Result<Object> {
        Err(rustix::io::Errno::NOSYS.into())
    }
}
