//! What of a layer only its place in a stack decides: hardlinks to files of lower layers, and names below a directory
//! that the layer only implies and that is a symlink in a lower layer. Those are moved to where the symlink leads,
//! as unpacking layer upon layer would have it.

use std::collections::{HashMap, VecDeque};

use super::error::{Error, Result};
use super::stack::{Directory, Held, Place, Shown, Stack, Storey};
use crate::layer::Seek;
use crate::layer::index::{Id, Identity, Index, Kind};
use crate::layer::tree::{Attributes, Body, Child, Mark, Node, Tree};

/// How many symlinks a path may lead through.
const MAX_HOPS: usize = 40;

/// The layer `number`, as it stands upon `below`.
pub(super) fn settle<'a>(index: &'a Index, number: u16, below: &Stack<'_>) -> Result<Storey<'a>> {
    let index = match implies_a_symlink(index, below) {
        false => Held::Own(index),
        true => Held::Settled(Box::new(Move::new(index, number, below)?.run()?)),
    };
    let links = links(&index, number, below)?;
    Ok(Storey { index, links })
}

/// What each link into a lower layer means.
fn links(index: &Index, number: u16, below: &Stack<'_>) -> Result<HashMap<Id, Place>> {
    let mut links = HashMap::new();
    for id in (0..index.len()).filter(|id| index.inode(*id).kind() == Kind::LowerLink) {
        let target = index.target(id)?;
        match find(below, target) {
            Some(Shown::Leaf(place)) => links.insert(id, below.linked(place)),
            _ => return Err(Error::link_target(number, target)),
        };
    }
    Ok(links)
}

/// What `path` shows, its parents' symlinks followed; `None` for too many of them.
fn find(stack: &Stack<'_>, path: &[u8]) -> Option<Shown> {
    let mut trail = vec![stack.root()];
    let mut todo: VecDeque<Vec<u8>> = components(path).collect();
    let mut hops = 0;
    while let Some(name) = todo.pop_front() {
        if name == b".." {
            trail.truncate(trail.len().saturating_sub(1).max(1));
            continue;
        }
        match stack.lookup(trail.last()?, &name) {
            Shown::Directory(directory) => trail.push(directory),
            Shown::Leaf(place) if todo.is_empty() => return Some(Shown::Leaf(place)),
            Shown::Leaf(place) => {
                let target = symlink(stack, place)?;
                hops += 1;
                if hops > MAX_HOPS {
                    return None;
                }
                if target.starts_with(b"/") {
                    trail.truncate(1);
                }
                prepend(&mut todo, target);
            }
            Shown::Nothing => return Some(Shown::Nothing),
        }
    }
    trail.pop().map(Shown::Directory)
}

/// The target of what is at `place`, if that is a symlink.
fn symlink<'s>(stack: &'s Stack<'_>, place: Place) -> Option<&'s [u8]> {
    let place = stack.linked(place);
    let index = stack.index(place.storey);
    let is_symlink = index.inode(place.id).kind() == Kind::Symlink;
    is_symlink.then(|| index.target(place.id).ok()).flatten()
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec)
}

fn prepend(todo: &mut VecDeque<Vec<u8>>, path: &[u8]) {
    for name in components(path).rev() {
        todo.push_front(name);
    }
}

/// Whether some directory that the layer only implies is a symlink below it.
fn implies_a_symlink(index: &Index, below: &Stack<'_>) -> bool {
    let implied = |id: &Id| index.inode(*id).kind() == Kind::Directory && index.inode(*id).is_implicit();
    if !(1..index.len()).any(|id| implied(&id)) {
        return false;
    }
    let mut open = vec![(0, below.root())];
    while let Some((dir, directory)) = open.pop() {
        for entry in index.children(dir).iter().filter(|entry| entry.kind == Kind::Directory) {
            match below.lookup(&directory, entry.name) {
                Shown::Directory(directory) => open.push((entry.id, directory)),
                Shown::Leaf(place) if implied(&entry.id) && symlink(below, place).is_some() => return true,
                _ => {}
            }
        }
    }
    false
}

/// A directory of the tree in the making, and what lies below it.
struct Position {
    node: Node,
    below: Option<Directory>,
    parent: usize,
}

/// Writes a layer anew, each entry where sequential unpacking would put it.
struct Move<'a> {
    index: &'a Index,
    number: u16,
    below: &'a Stack<'a>,
    tree: Tree,
    positions: Vec<Position>,
    /// The inodes made so far, by their number in `index`: those of several names are linked again.
    made: HashMap<Id, Node>,
}

