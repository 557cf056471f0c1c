//! The union that can be written: an upper directory over a lower side. A file keeps its number when it is copied up,
//! so that what was opened before sees what is written after.
//!
//! Locks, in the order they are taken: a node's `copying` (held while its data is copied up, and by whoever is about to
//! take its name away; of two nodes that of the lesser number first); a directory's listing; `nodes`, the table (never
//! held while data is copied or decompressed); the directories kept open.

mod acl;
mod attributes;
mod copy_up;
mod create;
mod data;
mod held;
mod link;
mod listing;
mod lookup;
mod materialise;
mod nodes;
mod open;
mod place;
mod readdir;
mod remove;
mod rename;
mod set_attributes;
mod unfilled;
mod words;
mod xattr;

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::{Mutex, RwLock};

use self::nodes::{Nodes, Place};
use super::upper::{self, Dir, Upper};
use super::{Attributes, Errno, Error, IdMap, NodeId, Result};
use crate::lower::{self, Below};
use copy_up::Owner;
pub use copy_up::Wanted;
pub use open::Passing;
pub use unfilled::Sealed;
pub use words::{
    Access, Allocate, Allocation, Caller, Change, Handle, Kill, Listed, Make, Moment, Name, Opening,
    Renaming, SetXattr, Space,
};

/// How many directories of the upper are kept open.
const MOST_DIRECTORIES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

/// What a process needs beside the files that users have open: directories, and what is at work.
const OTHER_FILES: usize = 512 + 256;

#[derive(Clone, Debug)]
pub struct Options {
    pub ids: IdMap,
    pub materialise: Budget,
    /// A file whose attributes change is copied up without its content. Only plyfs reads such an upper, until it is
    /// sealed; or the kernel with `metacopy=on`.
    pub metacopy: bool,
    /// With that, a file of this size or a larger one is filled where it is written to, and a smaller one at once.
    pub blocks_from: u64,
    /// A directory that the kernel moved shows what it showed where it was.
    pub redirects: bool,
}

/// The most that the rename of a directory may copy up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub entries: u64,
    pub bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        let materialise = Budget { entries: 100_000, bytes: 1 << 30 };
        Self { ids: IdMap::default(), materialise, metacopy: false, blocks_from: 1 << 20, redirects: true }
    }
}

pub struct Overlay {
    nodes: RwLock<Nodes>,
    /// Without one, everything that would change something is answered EROFS.
    upper: Option<Upper>,
    lower: Below,
    directories: Mutex<LruCache<NodeId, Dir>>,
    options: Options,
    owner: Owner,
    /// The file system that numbers are of which the kernel has recorded.
    home: u32,
}

impl Overlay {
    pub fn new(lower: Below, upper: Option<Upper>, options: Options) -> Result<Self> {
        let home = lower.stat().map_err(fault("reading the root"))?.number.file_system;
        let root = match &upper {
            None => Place::Lower(lower.clone()),
            Some(upper) => root_of(upper, lower.clone())?,
        };
        Ok(Self {
            lower,
            nodes: RwLock::new(Nodes::new(root)),
            upper,
            directories: Mutex::new(LruCache::new(MOST_DIRECTORIES)),
            owner: Owner::of_copies(&options.ids)?,
            options,
            home,
        })
    }

    /// How many open files this process may have. Fewer than that are kept open; the others when they are used.
    pub fn allow_files(&self, most: u64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.nodes.write().keep_at_most(most.saturating_sub(OTHER_FILES).max(1));
    }

    pub fn is_writable(&self) -> bool {
        self.upper.is_some()
    }

    /// Where the private attributes of the upper are, if there is one.
    pub fn upper_namespace(&self) -> Option<upper::Namespace> {
        self.upper.as_ref().map(|upper| upper.namespace())
    }

    fn upper(&self) -> Result<&Upper> {
        self.upper.as_ref().ok_or(Error::Answer(Errno::ROFS))
    }

    pub fn space(&self) -> Result<Space> {
        let Some(upper) = &self.upper else {
            return Ok(Space { block: 4096, name_max: super::NAME_MAX as u32, ..Space::default() });
        };
        let counted = upper.statvfs()?;
        Ok(Space {
            block: counted.f_frsize as u32,
            blocks: counted.f_blocks,
            free: counted.f_bfree,
            available: counted.f_bavail,
            files: counted.f_files,
            files_free: counted.f_ffree,
            name_max: counted.f_namemax as u32,
        })
    }
}

fn root_of(upper: &Upper, lower: Below) -> Result<Place> {
    let upper::Entry::Object(object) = upper.entry(&upper.root(), b".")? else {
        return Err(Errno::NOTDIR.into());
    };
    Ok(Place::Upper { inode: object.stat.number.inode, below: (!object.opaque).then_some(lower) })
}

impl From<upper::Error> for Error {
    fn from(error: upper::Error) -> Self {
        match error {
            upper::Error::Answer(errno) => Self::Answer(errno),
            upper::Error::Fault { doing, source } => Self::Fault { doing, source },
        }
    }
}

fn fault(doing: &'static str) -> impl FnOnce(lower::Error) -> Error {
    move |source| match source {
        // What a layer may not hold, and what its owner may not read.
        lower::Error::Read { source: errno @ (Errno::PERM | Errno::ACCESS), .. } => Error::Answer(errno),
        source => Error::Fault { doing: doing.to_owned(), source: Box::new(source) },
    }
}
