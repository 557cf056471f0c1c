//! What stat(2), readlink(2) and statfs(2) say of a node.

use super::{Errno, Error, NodeId, Result, Union, faulty};
use crate::layer::index::Inode;
use crate::layer::{Id, Kind, Time, index};

/// A directory's size says nothing about its content; this is what most file systems start with.
const DIRECTORY_SIZE: u64 = 4096;
const BLOCK: u64 = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub node: NodeId,
    pub kind: Kind,
    /// The lower twelve bits of the mode.
    pub permissions: u16,
    pub links: u32,
    pub user: u32,
    pub group: u32,
    pub size: u64,
    /// Units of 512 bytes; holes have none.
    pub blocks: u64,
    pub accessed: Time,
    pub modified: Time,
    /// ctime.
    pub changed: Time,
    pub device: (u32, u32),
}

/// The whole file system, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    pub bytes: u64,
    pub files: u64,
}

impl Union {
    pub fn attributes(&self, node: NodeId) -> Result<Attributes> {
        let id = self.existing(node)?;
        let inode = self.tree().inode(id);
        let (size, stored) = self.sizes(id, inode).map_err(faulty(node))?;
        self.check_intact(node)?;
        Ok(Attributes {
            node,
            kind: inode.kind(),
            permissions: inode.mode(),
            links: if inode.kind() == Kind::Directory { 1 } else { inode.nlink() },
            user: self.ids.users.shown(inode.uid()),
            group: self.ids.groups.shown(inode.gid()),
            size,
            blocks: stored.div_ceil(BLOCK),
            accessed: inode.mtime(),
            modified: inode.mtime(),
            changed: inode.mtime(),
            device: inode.rdev(),
        })
    }

    /// The size that shows, and how much of it is data.
    fn sizes(&self, id: Id, inode: Inode<'_>) -> std::result::Result<(u64, u64), index::Error> {
        match inode.kind() {
            Kind::Directory => Ok((DIRECTORY_SIZE, 0)),
            Kind::File if inode.is_sparse() => Ok((inode.size(), self.tree().content(id)?.stored())),
            Kind::File => Ok((inode.size(), inode.size())),
            _ => Ok((inode.size(), 0)),
        }
    }

    pub fn read_link(&self, node: NodeId) -> Result<&[u8]> {
        let id = self.existing(node)?;
        match self.tree().inode(id).kind() {
            Kind::Symlink => self.tree().target(id).map_err(faulty(node)),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Counted once, when first asked.
    pub fn statistics(&self) -> Statistics {
        *self.statistics.get_or_init(|| {
            let inodes = (0..self.tree().len()).map(|id| self.tree().inode(id));
            let bytes = inodes.filter(|inode| inode.kind() == Kind::File).map(|inode| inode.size());
            Statistics { bytes: bytes.fold(0, u64::saturating_add), files: u64::from(self.tree().len()) }
        })
    }

    pub(super) fn check_directory(&self, id: Id) -> Result<()> {
        match self.tree().inode(id).kind() {
            Kind::Directory => Ok(()),
            _ => Err(Error::Answer(Errno::NOTDIR)),
        }
    }
}
