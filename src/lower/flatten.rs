//! A stack as one tree: each directory's names, gathered from the layers that it is made of.

use std::collections::{HashMap, VecDeque};

use super::error::Result;
use super::stack::{Directory, Place, Shown, Stack};
use crate::layer::tree::{Attributes, Body, Mark, Node, Tree};

/// The tree that a stack shows.
pub(super) fn flatten(stack: &Stack<'_>) -> Result<Tree> {
    Flat { stack, tree: Tree::new(), queue: VecDeque::new(), linked: HashMap::new() }.run()
}

struct Flat<'a> {
    stack: &'a Stack<'a>,
    tree: Tree,
    /// Directories whose names are still to be merged.
    queue: VecDeque<(Node, Directory)>,
    /// Inodes that can have more names than one.
    linked: HashMap<Place, Node>,
}

impl Flat<'_> {
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
        self.adopt(place)
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
        let node = self.tree.adopt(self.stack.index(place.storey), place.id, place.storey)?;
        // How the layer stood to those below it is settled now.
        [Mark::Opaque, Mark::Late].into_iter().for_each(|mark| self.tree.unmark(node, mark));
        Ok(node)
    }
}
