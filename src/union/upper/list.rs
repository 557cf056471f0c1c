//! Listing a directory of the upper in one pass.

use rustix::fs::FileType;

use super::{Dir, Number, Result, Upper};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: Vec<u8>,
    pub shown: Shown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Whiteout,
    /// A directory that hides the lower ones is told by [`Upper::entry`].
    Object {
        kind: FileType,
        number: Number,
    },
}

impl Upper {
    /// Whiteouts in whatever form, each once, and objects; `.` and `..` are left out.
    pub fn list(&self, _directory: &Dir) -> Result<Vec<Listed>> {
        Err(rustix::io::Errno::NOSYS.into())
    }
}
