//! Where in the upper an object is: an open directory and a name, or an open file.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::nodes::{NameBytes, Nodes, Place};
use super::upper::{At, Dir};
use super::{Errno, NodeId, Overlay, Result};

pub(super) enum Address {
    Named(Dir, NameBytes),
    Open(Arc<File>),
}

impl Address {
    pub fn at(&self) -> At<'_> {
        match self {
            Self::Named(directory, name) => At::Name(directory, name),
            Self::Open(file) => At::Open(file.as_fd()),
        }
    }
}

impl Overlay {
    /// An object of the upper. It is good while the table is locked.
    pub(super) fn address(&self, nodes: &Nodes, id: NodeId) -> Result<Address> {
        let node = nodes.get(id)?;
        match &node.place {
            Place::Orphan { file, .. } => Ok(Address::Open(file.clone())),
            Place::Upper { .. } if id == NodeId::ROOT => {
                Ok(Address::Named(self.upper()?.root(), (*b".").into()))
            }
            Place::Upper { .. } => {
                let (parent, name) = node.names.first().ok_or(Errno::STALE)?;
                Ok(Address::Named(self.directory(nodes, *parent)?, name.clone()))
            }
            Place::Lower(_) => Err(Errno::STALE.into()),
        }
    }

    /// A directory of the upper, open. Those above it are opened where they are not.
    pub(super) fn directory(&self, nodes: &Nodes, id: NodeId) -> Result<Dir> {
        let mut kept = self.directories.lock();
        let (mut way, mut at) = (Vec::new(), id);
        let mut directory = loop {
            if at == NodeId::ROOT {
                break self.upper()?.root();
            }
            if let Some(open) = kept.get(&at) {
                break open.clone();
            }
            let node = nodes.get(at)?;
            let (parent, name) = node.names.first().ok_or(Errno::NOENT)?;
            if !matches!(node.place, Place::Upper { .. }) {
                return Err(Errno::STALE.into());
            }
            way.push((at, name.clone()));
            at = *parent;
        };
        for (id, name) in way.into_iter().rev() {
            directory = self.upper()?.open_dir(&directory, &name)?;
            kept.put(id, directory.clone());
        }
        Ok(directory)
    }

    /// The directories above a node, from its parent up, as far as they are in the upper.
    pub(super) fn ancestors(&self, nodes: &Nodes, id: NodeId) -> Result<Vec<Dir>> {
        let (mut found, mut at) = (Vec::new(), id);
        while at != NodeId::ROOT && !nodes.is_removed(at) {
            at = nodes.parent(at)?;
            found.push(self.directory(nodes, at)?);
        }
        Ok(found)
    }

    pub(super) fn close_directories(&self, ids: &[NodeId]) {
        let mut kept = self.directories.lock();
        for id in ids {
            kept.pop(id);
        }
    }
}
