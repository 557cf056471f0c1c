//! Paths of entries: what they are after cleaning, and where in the tree they lead.

use std::borrow::Cow;

use super::Fault;
use super::ground::{At, Ground};
use crate::layer::index::{Id, Kind};
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

    /// Puts a symlink's target in front.
    fn follow(&mut self, target: &[u8]) -> Result<From, Fault> {
        let before = self.names.len();
        let names = target.split(|byte| *byte == b'/').rev().filter(|name| !matches!(*name, b"" | b"."));
        self.names.extend(names.map(|name| Cow::Owned(name.to_vec())));
        self.hops += 1;
        self.followed += self.names.len() - before;
        if self.hops > MAX_HOPS || self.followed > MAX_FOLLOWED {
            return Err(Fault::TooManySymlinks);
        }
        Ok(if target.starts_with(b"/") { From::Root } else { From::Here })
    }
}

/// Where a symlink's target starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Root,
    Here,
}

/// Goes to the directory that something stands in, and makes what is missing on the way.
pub(super) struct Reach<'t, 'a> {
    tree: &'t mut Tree,
    ground: Ground<'a>,
    todo: Todo<'a>,
}

impl<'t, 'a> Reach<'t, 'a> {
    pub(super) fn new(tree: &'t mut Tree, ground: Ground<'a>, directory: &[&'a [u8]]) -> Self {
        Self { tree, ground, todo: Todo::new(directory) }
    }

    /// The directory of an entry.
    pub(super) fn run(mut self) -> Result<Node, Fault> {
        let mut at = self.ground.top(self.tree);
        while let Some(name) = self.todo.names.pop() {
            at = self.step(at, &name)?;
            self.tree.unmark(at.node, Mark::MarkerOnly);
        }
        Ok(at.node)
    }

    fn step(&mut self, at: At, name: &[u8]) -> Result<At, Fault> {
        if name == b".." {
            return Ok(self.ground.above(self.tree, at));
        }
        let node = match self.tree.child(at.node, name) {
            Some(Child::Inode(child, Kind::Directory)) => child,
            Some(Child::Inode(child, Kind::Symlink)) => {
                let from = self.todo.follow(self.tree.target(child))?;
                return Ok(self.start(at, from));
            }
            Some(Child::Inode(..)) => return Err(Fault::NotADirectory(shown(name))),
            None => match self.ground.symlink(at.below, name) {
                Some(target) => {
                    let from = self.todo.follow(target)?;
                    return Ok(self.start(at, from));
                }
                None => imply(self.tree, at.node, name, &[Mark::Implicit])?,
            },
            // It is new, with nothing of what the whiteout removes: not even its attributes.
            Some(Child::Whiteout) => imply(self.tree, at.node, name, &[Mark::Opaque])?,
        };
        Ok(self.ground.enter(self.tree, at, name, node))
    }

    /// The directory of a marker. It acts on the layers below alone: where this layer has something else than a
    /// directory, or makes one of what is a symlink below, it has no effect.
    pub(super) fn run_for_marker(mut self) -> Result<Option<Node>, Fault> {
        let mut at = self.ground.top(self.tree);
        while let Some(name) = self.todo.names.pop() {
            match self.step_for_marker(at, &name)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at.node))
    }

    fn step_for_marker(&mut self, at: At, name: &[u8]) -> Result<Option<At>, Fault> {
        if name == b".." {
            return Ok(Some(self.ground.above(self.tree, at)));
        }
        let node = match (self.tree.child(at.node, name), self.ground.symlink(at.below, name)) {
            (Some(Child::Inode(child, Kind::Directory)), _) => child,
            (Some(Child::Whiteout), _) => return Ok(None),
            (Some(Child::Inode(child, _)), _) => {
                self.tree.mark(child, Mark::Late);
                return Ok(None);
            }
            (None, Some(_)) if self.ground.is_said(&self.tree.path(at.node), name) => return Ok(None),
            (None, Some(target)) => {
                return Ok(self.todo.follow(target).ok().map(|from| self.start(at, from)));
            }
            (None, None) => imply(self.tree, at.node, name, &[Mark::Implicit, Mark::MarkerOnly])?,
        };
        Ok(Some(self.ground.enter(self.tree, at, name, node)))
    }

    fn start(&self, at: At, from: From) -> At {
        match from {
            From::Root => self.ground.top(self.tree),
            From::Here => at,
        }
    }
}

/// Where a hard link leads: with the symlinks of this layer followed, and what this layer has there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub path: Vec<u8>,
    pub node: Option<Node>,
}

pub(super) fn find(tree: &Tree, ground: Ground<'_>, components: &[&[u8]]) -> Result<Way, Fault> {
    let Some((name, directory)) = components.split_last() else {
        return Ok(Way { path: Vec::new(), node: Some(Node::ROOT) });
    };
    let mut search = Search { tree, ground, trail: vec![Seen::top(ground)], names: Vec::new() };
    let mut todo = Todo::new(directory);
    while let Some(next) = todo.names.pop() {
        search.step(&next, &mut todo)?;
    }
    let node = match search.child(name) {
        Some(Child::Inode(child, _)) if !tree.is(child, Mark::MarkerOnly) => Some(child),
        _ => None,
    };
    Ok(Way { path: join(&search.names.join(&b'/'), name), node })
}

/// A directory on the way to a link's target: what the layer has there, and what is there below. What is removed below
/// counts as well, as it may be linked to.
#[derive(Clone, Copy)]
struct Seen {
    node: Option<Node>,
    below: Option<Id>,
}

impl Seen {
    fn top(ground: Ground<'_>) -> Self {
        Self { node: Some(Node::ROOT), below: ground.root() }
    }
}

struct Search<'t, 'a> {
    tree: &'t Tree,
    ground: Ground<'a>,
    /// The root, and the directories of `names` in it.
    trail: Vec<Seen>,
    names: Vec<Vec<u8>>,
}

impl Search<'_, '_> {
    fn here(&self) -> Seen {
        self.trail.last().copied().unwrap_or_else(|| Seen::top(self.ground))
    }

    fn child(&self, name: &[u8]) -> Option<Child> {
        self.here().node.and_then(|node| self.tree.child(node, name))
    }

    fn step(&mut self, name: &[u8], todo: &mut Todo<'_>) -> Result<(), Fault> {
        if name == b".." {
            self.names.pop();
            self.trail.truncate(self.names.len() + 1);
            return Ok(());
        }
        let below = self.here().below;
        let node = match self.child(name) {
            Some(Child::Inode(child, Kind::Directory)) => Some(child),
            Some(Child::Inode(child, Kind::Symlink)) => {
                return todo.follow(self.tree.target(child)).map(|from| self.start(from));
            }
            Some(Child::Inode(..)) => return Err(Fault::NotADirectory(shown(name))),
            None | Some(Child::Whiteout) => match self.ground.symlink(below, name) {
                Some(target) => return todo.follow(target).map(|from| self.start(from)),
                None => None,
            },
        };
        self.trail.push(Seen { node, below: self.ground.directory(below, name) });
        self.names.push(name.to_vec());
        Ok(())
    }

    fn start(&mut self, from: From) {
        if from == From::Root {
            self.names.clear();
            self.trail.truncate(1);
        }
    }
}
