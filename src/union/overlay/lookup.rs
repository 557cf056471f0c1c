//! Finding what a name stands for in the union of both sides.

use parking_lot::RwLockUpgradableReadGuard as Upgradable;

use super::super::{NAME_MAX, partial};
use super::nodes::{Found, Nodes, Place, compose, upper_number};
use super::upper::{Elsewhere, Entry, Namespace, Object};
use super::{Attributes, Errno, Error, NodeId, Overlay, Result, fault};
use crate::layer::Kind;
use crate::lower::Below;

/// What is under a name, and what lies below it.
pub(super) struct Sides {
    pub upper: Entry,
    /// What the lower side would show.
    pub lower: Option<Below>,
}

impl Overlay {
    /// Counts one lookup of the node, to be forgotten one day. `.` and `..` are answered too.
    pub fn lookup(&self, parent: NodeId, name: &[u8]) -> Result<Attributes> {
        let node = self.find(parent, name)?;
        self.attributes(node).inspect_err(|_| self.forget(node, 1))
    }

    /// As [`Overlay::lookup`].
    pub(super) fn find(&self, parent: NodeId, name: &[u8]) -> Result<NodeId> {
        if name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        // Readers go on, but no two look for the same name.
        let nodes = self.nodes.upgradable_read();
        nodes.directory(parent)?;
        let known = match name {
            b"." => Some(parent),
            b".." => Some(nodes.parent(parent)?),
            _ => nodes.child(parent, name),
        };
        let found = if known.is_none() { Some(self.discover(&nodes, parent, name)?) } else { None };
        let mut nodes = Upgradable::upgrade(nodes);
        let id = match (known, found) {
            (Some(id), _) => id,
            (None, Some(found)) => nodes.adopt(parent, name, found)?,
            (None, None) => return Err(Errno::NOENT.into()),
        };
        nodes.get_mut(id)?.lookups += 1;
        Ok(id)
    }

    pub fn forget(&self, node: NodeId, lookups: u64) {
        let mut nodes = self.nodes.write();
        if let Ok(known) = nodes.get_mut(node)
            && node != NodeId::ROOT
        {
            known.lookups = known.lookups.saturating_sub(lookups);
            let dropped = nodes.drop_unused(node);
            self.close_directories(&dropped);
        }
    }

    /// What a name that no node has stands for.
    fn discover(&self, nodes: &Nodes, parent: NodeId, name: &[u8]) -> Result<Found> {
        let sides = self.sides(nodes, parent, name)?;
        match (sides.upper, sides.lower) {
            (Entry::Object(object), lower) => {
                let content = self.content(nodes, parent, name, &object, lower.clone())?;
                let lower = if object.opaque { lower } else { self.through(nodes, parent, &object, lower)? };
                self.in_upper(object, content.or(lower))
            }
            (Entry::Absent, Some(lower)) => in_lower(lower),
            (Entry::Absent, None) | (Entry::Whiteout, _) => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn sides(&self, nodes: &Nodes, parent: NodeId, name: &[u8]) -> Result<Sides> {
        let node = nodes.directory(parent)?;
        if nodes.is_removed(parent) {
            return Err(Errno::NOENT.into());
        }
        let upper = match node.place {
            Place::Upper { .. } => self.upper()?.entry(&self.directory(nodes, parent)?, name)?,
            _ => Entry::Absent,
        };
        let lower = node.below().map(|below| below.lookup(name)).transpose();
        Ok(Sides { upper, lower: lower.map_err(fault("looking up a name"))?.flatten() })
    }

    /// What shows through an object of the upper: what is below its name, or where the kernel moved it from. Anyone could
    /// have set a user's attribute, to be shown what only others may see.
    fn through(
        &self,
        nodes: &Nodes,
        parent: NodeId,
        object: &Object,
        lower: Option<Below>,
    ) -> Result<Option<Below>> {
        let Some(redirect) = &object.redirect else { return Ok(lower) };
        if !self.options.redirects || self.upper()?.namespace() == Namespace::User {
            return Err(Errno::PERM.into());
        }
        partial::moved_from(&self.lower, redirect, nodes.directory(parent)?.below())
    }

    /// `lower`: what is at the name of a directory, or has the content that a file lacks.
    pub(super) fn in_upper(&self, object: Object, lower: Option<Below>) -> Result<Found> {
        let kind = object.stat.kind;
        let below = match lower {
            Some(lower) if kind == Kind::Directory && !object.opaque && is_directory(&lower)? => Some(lower),
            Some(content) if object.unfilled.is_some() => Some(content),
            _ => None,
        };
        Ok(Found {
            kind,
            place: Place::Upper { inode: object.stat.number.inode, below },
            wanted: upper_number(&object.number, self.home),
            anchored: !object.opaque && matches!(object.redirect.as_deref(), Some(Elsewhere::Path(_))),
            number: None,
        })
    }
}

fn in_lower(lower: Below) -> Result<Found> {
    let stat = lower.stat().map_err(fault("reading what a name stands for"))?;
    Ok(Found {
        kind: stat.kind,
        place: Place::Lower(lower),
        wanted: compose(stat.number.file_system, stat.number.inode),
        anchored: false,
        number: Some(stat.number),
    })
}

pub(super) fn is_directory(lower: &Below) -> Result<bool> {
    Ok(lower.stat().map_err(fault("reading what a name stands for"))?.kind == Kind::Directory)
}

/// What a directory has to be for names in it to change.
pub(super) fn check_live(nodes: &Nodes, directory: NodeId) -> Result<()> {
    nodes.directory(directory)?;
    if nodes.is_removed(directory) { Err(Error::Answer(Errno::NOENT)) } else { Ok(()) }
}
