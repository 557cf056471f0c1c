//! A layer's tree from its tar, in one pass. Entries are folded in stream order, the last of a path wins; markers say
//! what of the layers below is hidden, wherever in the stream they stand. What only the layers below can tell (a hard
//! link into them, a parent that is a symlink there) is left to the merge.

mod attributes;
mod ground;
mod path;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use self::attributes::keeps_xattr;
use self::ground::Takes;
pub use self::ground::{Ground, UponError, upon};
use self::path::{Place, Reach, Way};
use super::index::{Content, Kind};
use super::tar::{self, Event, Header, Parser, Type, shown};
use super::tree::{Body, Child, Mark, Node, TooLarge, Tree};
use super::whiteout::{InvalidMarker, Marker};

/// What a symlink's target can have at most, as in Linux.
const MAX_TARGET: usize = 4095;
/// How many bytes the paths of all hidden link targets can have.
const MAX_HIDDEN: usize = 64 << 20;

/// Why a layer is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Tar(#[from] tar::Error),
    #[error("entry \"{entry}\": {fault}")]
    Entry { entry: String, fault: Fault },
}

/// What is wrong with an entry whose header is well-formed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the path leaves the root")]
    Escapes,
    #[error("a name holds a NUL")]
    Nul,
    #[error("a name has {0} bytes, and the limit is 255")]
    LongName(usize),
    #[error(transparent)]
    Marker(#[from] InvalidMarker),
    #[error("\"{0}\" in its path is no directory")]
    NotADirectory(String),
    #[error("its path goes through too many symlinks")]
    TooManySymlinks,
    #[error("the symlink has a target of {0} bytes, and can have 1 to {MAX_TARGET}")]
    Target(usize),
    #[error("it is a hard link to \"{0}\", which leaves the root")]
    LinkEscapes(String),
    #[error("it is a hard link to \"{0}\", which is a directory")]
    LinkToDirectory(String),
    #[error("it is a hard link to itself")]
    LinkToItself,
    #[error("its type {0:?} is unknown")]
    Type(char),
    #[error("its {field} {value} is out of range")]
    Range { field: &'static str, value: i64 },
    #[error("its xattr \"{name}\" has {size} bytes, and the limit is {limit}")]
    Xattr { name: String, size: usize, limit: usize },
    #[error("the layer is {0}")]
    TooLarge(#[from] TooLarge),
    #[error("the layer has too many entries below markers")]
    TooManyHidden,
}

/// A file whose bytes are coming in.
struct Open {
    node: Node,
    hasher: blake3::Hasher,
    left: u64,
}

/// Reads a layer that is pushed in pieces.
pub struct Scan<'a> {
    parser: Parser,
    fold: Fold<'a>,
    open: Option<Open>,
}

impl Default for Scan<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Scan<'a> {
    pub fn new() -> Self {
        Self::upon(Ground::default(), Tree::new(), Takes::All)
    }

    /// What goes on from `tree`, and takes only what `takes` says.
    fn upon(ground: Ground<'a>, tree: Tree, takes: Takes) -> Self {
        let fold = Fold { tree, ground, takes, hidden: HashMap::new(), hidden_bytes: 0, last: None };
        Self { parser: Parser::new(), fold, open: None }
    }

    /// Takes the next bytes of the uncompressed layer.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while let Some(event) = self.parser.next(&mut bytes)? {
            match event {
                Event::Entry(header) => self.entry(&header)?,
                Event::Data(data) => self.data(data),
            }
        }
        Ok(())
    }

    /// After the last byte: the layer's tree.
    pub fn finish(self) -> Result<Tree, Error> {
        self.parser.finish()?;
        Ok(self.fold.tree)
    }

    fn entry(&mut self, header: &Header) -> Result<(), Error> {
        let node = self.fold.entry(header);
        let node = node.map_err(|fault| Error::Entry { entry: shown(&header.path), fault })?;
        let open = |node| Open {
            node,
            hasher: Content::hasher(header.size, header.extents.as_deref()),
            left: header.stored,
        };
        self.open = node.filter(|_| header.kind == Type::File).map(open);
        // An empty file ends here.
        self.data(&[]);
        Ok(())
    }

    fn data(&mut self, data: &[u8]) {
        let Some(open) = &mut self.open else { return };
        open.hasher.update(data);
        open.left = open.left.saturating_sub(data.len() as u64);
        if open.left == 0 {
            self.fold.tree.set_digest(open.node, *open.hasher.finalize().as_bytes());
            self.open = None;
        }
    }
}

