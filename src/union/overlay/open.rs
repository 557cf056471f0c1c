//! Opening and closing files. All who have a file open share one descriptor of it in the upper.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::super::partial::Partial;
use super::copy_up::Wanted;
use super::nodes::{Kept, Place};
use super::upper::{self, At};
use super::{Access, Errno, Handle, NodeId, Opening, Overlay, Result, fault};
use crate::layer::Kind;
use crate::lower::Below;

/// Where a file's bytes are now.
pub(super) enum Source {
    Lower(Below),
    File(Arc<File>),
    Partial(Partial),
}

/// Whether the kernel may read and write a file by itself.
pub enum Passing {
    /// Its content is below, at least in part.
    NotYet,
    /// It is all in the upper, and who writes to it takes something away that we have to see to.
    NotNow,
    File(Arc<File>),
}

const SET_ID: u32 = 0o6000;

impl Overlay {
    pub fn open(&self, node: NodeId, opening: Opening) -> Result<Handle> {
        match self.nodes.read().get(node)?.kind {
            Kind::File => {}
            Kind::Directory => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::INVAL.into()),
        }
        if opening.access == Access::Read && !opening.truncate {
            return self.open_for_reading(node);
        }
        self.copy_up(node, if opening.truncate { Wanted::Nothing } else { Wanted::Blocks })?;
        self.nodes.write().get_mut(node)?.opens += 1;
        let opened = self.open_for_writing(node, opening);
        opened.inspect_err(|_| self.release(Handle::new(node.number())))
    }

    fn open_for_reading(&self, id: NodeId) -> Result<Handle> {
        let mut nodes = self.nodes.write();
        let node = nodes.get(id)?;
        let file = match (&node.place, &node.reader) {
            (Place::Lower(below), None) => below.file().map_err(fault("opening a file"))?,
            _ => None,
        };
        nodes.get_mut(id)?.opens += 1;
        if let Some(file) = file {
            nodes.keep(id, Kept::Reader, file)?;
        }
        Ok(Handle::new(id.number()))
    }

    fn open_for_writing(&self, node: NodeId, opening: Opening) -> Result<Handle> {
        let file = self.writable(node)?;
        if opening.truncate {
            rustix::fs::ftruncate(&*file, 0)?;
            self.emptied(node)?;
        }
        self.drop_set_id(At::Open(file.as_fd()), opening.kill)?;
        Ok(Handle::new(node.number()))
    }

    pub fn release(&self, handle: Handle) {
        let id = NodeId::new(handle.number());
        let mut nodes = self.nodes.write();
        let Ok(node) = nodes.get_mut(id) else { return };
        node.opens = node.opens.saturating_sub(1);
        if node.opens == 0 {
            node.reader = None;
            node.writer = None;
            node.listing = None;
            let dropped = nodes.drop_unused(id);
            self.close_directories(&dropped);
        }
    }

    /// Of an open file. What can't be found out is asked for.
    pub fn passing(&self, id: NodeId) -> Passing {
        // Asked first: what is in the upper stays there, and a file of the lower side must never be passed.
        if !self.is_in_upper(id) {
            return Passing::NotYet;
        }
        match self.source(id) {
            Ok(Source::File(file)) => match rustix::fs::fstat(&*file) {
                Ok(stat) if stat.st_mode & SET_ID == 0 => Passing::File(file),
                _ => Passing::NotNow,
            },
            Ok(Source::Lower(_) | Source::Partial(_)) => Passing::NotYet,
            Err(_) => Passing::NotNow,
        }
    }

    fn is_in_upper(&self, id: NodeId) -> bool {
        self.nodes.read().get(id).is_ok_and(|node| !matches!(node.place, Place::Lower(_)))
    }

    /// What to read from. It is asked for anew at each read, since a copy-up changes it.
    pub(super) fn source(&self, id: NodeId) -> Result<Source> {
        let nodes = self.nodes.read();
        let node = nodes.get(id)?;
        let content = node.content().cloned();
        match (&node.place, &node.writer, &node.reader) {
            (Place::Orphan { file, .. }, ..) | (_, Some(file), _) | (_, None, Some(file)) => {
                return readable(node.kind).map(|()| Source::of(file.clone(), content));
            }
            (Place::Lower(below), None, None) => {
                return readable(node.kind).map(|()| Source::Lower(below.clone()));
            }
            (Place::Upper { .. }, None, None) => readable(node.kind)?,
        }
        let (parent, name) = node.names.first().cloned().ok_or(Errno::STALE)?;
        let parent = self.directory(&nodes, parent)?;
        let file = Arc::new(self.upper()?.open_file(&parent, &name, upper::Access::Read)?);
        drop(nodes);
        let mut nodes = self.nodes.write();
        if nodes.get(id)?.opens > 0 {
            nodes.keep(id, Kept::Reader, file.clone())?;
        }
        Ok(Source::of(file, content))
    }
}

impl Source {
    fn of(file: Arc<File>, content: Option<Below>) -> Self {
        match content {
            None => Self::File(file),
            Some(below) => Self::Partial(Partial { file, below }),
        }
    }
}

fn readable(kind: Kind) -> Result<()> {
    match kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(Errno::ISDIR.into()),
        _ => Err(Errno::INVAL.into()),
    }
}