impl<'a> Move<'a> {
    fn new(index: &'a Index, number: u16, below: &'a Stack<'a>) -> Result<Self> {
        let mut tree = Tree::new();
        let root = tree.adopt(index, 0, number)?;
        tree.replace_attributes(Node::ROOT, root);
        let top = Position { node: Node::ROOT, below: Some(below.root()), parent: 0 };
        Ok(Self { index, number, below, tree, positions: vec![top], made: HashMap::new() })
    }

    /// Markers first: a way that leads through what the layer removes elsewhere does not lead there any more.
    fn run(mut self) -> Result<Index> {
        self.pass(Pass::Markers)?;
        self.positions.truncate(1);
        self.pass(Pass::Entries)?;
        let key = self.index.key();
        let bytes = self.tree.into_index(&Identity::of_merged(key), &Seek::default());
        Ok(Index::from_bytes(bytes, &key)?)
    }

    fn pass(&mut self, pass: Pass) -> Result<()> {
        let mut queue = VecDeque::from([(0, 0)]);
        while let Some((dir, at)) = queue.pop_front() {
            for entry in self.index.children(dir).iter() {
                match (entry.kind, pass) {
                    (Kind::Directory, _) => {
                        let position = self.directory(at, entry.name, entry.id, pass)?;
                        queue.extend(position.map(|position| (entry.id, position)));
                    }
                    (Kind::Whiteout, Pass::Markers) => self.whiteout(at, entry.name)?,
                    (Kind::Whiteout, Pass::Entries) | (_, Pass::Markers) => {}
                    (_, Pass::Entries) => self.leaf(at, entry.name, entry.id)?,
                }
            }
        }
        Ok(())
    }

