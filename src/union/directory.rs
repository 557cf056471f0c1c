//! Listing a directory. A cookie is a place in the sorted children, after `.` and `..`, so that a listing goes on where
//! it stopped without anything being remembered.

use std::ops::ControlFlow;

use super::{NodeId, Result, Union};
use crate::layer::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub node: NodeId,
    pub name: &'a [u8],
    pub kind: Kind,
    /// Where a listing that ended with this entry goes on.
    pub next: u64,
}

const DOTS: u64 = 2;

impl Union {
    /// Gives `take` the entries from `cookie` on, until it breaks or they end.
    pub fn read_directory<'a>(
        &'a self,
        node: NodeId,
        cookie: u64,
        mut take: impl FnMut(Entry<'a>) -> ControlFlow<()>,
    ) -> Result<()> {
        let id = self.existing(node)?;
        self.check_directory(id)?;
        let children = self.tree().children(id);
        self.check_intact(node)?;
        for place in cookie..DOTS + children.len() as u64 {
            let (node, name, kind) = match place {
                0 => (node, &b"."[..], Kind::Directory),
                1 => (self.parent(node)?, &b".."[..], Kind::Directory),
                _ => match children.get((place - DOTS) as usize) {
                    Some(child) => (NodeId::of_lower(child.id), child.name, child.kind),
                    None => break,
                },
            };
            if take(Entry { node, name, kind, next: place + 1 }).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// A directory's parent; the root's is the root.
    pub(super) fn parent(&self, node: NodeId) -> Result<NodeId> {
        let id = self.existing(node)?;
        self.check_directory(id)?;
        Ok(NodeId::of_lower(self.tree().inode(id).parent()))
    }
}
