//! One tree out of an image: what every path is, by node. [`Union`] is the lower side alone, so every answer is fixed for
//! the life of the mount, and a node's number is the same at every mount of the same image; it needs no table of nodes.
//! [`Overlay`] is a lower side of any kind, with an upper directory over it or without.
//!
//! Nothing here knows FUSE: an [`Error::Answer`] is what the caller of a system call sees, an [`Error::Fault`] is a
//! failure of ours, logged by whoever replies.

mod attributes;
pub mod diff;
mod directory;
mod file;
mod ids;
pub mod overlay;
pub mod partial;
pub mod upper;
mod xattr;

use std::sync::{Arc, OnceLock};

pub use attributes::{Attributes, Statistics};
pub use directory::Entry;
pub use file::Whence;
pub use ids::{IdMap, IdRange, Ids};
pub use overlay::Overlay;
pub use rustix::io::Errno;

use crate::layer::{Id, Index, index};
use crate::lower::Lower;

/// The longest name a directory holds.
pub const NAME_MAX: usize = 255;

/// A file of the union, by its inode number: one more than its place in the lower tree, since FUSE's root is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(u64);

impl NodeId {
    pub const ROOT: NodeId = NodeId(1);

    pub fn new(number: u64) -> Self {
        Self(number)
    }

    pub fn number(self) -> u64 {
        self.0
    }

    fn of_lower(id: Id) -> Self {
        Self(u64::from(id) + 1)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the caller asked for has this answer.
    #[error("{0}")]
    Answer(Errno),
    #[error("{doing}: {source}")]
    Fault { doing: String, source: Box<dyn std::error::Error + Send + Sync> },
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Answer(errno)
    }
}

/// For what the index cannot tell, since it is damaged.
fn faulty(node: NodeId) -> impl FnOnce(index::Error) -> Error {
    move |source| Error::Fault {
        doing: format!("reading what the image says of inode {}", node.number()),
        source: Box::new(source),
    }
}

impl Error {
    pub fn errno(&self) -> Errno {
        match self {
            Self::Answer(errno) => *errno,
            Self::Fault { .. } => Errno::IO,
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

pub struct Union {
    lower: Arc<Lower>,
    ids: IdMap,
    statistics: OnceLock<Statistics>,
}

impl Union {
    pub fn new(lower: Arc<Lower>, ids: IdMap) -> Self {
        Self { lower, ids, statistics: OnceLock::new() }
    }

    /// The node called `name` in `parent`. `.` and `..` are answered too: a file handle that outlived its dentry is
    /// found again through them.
    pub fn lookup(&self, parent: NodeId, name: &[u8]) -> Result<NodeId> {
        let id = self.existing(parent)?;
        match name {
            b"." => return Ok(parent),
            b".." => return self.parent(parent),
            _ if name.len() > NAME_MAX => return Err(Errno::NAMETOOLONG.into()),
            _ => {}
        }
        self.check_directory(id)?;
        let found = self.tree().lookup(id, name);
        self.check_intact(parent)?;
        Ok(NodeId::of_lower(found.ok_or(Errno::NOENT)?.id))
    }

    /// What a damaged tree shows is not what is there: that there is nothing must not be believed.
    fn check_intact(&self, node: NodeId) -> Result<()> {
        self.tree().intact().map_err(faulty(node))
    }

    fn tree(&self) -> &Index {
        self.lower.tree()
    }

    /// The lower inode of a node; a number nobody was given is a stale handle.
    fn existing(&self, node: NodeId) -> Result<Id> {
        let id = node.0.checked_sub(1).and_then(|number| Id::try_from(number).ok());
        id.filter(|&id| id < self.tree().len()).ok_or(Error::Answer(Errno::STALE))
    }
}

#[cfg(test)]
mod tests;
