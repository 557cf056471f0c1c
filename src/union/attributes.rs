//! What stat(2), readlink(2) and statfs(2) say of a node.

use super::{Errno, Error, NodeId, Result, Union, faulty};
use crate::layer::{Id, Kind};
use crate::lower::Stat;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub node: NodeId,
    /// With the ids that are shown.
    pub stat: Stat,
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
        let stat = Stat::in_tree(self.tree(), id).map_err(faulty(node))?;
        self.check_intact(node)?;
        Ok(Attributes { node, stat: self.ids.shown(stat) })
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
