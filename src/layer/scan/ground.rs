//! What a layer stands upon. A name that the layer does not have can be a symlink of the layers below: an entry goes
//! where that leads, as unpacking layer upon layer would have it.

use std::io::{self, Read};

use super::{Error, Scan};
use crate::layer::index::{Entry, Id, Index, Kind};
use crate::layer::tree::{Child, Mark, Node, Tree};

/// The layers below as one tree, and the layer as it reads alone. By default nothing is known of either.
#[derive(Clone, Copy, Default)]
pub struct Ground<'a> {
    below: Option<&'a Index>,
    own: Option<&'a Index>,
}

/// Why a layer cannot be read upon others.
#[derive(Debug, thiserror::Error)]
pub enum UponError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error(transparent)]
    Scan(#[from] Error),
}

/// What of a layer is folded in.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Takes {
    #[default]
    All,
    Markers,
    Entries,
}

/// The tree of a layer upon `ground`. Its tar is read twice, since markers come first wherever they stand: a way that
/// leads through what the layer removes does not lead there any more.
pub fn upon<R: Read>(ground: Ground<'_>, tar: impl Fn() -> R) -> Result<Tree, UponError> {
    let markers = Scan::upon(ground, Tree::new(), Takes::Markers).read(tar())?;
    Scan::upon(ground, markers, Takes::Entries).read(tar())
}

impl Scan<'_> {
    /// Reads a whole tar.
    fn read(mut self, mut tar: impl Read) -> Result<Tree, UponError> {
        let mut buffer = vec![0; 1 << 17];
        loop {
            match tar.read(&mut buffer) {
                Ok(0) => return Ok(self.finish()?),
                Ok(count) => self.push(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A directory of the layer, and the one below that shows through it.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub node: Node,
    pub below: Option<Id>,
}

impl<'a> Ground<'a> {
    pub fn new(below: &'a Index, own: &'a Index) -> Self {
        Self { below: Some(below), own: Some(own) }
    }

    pub(super) fn root(self) -> Option<Id> {
        self.below.map(|_| 0)
    }

    fn child(self, directory: Option<Id>, name: &[u8]) -> Option<Entry<'a>> {
        self.below?.lookup(directory?, name)
    }

    /// The directory `name` in one below.
    pub(super) fn directory(self, directory: Option<Id>, name: &[u8]) -> Option<Id> {
        self.child(directory, name).filter(|entry| entry.kind == Kind::Directory).map(|entry| entry.id)
    }

    /// The target of what is `name` in a directory below, if that is a symlink.
    pub(super) fn symlink(self, directory: Option<Id>, name: &[u8]) -> Option<&'a [u8]> {
        let entry = self.child(directory, name).filter(|entry| entry.kind == Kind::Symlink)?;
        self.below?.target(entry.id).ok()
    }

    /// The root of the layer.
    pub(super) fn top(self, tree: &Tree) -> At {
        let below = self.root().filter(|_| !tree.is(Node::ROOT, Mark::Opaque));
        At { node: Node::ROOT, below }
    }

    /// The place of the directory `node`, which is `name` in that at `at`.
    pub(super) fn enter(self, tree: &Tree, at: At, name: &[u8], node: Node) -> At {
        let shows = !tree.is(node, Mark::Opaque);
        At { node, below: self.directory(at.below.filter(|_| shows), name) }
    }

    /// The place of the directory that the one at `at` is in.
    pub(super) fn above(self, tree: &Tree, at: At) -> At {
        let Some((parent, _)) = tree.place_of(at.node) else { return self.top(tree) };
        names(&tree.path(parent)).fold(self.top(tree), |at, name| match tree.child(at.node, name) {
            Some(Child::Inode(node, _)) => self.enter(tree, at, name, node),
            _ => at,
        })
    }

    /// Whether the layer itself says what is `name` in a directory of that path.
    pub(super) fn is_said(self, directory: &[u8], name: &[u8]) -> bool {
        let Some(own) = self.own else { return false };
        let directory = names(directory).try_fold(0, |at, name| {
            own.lookup(at, name).filter(|entry| entry.kind == Kind::Directory).map(|entry| entry.id)
        });
        directory.and_then(|at| own.lookup(at, name)).is_some_and(|entry| match entry.kind {
            Kind::Whiteout => false,
            Kind::Directory => !own.inode(entry.id).is_implicit(),
            _ => true,
        })
    }
}

/// Of a path in a tree.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}
