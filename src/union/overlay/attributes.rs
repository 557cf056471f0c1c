//! What stat(2) says of a node, wherever it is.

use std::os::fd::AsFd;

use super::nodes::{Nodes, Place};
use super::upper::At;
use super::{Attributes, Errno, NodeId, Overlay, Result, fault};
use crate::layer::Kind;
use crate::lower::Stat;

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
        Ok(self.shown(node, if removed { Stat { links: 0, ..stat } } else { stat }))
    }

    fn upper_attributes(&self, nodes: &Nodes, node: NodeId) -> Result<Attributes> {
        let known = nodes.get(node)?;
        let upper = self.upper()?;
        let mut stat = match (&known.writer, &known.reader) {
            (Some(file), _) | (None, Some(file)) => upper.stat(At::Open(file.as_fd()))?,
            (None, None) => upper.stat(self.address(nodes, node)?.at())?,
        };
        if let Some(content) = known.content() {
            stat.blocks = stat.blocks.max(content.stat().map_err(fault("reading attributes"))?.blocks);
        }
        if known.kind == Kind::Directory && known.below().is_some() {
            stat.links = 1;
        }
        if known.kind == Kind::Directory && matches!(known.place, Place::Orphan { .. }) {
            stat.links = 0;
        }
        Ok(self.shown(node, stat))
    }

    pub(super) fn shown(&self, node: NodeId, stat: Stat) -> Attributes {
        Attributes { node, stat: self.options.ids.shown(stat) }
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