/// The tree so far.
struct Fold<'a> {
    tree: Tree,
    ground: Ground<'a>,
    takes: Takes,
    /// What lies below directories whose names are markers: nothing shows it, and hard links may lead to it.
    hidden: HashMap<Vec<u8>, Node>,
    hidden_bytes: usize,
    last: Option<Reached>,
}

/// The directory that the last entry stood in: the next one mostly stands there too.
struct Reached {
    path: Vec<u8>,
    node: Node,
}

impl Fold<'_> {
    /// Folds an entry in; gives the inode that it made.
    fn entry(&mut self, header: &Header) -> Result<Option<Node>, Fault> {
        let place = path::place(&header.path)?;
        let is_marker = matches!(place, Place::Marker(..));
        if self.takes == if is_marker { Takes::Entries } else { Takes::Markers } {
            return Ok(None);
        }
        match place {
            Place::Root => self.root(header).map(|()| None),
            Place::Marker(directory, marker) => self.marker(&directory, marker).map(|()| None),
            Place::Hidden(_) if header.kind == Type::Directory => Ok(None),
            Place::Hidden(path) => self.hide(path, header).map(Some),
            Place::Named(directory, name) if header.kind == Type::Directory => {
                self.directory(&directory, name, header).map(|()| None)
            }
            Place::Named(directory, name) if header.kind == Type::HardLink => {
                self.hard_link(&directory, name, header).map(|()| None)
            }
            Place::Named(directory, name) => {
                let directory = self.reach(&directory)?;
                let node = self.make(header)?;
                self.link(directory, name, node)?;
                Ok(Some(node))
            }
        }
    }

    /// An entry for the root says what the root is like; a root that is a file is nothing.
    fn root(&mut self, header: &Header) -> Result<(), Fault> {
        if header.kind == Type::Directory {
            self.describe(Node::ROOT, header)?;
        }
        Ok(())
    }

    fn directory(&mut self, directory: &[&[u8]], name: &[u8], header: &Header) -> Result<(), Fault> {
        let directory = self.reach(directory)?;
        let before = self.tree.child(directory, name);
        if let Some(Child::Inode(node, Kind::Directory)) = before {
            if self.tree.is(node, Mark::Implicit) && !self.tree.is(node, Mark::MarkerOnly) {
                self.tree.mark(node, Mark::Late);
            }
            return self.describe(node, header);
        }
        let node = self.make(header)?;
        self.link(directory, name, node)?;
        // A whiteout here, or a file that stood here for a moment, hides what the layers below have.
        if before.is_some() {
            self.tree.mark(node, Mark::Opaque);
        }
        Ok(())
    }

    fn describe(&mut self, directory: Node, header: &Header) -> Result<(), Fault> {
        let (attributes, xattrs) = (attributes::of(header)?, attributes::xattrs(header)?);
        self.tree.describe(directory, &attributes, &xattrs)?;
        self.tree.unmark(directory, Mark::Implicit);
        self.tree.unmark(directory, Mark::MarkerOnly);
        Ok(())
    }

    fn marker(&mut self, directory: &[&[u8]], marker: Marker<'_>) -> Result<(), Fault> {
        if marker == Marker::Metadata {
            return Ok(());
        }
        let reach = Reach::new(&mut self.tree, self.ground, directory);
        let Some(directory) = reach.run_for_marker()? else { return Ok(()) };
        match marker {
            Marker::Metadata => {}
            Marker::Opaque => self.tree.mark(directory, Mark::Opaque),
            Marker::Whiteout(name) => match self.tree.child(directory, name) {
                None => self.tree.whiteout(directory, name)?,
                Some(Child::Inode(node, Kind::Directory)) if self.tree.is(node, Mark::MarkerOnly) => {
                    self.last = None;
                    self.tree.whiteout(directory, name)?;
                }
                Some(Child::Inode(node, Kind::Directory)) => {
                    self.tree.mark(node, Mark::Opaque);
                    self.tree.unmark(node, Mark::Implicit);
                }
                Some(Child::Whiteout | Child::Inode(..)) => {}
            },
        }
        Ok(())
    }

    fn hide(&mut self, path: Vec<u8>, header: &Header) -> Result<Node, Fault> {
        let node = match header.kind {
            Type::HardLink => {
                let way = self.link_target(header)?;
                self.linked(way)?
            }
            _ => self.make(header)?,
        };
        self.hidden_bytes += path.len();
        if self.hidden_bytes > MAX_HIDDEN {
            return Err(Fault::TooManyHidden);
        }
        self.tree.hold(node);
        self.hidden.insert(path, node);
        Ok(node)
    }

    /// Another name of an inode, whose attributes stay. What this layer does not have yet, the layers below may.
    fn hard_link(&mut self, directory: &[&[u8]], name: &[u8], header: &Header) -> Result<(), Fault> {
        let way = self.link_target(header)?;
        let directory = self.reach(directory)?;
        if way.path == path::join(&self.tree.path(directory), name) {
            return Err(Fault::LinkToItself);
        }
        let node = self.linked(way)?;
        self.link(directory, name, node)
    }

    fn linked(&mut self, way: Way) -> Result<Node, Fault> {
        match way.node {
            Some(node) => Ok(node),
            None => {
                let body = Body::LowerLink(&way.path);
                Ok(self.tree.make(&super::tree::Attributes::IMPLICIT, &[], body)?)
            }
        }
    }

    fn link_target(&self, header: &Header) -> Result<Way, Fault> {
        let components =
            path::components(&header.link).map_err(|_| Fault::LinkEscapes(shown(&header.link)))?;
        if components.iter().any(|name| super::whiteout::is_marker(name)) {
            let path = components.join(&b'/');
            let node = self.hidden.get(&path).copied();
            return Ok(Way { path, node });
        }
        let way = path::find(&self.tree, self.ground, &components)?;
        match way.node.map(|node| self.tree.kind(node)) {
            Some(Kind::Directory) => Err(Fault::LinkToDirectory(shown(&header.link))),
            _ => Ok(way),
        }
    }

    fn make(&mut self, header: &Header) -> Result<Node, Fault> {
        let (attributes, xattrs) = (attributes::of(header)?, attributes::xattrs(header)?);
        Ok(self.tree.make(&attributes, &xattrs, attributes::body(header)?)?)
    }

    /// The directory that an entry stands in, made if need be.
    fn reach(&mut self, directory: &[&[u8]]) -> Result<Node, Fault> {
        let is_it = |last: &&Reached| last.path.split(|byte| *byte == b'/').eq(directory.iter().copied());
        if let Some(last) = self.last.as_ref().filter(is_it) {
            return Ok(last.node);
        }
        let node = Reach::new(&mut self.tree, self.ground, directory).run()?;
        self.last = Some(Reached { path: directory.join(&b'/'), node });
        Ok(node)
    }

    /// Gives an inode a name. What it replaces may have been on the way to the last directory, and to others before.
    fn link(&mut self, directory: Node, name: &[u8], node: Node) -> Result<(), Fault> {
        let before = self.tree.child(directory, name);
        if before.is_some() {
            self.last = None;
        }
        if let Some(Child::Inode(old, kind)) = before
            && (self.tree.is(old, Mark::Late) || kind == Kind::Directory)
        {
            self.tree.mark(node, Mark::Late);
        }
        Ok(self.tree.link(directory, name, node)?)
    }
}
