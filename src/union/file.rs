//! A file's bytes, and where its holes are.

use std::fs::File;
use std::sync::Arc;

use super::{Errno, Error, NodeId, Result, Union, faulty};
use crate::layer::{Extent, Id, Kind};

/// What lseek(2) looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    Data,
    Hole,
}

impl Union {
    /// Calls `serve` once with up to `length` bytes at `offset`; fewer only at the end of the file.
    pub fn read<R>(
        &self,
        node: NodeId,
        offset: u64,
        length: u32,
        serve: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let id = self.file(node)?;
        self.lower.read(id, offset, length, serve).map_err(|error| Error::Fault {
            doing: format!("reading {length} bytes at {offset} of inode {}", node.number()),
            source: Box::new(error),
        })
    }

    /// The whole file, where it is cached on disk. If it could be, it will be: soon.
    pub fn whole_file(&self, node: NodeId) -> Result<Option<Arc<File>>> {
        let id = self.file(node)?;
        self.lower.whole_file(id).map_err(|error| Error::Fault {
            doing: format!("looking for a cached file of inode {}", node.number()),
            source: Box::new(error),
        })
    }

    /// Whether [`Union::read`] would answer at once.
    pub fn is_at_hand(&self, node: NodeId, offset: u64, length: u32) -> bool {
        self.file(node).map_or(true, |id| self.lower.is_at_hand(id, offset, length))
    }

    /// The first data, or the first hole, at or after `offset`; the end of the file is a hole.
    pub fn seek(&self, node: NodeId, offset: u64, whence: Whence) -> Result<u64> {
        let id = self.file(node)?;
        let size = self.tree().inode(id).size();
        if offset >= size {
            return Err(Errno::NXIO.into());
        }
        let content = self.tree().content(id).map_err(faulty(node))?;
        let found = match (whence, content.extents) {
            (Whence::Data, None) => Some(offset),
            (Whence::Hole, None) => Some(size),
            (Whence::Data, Some(extents)) => first_data(extents, offset),
            (Whence::Hole, Some(extents)) => Some(first_hole(extents, offset).min(size)),
        };
        found.ok_or(Error::Answer(Errno::NXIO))
    }

    fn file(&self, node: NodeId) -> Result<Id> {
        let id = self.existing(node)?;
        match self.tree().inode(id).kind() {
            Kind::File => Ok(id),
            Kind::Directory => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }
}

fn bounds(extent: &Extent) -> (u64, u64) {
    (extent.offset.get(), extent.offset.get().saturating_add(extent.length.get()))
}

/// Extents are in the order of the file and do not overlap.
fn first_data(extents: &[Extent], offset: u64) -> Option<u64> {
    let mut runs = extents.iter().map(bounds);
    runs.find(|&(start, end)| start < end && offset < end).map(|(start, _)| start.max(offset))
}

/// Extents that touch are one run of data.
fn first_hole(extents: &[Extent], offset: u64) -> u64 {
    let runs = extents.iter().map(bounds);
    runs.fold(offset, |place, (start, end)| if (start..end).contains(&place) { end } else { place })
}
