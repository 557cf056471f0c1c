//! Moving objects of the upper. Whatever is moved was copied up before, a directory with all that shows in it.

use super::{Below, Dir, Result, Upper};

/// A rename, decided: permissions and kinds were checked against what shows.
pub struct Rename<'a> {
    pub from: Source<'a>,
    pub to: (&'a Dir, &'a [u8]),
    pub target: Target,
}

pub struct Source<'a> {
    pub parent: &'a Dir,
    pub name: &'a [u8],
    /// Below its old name.
    pub below: Below,
    pub moved: Moved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Anything but a directory.
    Other,
    /// A directory with nothing of its own below, going where there is nothing below either.
    Directory,
    /// A directory that has to hide what is below its new name.
    OpaqueDirectory,
    /// A directory that was merged: everything in it was copied up, and it holds whiteouts.
    Materialised,
}

/// What the new name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing in the upper.
    Nothing,
    Whiteout,
    /// An object in the upper that is no directory, to be replaced.
    Other,
    /// A directory in the upper that shows no entries, to be replaced.
    Directory,
    /// RENAME_EXCHANGE.
    Exchange(Moved),
}

impl Upper {
    pub fn rename(&self, _rename: &Rename<'_>) -> Result<()> {
        Err(rustix::io::Errno::NOSYS.into())
    }

    /// Makes a directory hide the lower ones of its name. What was in them and shows was copied up before.
    pub fn set_opaque(&self, _parent: &Dir, _name: &[u8], _moved: Moved) -> Result<()> {
        Err(rustix::io::Errno::NOSYS.into())
    }
}
