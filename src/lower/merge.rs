//! The merge: layers, bottom first, become one tree.

use std::collections::{HashMap, VecDeque};

use super::error::{Error, Result};
use super::settle;
use super::stack::{Directory, Place, Shown, Stack};
use crate::layer::Seek;
use crate::layer::index::{Identity, Index};
use crate::layer::tree::{Attributes, Body, Mark, Node, Tree};
use crate::oci::Digest;

/// The index of the tree that `layers` make, to be kept under `key`. It names each inode's layer by its number.
pub fn merge(layers: &[&Index], key: Digest) -> Result<Vec<u8>> {
    let mut stack = Stack::default();
    for (number, index) in layers.iter().enumerate() {
        let number = u16::try_from(number).map_err(|_| Error::TooManyLayers { layers: layers.len() })?;
        let storey = settle::settle(index, number, &stack)?;
        stack.push(storey);
    }
    let tree = Merge::new(&stack).run()?;
    Ok(tree.into_index(&Identity::of_merged(key), &Seek::default()))
}

struct Merge<'a> {
    stack: &'a Stack<'a>,
    tree: Tree,
    /// Directories whose names are still to be merged.
    queue: VecDeque<(Node, Directory)>,
    /// Inodes that can have more names than one.
    linked: HashMap<Place, Node>,
}

impl<'a> Merge<'a> {
    fn new(stack: &'a Stack<'a>) -> Self {
        Self { stack, tree: Tree::new(), queue: VecDeque::new(), linked: HashMap::new() }
    }

    fn run(mut self) -> Result<Tree> {
        let root = self.stack.root();
        let described = self.directory(&root)?;
        self.tree.replace_attributes(Node::ROOT, described);
        self.queue.push_back((Node::ROOT, root));
        while let Some((node, directory)) = self.queue.pop_front() {
            self.fill(node, &directory)?;
        }
        Ok(self.tree)
    }

    fn fill(&mut self, node: Node, directory: &Directory) -> Result<()> {
        for (name, shown) in self.stack.list(directory) {
            match shown {
                Shown::Nothing => {}
                Shown::Leaf(place) => {
                    let leaf = self.leaf(self.stack.linked(place))?;
                    self.tree.link(node, name, leaf)?;
                }
                Shown::Directory(below) => {
                    let child = self.directory(&below)?;
                    self.tree.link(node, name, child)?;
                    self.queue.push_back((child, below));
                }
            }
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Directory) -> Result<Node> {
        let Some(place) = directory.attributes else {
            return Ok(self.tree.make(&Attributes::IMPLICIT, &[], Body::Directory)?);
        };
        let node = self.adopt(place)?;
        // How the layer stood to those below it is settled now.
        self.tree.unmark(node, Mark::Opaque);
        Ok(node)
    }

    fn leaf(&mut self, place: Place) -> Result<Node> {
        if let Some(node) = self.linked.get(&place) {
            return Ok(*node);
        }
        let node = self.adopt(place)?;
        self.linked.insert(place, node);
        Ok(node)
    }

    fn adopt(&mut self, place: Place) -> Result<Node> {
        Ok(self.tree.adopt(self.stack.index(place.storey), place.id, place.storey)?)
    }
}
