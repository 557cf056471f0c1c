//! Writes a tree as an index: breadth first, so that the children of a directory follow one another.

use std::collections::VecDeque;

use zerocopy::IntoBytes;

use super::{Link, Node, Tree, name_of, narrow};
use crate::layer::Seek;
use crate::layer::index::format::{EntryRecord, Header, InodeRecord, NONE, OPAQUE, pair};
use crate::layer::index::{Identity, Kind, page_table};

impl Tree {
    /// The bytes of an index that shows this tree: the same bytes for the same steps of making it.
    pub fn into_index(mut self, identity: &Identity, seek: &Seek) -> Vec<u8> {
        let order = Order::of(&mut self);
        let Self { links, names, inodes, digests, heap, has_xattrs, by_name, .. } = self;
        let lengths = [
            order.links.len() * size_of::<EntryRecord>(),
            order.links.iter().map(|link| usize::from(links[*link as usize].name_len)).sum(),
            order.inodes.len() * size_of::<InodeRecord>(),
            seek.checkpoints.as_bytes().len(),
            digests.as_bytes().len(),
            heap.len(),
            seek.chunks.as_bytes().len(),
            seek.windows.len(),
        ];
        let mut header = Header::new(identity, has_xattrs, lengths.map(|length| length as u64));
        let mut index =
            Vec::with_capacity(size_of::<Header>() + lengths.iter().sum::<usize>() * 1025 / 1024 + 32);
        index.extend_from_slice(header.as_bytes());
        write_entries(&mut index, &order, &links, &inodes);
        write_names(&mut index, &order, &links, &names);
        // A large tree and its index need not both be in memory as a whole.
        drop((links, names, by_name));
        write_inodes(&mut index, &order, &inodes);
        drop((order, inodes));
        let rest =
            [seek.checkpoints.as_bytes(), digests.as_bytes(), &heap, seek.chunks.as_bytes(), &seek.windows];
        rest.iter().for_each(|section| index.extend_from_slice(section));
        let pages = page_table(&index[size_of::<Header>()..]);
        header.root = header.root(&pages);
        index[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        index.extend_from_slice(&pages);
        index
    }
}

/// The order in which names and inodes stand in the index.
struct Order {
    links: Vec<u32>,
    inodes: Vec<u32>,
    /// The new number of each inode, by its old one.
    numbers: Vec<u32>,
}

impl Order {
    /// Finds the order, and gives the inodes that are in it what the index has in them: their names counted, and a
    /// directory its range of entries and its parent.
    fn of(tree: &mut Tree) -> Self {
        let mut order =
            Self { links: Vec::new(), inodes: vec![Node::ROOT.0], numbers: vec![NONE; tree.inodes.len()] };
        order.numbers[0] = 0;
        let mut parents = VecDeque::from([0]);
        let mut next = 0;
        while let Some(node) = order.inodes.get(next).copied() {
            next += 1;
            if tree.kind(Node(node)) == Kind::Directory {
                let parent = parents.pop_front().unwrap_or(0);
                order.directory(tree, node, parent, &mut parents);
            }
        }
        order
    }

    fn directory(&mut self, tree: &mut Tree, node: u32, parent: u32, parents: &mut VecDeque<u32>) {
        let first = self.links.len();
        let is_opaque = tree.inodes[node as usize].flags & OPAQUE != 0;
        // Below an opaque directory there is nothing to hide.
        let shows = |link: &u32| !(is_opaque && tree.links[*link as usize].node == NONE);
        self.links.extend(tree.links_of(Node(node)).filter(shows));
        self.links[first..].sort_unstable_by_key(|link| name_of(&tree.names, &tree.links[*link as usize]));
        let mut directories = 0;
        for position in first..self.links.len() {
            let child = tree.links[self.links[position] as usize].node;
            if child != NONE && self.number(tree, child) {
                directories += 1;
                parents.push_back(self.numbers[node as usize]);
            }
        }
        let record = &mut tree.inodes[node as usize];
        record.first = pair(narrow(first), narrow(self.links.len() - first));
        record.second = pair(parent, 0);
        record.nlink = (2 + directories).into();
    }

    /// Counts a name of an inode, and gives the inode a number when it is the first; whether it is a directory.
    fn number(&mut self, tree: &mut Tree, node: u32) -> bool {
        let record = &mut tree.inodes[node as usize];
        if self.numbers[node as usize] == NONE {
            self.numbers[node as usize] = narrow(self.inodes.len());
            self.inodes.push(node);
            record.nlink = 0.into();
        }
        record.nlink = (record.nlink.get() + 1).into();
        record.kind() == Kind::Directory
    }
}

fn write_entries(index: &mut Vec<u8>, order: &Order, links: &[Link], inodes: &[InodeRecord]) {
    let mut name_at = 0;
    for link in &order.links {
        let link = &links[*link as usize];
        let (kind, inode) = match link.node {
            NONE => (Kind::Whiteout as u8, NONE),
            node => (inodes[node as usize].kind, order.numbers[node as usize]),
        };
        let record = EntryRecord {
            name_at: narrow(name_at).into(),
            name_len: link.name_len,
            kind,
            reserved: [0; 2],
            inode: inode.into(),
        };
        index.extend_from_slice(record.as_bytes());
        name_at += usize::from(link.name_len);
    }
}

fn write_names(index: &mut Vec<u8>, order: &Order, links: &[Link], names: &[u8]) {
    for link in &order.links {
        index.extend_from_slice(name_of(names, &links[*link as usize]));
    }
}

fn write_inodes(index: &mut Vec<u8>, order: &Order, inodes: &[InodeRecord]) {
    for node in &order.inodes {
        index.extend_from_slice(inodes[*node as usize].as_bytes());
    }
}
