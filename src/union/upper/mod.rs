//! The writable tree on disk, in the form of kernel overlayfs, and the sequences of system calls that change it. Each is
//! seen whole or not at all: killed after any of its steps, it leaves the tree, as the kernel and plyfs read it, exactly
//! as it was before or as it is after.
//!
//! Nothing here knows the lower tree or what is merged of both: the caller decides, and says what lies below. Objects
//! are named by an open directory and a name, never by a path. Two sequences on one name must not run at once.

mod attributes;
mod copy_up;
mod create;
mod directory;
mod entry;
mod error;
mod finish;
mod journal;
mod links;
mod list;
mod lock;
mod open;
mod origin;
mod private;
mod recovery;
mod remove;
mod rename;
mod stage;
mod sync;
mod unfilled;
mod view;
mod whiteout;
mod xattr;

use std::ops::Deref;
use std::path::PathBuf;

use parking_lot::Mutex;

pub use attributes::Times;
pub use copy_up::{Data, Original, Read, Reader, What};
pub use create::{New, Over};
pub use directory::{Access, At, Dir};
use entry::Marks;
pub use entry::{Entry, Number, Object};
pub use error::{Error, Result};
pub use links::Alias;
pub use list::{Listed, Shown};
pub use lock::{Held as Locks, Shared, share};
pub use open::BLOCK;
pub use origin::{Located, Origin};
pub use private::Namespace;
pub use remove::Below;
pub use rename::{Moved, Rename, Source, Target};
pub use sync::{Extent, Policy};
pub use unfilled::Elsewhere;
pub use view::View;
pub use xattr::Setting;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where private attributes are; tried when not given.
    pub namespace: Option<Namespace>,
    pub sync: Policy,
    /// Only plyfs reads the upper, until it is sealed.
    pub kept: bool,
    /// The directories below, which must not overlap with the upper.
    pub layers: Vec<PathBuf>,
}

/// A writable tree, held by this process alone while it is open.
pub struct Upper {
    view: View,
    /// `WORKDIR/work`: whatever is in it is not part of the tree.
    work: Dir,
    /// `WORKDIR/plyfs`
    own: Dir,
    /// `WORKDIR/plyfs/hl`: objects that are being given their names.
    links: Dir,
    /// `WORKDIR/plyfs/journal`
    records: Dir,
    policy: Policy,
    kept: bool,
    abilities: Abilities,
    staging: stage::Names,
    whiteouts: whiteout::Shared,
    unsynced: sync::Unsynced,
    journal: journal::Live,
    unfilled_known: Mutex<unfilled::Known>,
    _locks: lock::Held,
}

/// What the file system of the upper can do, tried when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Abilities {
    whiteouts: whiteout::Form,
    /// O_TMPFILE, and a link made of it.
    unnamed: bool,
    /// RENAME_WHITEOUT.
    rename_whiteout: bool,
    /// Holes of a file are told from written blocks.
    holes: bool,
    /// The umask, and the ids that new files get by themselves.
    umask: u16,
    user: u32,
    group: u32,
}

impl Upper {
    /// For who leaves the tree to another writer: nobody else takes it while these are held.
    pub fn into_locks(self) -> Locks {
        self._locks
    }
}

/// All that can be seen of it.
impl Deref for Upper {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

#[cfg(test)]
mod tests;