    fn whiteout(&mut self, at: usize, name: &[u8]) -> Result<()> {
        let directory = self.positions[at].node;
        match self.tree.child(directory, name) {
            None => self.tree.whiteout(directory, name)?,
            Some(Child::Inode(node, Kind::Directory)) if self.tree.is(node, Mark::MarkerOnly) => {
                // Its position may still be gone through.
                self.tree.hold(node);
                self.tree.whiteout(directory, name)?;
            }
            Some(Child::Inode(node, Kind::Directory)) => {
                self.tree.mark(node, Mark::Opaque);
                self.tree.unmark(node, Mark::Implicit);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// A name can be taken only when two ways lead to it, through a symlink and past it.
    fn vacant(&self, at: usize, name: &[u8]) -> Result<()> {
        match self.tree.child(self.positions[at].node, name) {
            None | Some(Child::Whiteout) => Ok(()),
            Some(Child::Inode(..)) => {
                Err(Error::Twice { layer: self.number, name: name.escape_ascii().to_string() })
            }
        }
    }

    fn leaf(&mut self, at: usize, name: &[u8], id: Id) -> Result<()> {
        self.vacant(at, name)?;
        let node = match self.made.get(&id) {
            Some(node) => *node,
            None => self.tree.adopt(self.index, id, self.number)?,
        };
        self.made.insert(id, node);
        Ok(self.tree.link(self.positions[at].node, name, node)?)
    }

    /// The position of the layer's directory `id`, which is `name` in that at `at`. Markers have none in what the layer
    /// removes, and no effect there.
    fn directory(&mut self, at: usize, name: &[u8], id: Id, pass: Pass) -> Result<Option<usize>> {
        let inode = self.index.inode(id);
        let position = match inode.is_implicit() {
            true => self.walk(at, name, pass, inode.is_marker_only())?,
            false => Some(self.described(at, name, id, pass)?),
        };
        let Some(position) = position else { return Ok(None) };
        if inode.is_opaque() {
            self.tree.mark(self.positions[position].node, Mark::Opaque);
            self.positions[position].below = None;
        }
        Ok(Some(position))
    }

    /// The same of a directory that the layer describes: it is at its own path, whatever is below.
    fn described(&mut self, at: usize, name: &[u8], id: Id, pass: Pass) -> Result<usize> {
        let adopted = self.tree.adopt(self.index, id, self.number)?;
        if pass == Pass::Markers {
            [Mark::Implicit, Mark::MarkerOnly].into_iter().for_each(|mark| self.tree.mark(adopted, mark));
        }
        let parent = self.positions[at].node;
        let node = match self.tree.child(parent, name) {
            Some(Child::Inode(node, Kind::Directory)) if pass == Pass::Markers => node,
            Some(Child::Inode(node, Kind::Directory)) => {
                let is_opaque = self.tree.is(node, Mark::Opaque);
                self.tree.replace_attributes(node, adopted);
                if is_opaque {
                    self.tree.mark(node, Mark::Opaque);
                }
                node
            }
            other => {
                self.vacant(at, name)?;
                if other == Some(Child::Whiteout) {
                    self.tree.mark(adopted, Mark::Opaque);
                }
                self.tree.link(parent, name, adopted)?;
                adopted
            }
        };
        Ok(self.enter(at, node, name))
    }

    /// The position of the directory node `node`, `name` in that at `at`.
    fn enter(&mut self, at: usize, node: Node, name: &[u8]) -> usize {
        let below = self.positions[at].below.as_ref().map(|directory| self.below.lookup(directory, name));
        let below = match below {
            Some(Shown::Directory(directory)) if !self.tree.is(node, Mark::Opaque) => Some(directory),
            _ => None,
        };
        self.positions.push(Position { node, below, parent: at });
        self.positions.len() - 1
    }

    /// Goes from `at` to where `name` leads, through symlinks of this layer and of those below; directories that are
    /// missing are implied.
    fn walk(&mut self, at: usize, name: &[u8], pass: Pass, marker_only: bool) -> Result<Option<usize>> {
        let marker_only = marker_only || pass == Pass::Markers;
        let mut at = at;
        let mut todo = VecDeque::from([name.to_vec()]);
        let mut hops = 0;
        while let Some(name) = todo.pop_front() {
            if name == b".." {
                at = self.positions[at].parent;
                continue;
            }
            match self.step(at, &name, pass)? {
                Step::Directory(node) => at = self.enter(at, node, &name),
                Step::Removed if marker_only => return Ok(None),
                Step::Removed | Step::Missing => at = self.imply(at, &name)?,
                Step::Symlink(target) => {
                    hops += 1;
                    if hops > MAX_HOPS {
                        return Err(Error::Loop {
                            layer: self.number,
                            name: name.escape_ascii().to_string(),
                        });
                    }
                    if target.starts_with(b"/") {
                        at = 0;
                    }
                    prepend(&mut todo, &target);
                }
            }
            if !marker_only {
                self.tree.unmark(self.positions[at].node, Mark::MarkerOnly);
            }
        }
        Ok(Some(at))
    }

    /// What is at `name`, this layer's own entries first.
    fn step(&self, at: usize, name: &[u8], pass: Pass) -> Result<Step> {
        let position = &self.positions[at];
        match self.tree.child(position.node, name) {
            // So far only markers went there.
            Some(Child::Inode(node, Kind::Directory))
                if pass == Pass::Entries && self.tree.is(node, Mark::MarkerOnly) =>
            {
                let below = self.step_below(position, name);
                Ok(if matches!(below, Step::Missing) { Step::Directory(node) } else { below })
            }
            Some(Child::Inode(node, Kind::Directory)) => Ok(Step::Directory(node)),
            Some(Child::Inode(node, Kind::Symlink)) => Ok(Step::Symlink(self.tree.target(node).to_vec())),
            Some(Child::Inode(..)) => {
                Err(Error::NotADirectory { layer: self.number, name: name.escape_ascii().to_string() })
            }
            Some(Child::Whiteout) => Ok(Step::Removed),
            None => Ok(self.step_below(position, name)),
        }
    }

    fn step_below(&self, position: &Position, name: &[u8]) -> Step {
        let shown = position.below.as_ref().map(|directory| self.below.lookup(directory, name));
        let target = match shown {
            Some(Shown::Leaf(place)) => symlink(self.below, place),
            _ => None,
        };
        target.map_or(Step::Missing, |target| Step::Symlink(target.to_vec()))
    }

    /// A directory at `name` that no entry of the layer describes.
    fn imply(&mut self, at: usize, name: &[u8]) -> Result<usize> {
        let parent = self.positions[at].node;
        let node = self.tree.make(&Attributes::IMPLICIT, &[], Body::Directory)?;
        match self.tree.child(parent, name) {
            // In place of what the layer removes there: nothing below it shows through.
            Some(Child::Whiteout) => self.tree.mark(node, Mark::Opaque),
            _ => [Mark::Implicit, Mark::MarkerOnly].into_iter().for_each(|mark| self.tree.mark(node, mark)),
        }
        self.tree.link(parent, name, node)?;
        Ok(self.enter(at, node, name))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Markers,
    Entries,
}

enum Step {
    Directory(Node),
    Symlink(Vec<u8>),
    Removed,
    Missing,
}
