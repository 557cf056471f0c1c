//! What stat(2) says of a node, wherever it is.

use std::os::fd::AsFd;

use super::nodes::{Nodes, Place};
use super::upper::{At, Object, Stat};
use super::{Attributes, Errno, NodeId, Overlay, Result, fault};
use crate::layer::Kind;
use crate::lower;

impl Object {
    pub(super) fn kind(&self) -> Kind {
        self.stat.kind.into()
    }
}

impl Overlay {
    pub fn attributes(&self, node: NodeId) -> Result<Attributes> {
        let (below, removed) = {
            let nodes = self.nodes.read();
            match &nodes.get(node)?.place {
                Place::Lower(below) => (below.clone(), nodes.is_removed(node)),
                _ => return self.upper_attributes(&nodes, node),
            }
        };
        let stat = below.stat().map_err(fault("reading attributes"))?;
        let mut attributes = self.of_lower(node, &stat);
        if removed {
            attributes.links = 0;
        }
        Ok(attributes)
    }

    fn upper_attributes(&self, nodes: &Nodes, node: NodeId) -> Result<Attributes> {
        let known = nodes.get(node)?;
        let upper = self.upper()?;
        let stat = match (&known.writer, &known.reader) {
            (Some(file), _) | (None, Some(file)) => upper.stat(At::Open(file.as_fd()))?,
            (None, None) => upper.stat(self.address(nodes, node)?.at())?,
        };
        let mut attributes = self.of_upper(node, &stat);
        if let Some(content) = known.content() {
            attributes.blocks =
                attributes.blocks.max(content.stat().map_err(fault("reading attributes"))?.blocks);
        }
        if known.kind == Kind::Directory && known.below().is_some() {
            attributes.links = 1;
        }
        if known.kind == Kind::Directory && matches!(known.place, Place::Orphan { .. }) {
            attributes.links = 0;
        }
        Ok(attributes)
    }

    pub(super) fn of_upper(&self, node: NodeId, stat: &Stat) -> Attributes {
        Attributes {
            node,
            kind: stat.kind.into(),
            permissions: stat.permissions,
            links: u32::try_from(stat.links).unwrap_or(u32::MAX),
            user: self.options.ids.users.shown(stat.user),
            group: self.options.ids.groups.shown(stat.group),
            size: stat.size,
            blocks: stat.blocks,
            accessed: stat.accessed,
            modified: stat.modified,
            changed: stat.changed,
            device: stat.device,
        }
    }

    fn of_lower(&self, node: NodeId, stat: &lower::Stat) -> Attributes {
        Attributes {
            node,
            kind: stat.kind,
            permissions: stat.permissions,
            links: stat.links,
            user: self.options.ids.users.shown(stat.user),
            group: self.options.ids.groups.shown(stat.group),
            size: stat.size,
            blocks: stat.blocks,
            accessed: stat.accessed,
            modified: stat.modified,
            changed: stat.changed,
            device: stat.device,
        }
    }

    pub fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        let nodes = self.nodes.read();
        let known = nodes.get(node)?;
        match (&known.place, known.kind) {
            (Place::Lower(below), Kind::Symlink) => below.target().map_err(fault("reading a symlink")),
            (Place::Upper { .. }, Kind::Symlink) => {
                let (parent, name) = known.names.first().ok_or(Errno::STALE)?;
                Ok(self.upper()?.read_link(&self.directory(&nodes, *parent)?, name)?)
            }
            (Place::Orphan { file, .. }, Kind::Symlink) => {
                Ok(rustix::fs::readlinkat(file, "", Vec::new())?.into_bytes())
            }
            _ => Err(Errno::INVAL.into()),
        }
    }
}
