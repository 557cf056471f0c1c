//! Paths of entries: what they are after cleaning, and where in the tree they lead.

use std::borrow::Cow;

use super::Fault;
use crate::layer::index::Kind;
use crate::layer::tar::shown;
use crate::layer::tree::{Attributes, Body, Child, Mark, Node, Tree};
use crate::layer::whiteout::{Marker, decode, is_marker};

const MAX_NAME: usize = 255;
/// How many symlinks one path can go through, and how many names their targets can have in all.
const MAX_HOPS: usize = 40;
const MAX_FOLLOWED: usize = 1000;

/// Where an entry stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Root,
    Named(Vec<&'a [u8]>, &'a [u8]),
    /// A marker, in this directory.
    Marker(Vec<&'a [u8]>, Marker<'a>),
    /// Below a directory whose name is a marker.
    Hidden(Vec<u8>),
}

pub(super) fn place(path: &[u8]) -> Result<Place<'_>, Fault> {
    let mut components = components(path)?;
    let Some(name) = components.pop() else { return Ok(Place::Root) };
    let marker = decode(name)?;
    for name in components.iter().chain(marker.is_none().then_some(&name)) {
        check_name(name)?;
    }
    let is_hidden = components.iter().any(|name| is_marker(name));
    Ok(match marker {
        Some(_) if is_hidden => Place::Marker(Vec::new(), Marker::Metadata),
        Some(Marker::Whiteout(hidden)) => {
            check_name(hidden)?;
            Place::Marker(components, Marker::Whiteout(hidden))
        }
        Some(marker) => Place::Marker(components, marker),
        None if is_hidden => Place::Hidden(join(&components.join(&b'/'), name)),
        None => Place::Named(components, name),
    })
}

fn check_name(name: &[u8]) -> Result<(), Fault> {
    match name.len() {
        _ if name.contains(&0) => Err(Fault::Nul),
        0..=MAX_NAME => Ok(()),
        length => Err(Fault::LongName(length)),
    }
}

/// The names in a path, cleaned by letter: `.` and empty names are nothing, `..` takes back a name.
pub(super) fn components(path: &[u8]) -> Result<Vec<&[u8]>, Fault> {
    let mut components = Vec::with_capacity(8);
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                components.pop().ok_or(Fault::Escapes)?;
            }
            name => components.push(name),
        }
    }
    Ok(components)
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

/// The path of a directory, without a slash in front.
pub(super) fn of(tree: &Tree, directory: Node) -> Vec<u8> {
    let mut names = Vec::new();
    let mut node = directory;
    while let Some((parent, name)) = tree.place_of(node) {
        names.push(name);
        node = parent;
    }
    names.reverse();
    names.join(&b'/')
}

pub(super) fn imply(tree: &mut Tree, directory: Node, name: &[u8], marks: &[Mark]) -> Result<Node, Fault> {
    check_name(name)?;
    let node = tree.make(&Attributes::IMPLICIT, &[], Body::Directory)?;
    tree.link(directory, name, node)?;
    marks.iter().for_each(|mark| tree.mark(node, *mark));
    Ok(node)
}

/// The names that are still to be gone through, the next one last; symlinks add theirs.
struct Todo<'a> {
    names: Vec<Cow<'a, [u8]>>,
    hops: usize,
    followed: usize,
}

impl<'a> Todo<'a> {
    fn new(names: &[&'a [u8]]) -> Self {
        Self { names: names.iter().rev().map(|name| Cow::Borrowed(*name)).collect(), hops: 0, followed: 0 }
    }

    /// Puts a symlink's target in front; gives the directory that it starts from.
    fn follow(&mut self, directory: Node, target: &[u8]) -> Result<Node, Fault> {
        let before = self.names.len();
        let names = target.split(|byte| *byte == b'/').rev().filter(|name| !matches!(*name, b"" | b"."));
        self.names.extend(names.map(|name| Cow::Owned(name.to_vec())));
        self.hops += 1;
        self.followed += self.names.len() - before;
        if self.hops > MAX_HOPS || self.followed > MAX_FOLLOWED {
            return Err(Fault::TooManySymlinks);
        }
        Ok(if target.starts_with(b"/") { Node::ROOT } else { directory })
    }
}

/// `..`, which stays inside the root.
fn above(tree: &Tree, directory: Node) -> Node {
    tree.place_of(directory).map_or(Node::ROOT, |(parent, _)| parent)
}

/// Goes to the directory that an entry stands in, and makes what is missing on the way.
pub(super) struct Reach<'t, 'a> {
    tree: &'t mut Tree,
    todo: Todo<'a>,
}

impl<'t, 'a> Reach<'t, 'a> {
    pub(super) fn new(tree: &'t mut Tree, directory: &[&'a [u8]]) -> Self {
        Self { tree, todo: Todo::new(directory) }
    }

    pub(super) fn run(mut self) -> Result<Node, Fault> {
        let mut node = Node::ROOT;
        while let Some(name) = self.todo.names.pop() {
            node = self.step(node, &name)?;
            self.tree.unmark(node, Mark::MarkerOnly);
        }
        Ok(node)
    }

    fn step(&mut self, node: Node, name: &[u8]) -> Result<Node, Fault> {
        if name == b".." {
            return Ok(above(self.tree, node));
        }
        match self.tree.child(node, name) {
            Some(Child::Inode(child, Kind::Directory)) => Ok(child),
            Some(Child::Inode(child, Kind::Symlink)) => self.todo.follow(node, self.tree.target(child)),
            Some(Child::Inode(..)) => Err(Fault::NotADirectory(shown(name))),
            None => imply(self.tree, node, name, &[Mark::Implicit]),
            // It is new, with nothing of what the whiteout removes: not even its attributes.
            Some(Child::Whiteout) => imply(self.tree, node, name, &[Mark::Opaque]),
        }
    }
}

/// Where a hard link leads: with the symlinks of this layer followed, and what this layer has there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub path: Vec<u8>,
    pub node: Option<Node>,
}

pub(super) fn find(tree: &Tree, components: &[&[u8]]) -> Result<Way, Fault> {
    let Some((name, directory)) = components.split_last() else {
        return Ok(Way { path: Vec::new(), node: Some(Node::ROOT) });
    };
    let mut todo = Todo::new(directory);
    let mut node = Node::ROOT;
    while let Some(next) = todo.names.pop() {
        node = match tree.child(node, &next) {
            _ if *next == *b".." => above(tree, node),
            Some(Child::Inode(child, Kind::Directory)) => child,
            Some(Child::Inode(child, Kind::Symlink)) => todo.follow(node, tree.target(child))?,
            Some(Child::Inode(..)) => return Err(Fault::NotADirectory(shown(&next))),
            None | Some(Child::Whiteout) => {
                todo.names.push(next);
                let path = join(&below(&of(tree, node), &todo.names), name);
                return Ok(Way { path, node: None });
            }
        };
    }
    let node_at = match tree.child(node, name) {
        Some(Child::Inode(child, _)) if !tree.is(child, Mark::MarkerOnly) => Some(child),
        _ => None,
    };
    Ok(Way { path: join(&of(tree, node), name), node: node_at })
}

/// The path that `names`, the next one last, lead to from `directory`.
fn below(directory: &[u8], names: &[Cow<'_, [u8]>]) -> Vec<u8> {
    let mut path: Vec<&[u8]> =
        directory.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    for name in names.iter().rev() {
        match &name[..] {
            b".." => drop(path.pop()),
            name => path.push(name),
        }
    }
    path.join(&b'/')
}
