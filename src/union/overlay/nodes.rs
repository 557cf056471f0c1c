//! The table of nodes: every object that the kernel knows of, where it is, and by which names.
//!
//! A node stays while the kernel remembers it, while it is open, and while a node below it stays.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::upper;
use super::listing::Listing;
use super::{Errno, Error, NodeId, Result};
use crate::layer::Kind;
use crate::lower::{self, Below};

pub(super) type NameBytes = Arc<[u8]>;

/// Where an object is.
#[derive(Clone)]
pub(super) enum Place {
    Lower(Below),
    /// Under its names in the upper. A directory may be merged with one below, and a file's content be there.
    Upper {
        inode: u64,
        below: Option<Below>,
    },
    /// It has no name in the upper any more, and lives until it is closed.
    Orphan {
        inode: u64,
        file: Arc<File>,
        below: Option<Below>,
    },
}

pub(super) struct Node {
    pub kind: Kind,
    pub place: Place,
    /// Those that were looked up.
    pub names: Vec<(NodeId, NameBytes)>,
    pub children: HashMap<NameBytes, NodeId>,
    pub lookups: u64,
    pub opens: u64,
    /// What shows through it is told by a path from the root, wherever it is itself.
    pub anchored: bool,
    /// Of a file in the upper, while it is open.
    pub reader: Option<Arc<File>>,
    pub writer: Option<Arc<File>>,
    /// Its holes are those of a lower file, as its marks say.
    pub by_blocks: bool,
    /// Held by who copies it up, and by who is about to take its name away.
    pub copying: Arc<Mutex<()>>,
    /// Counts the changes of a directory's names.
    pub version: u64,
    pub listing: Option<Arc<Mutex<Listing>>>,
}

impl Node {
    fn new(kind: Kind, place: Place) -> Self {
        Self {
            kind,
            place,
            names: Vec::new(),
            children: HashMap::new(),
            lookups: 0,
            opens: 0,
            anchored: false,
            reader: None,
            writer: None,
            by_blocks: false,
            copying: Arc::default(),
            version: 0,
            listing: None,
        }
    }

    /// The lower file that has content which this one lacks.
    pub fn content(&self) -> Option<&Below> {
        match &self.place {
            Place::Upper { below, .. } | Place::Orphan { below, .. } if self.kind == Kind::File => {
                below.as_ref()
            }
            _ => None,
        }
    }

    /// The lower directory that shows through.
    pub fn below(&self) -> Option<&Below> {
        match &self.place {
            Place::Lower(below) => Some(below),
            Place::Upper { below, .. } => below.as_ref(),
            Place::Orphan { .. } => None,
        }
    }

    fn is_unused(&self) -> bool {
        self.lookups == 0 && self.opens == 0 && self.children.is_empty()
    }

    fn is(&self, place: &Place, number: Option<lower::Number>) -> bool {
        match (&self.place, place) {
            (Place::Lower(own), Place::Lower(_)) => own.stat().ok().map(|stat| stat.number) == number,
            (
                Place::Upper { inode: own, .. } | Place::Orphan { inode: own, .. },
                Place::Upper { inode, .. } | Place::Orphan { inode, .. },
            ) => own == inode,
            _ => false,
        }
    }
}

/// An object that was found under a name.
pub(super) struct Found {
    pub kind: Kind,
    pub place: Place,
    /// The number it shall have, if no other has it.
    pub wanted: u64,
    pub anchored: bool,
    /// Of a lower object.
    pub number: Option<lower::Number>,
}

const NUMBER_BITS: u32 = 56;
const HASHED: u64 = 1 << 63;

/// A file system's number and an inode's in one.
pub(super) fn compose(file_system: u32, inode: u64) -> u64 {
    if inode >> NUMBER_BITS == 0 && file_system < 0x7f {
        return u64::from(file_system) << NUMBER_BITS | inode;
    }
    let mut hasher = DefaultHasher::new();
    (file_system, inode).hash(&mut hasher);
    HASHED | hasher.finish()
}

pub(super) fn upper_number(number: &upper::Number, home: u32) -> u64 {
    match number {
        upper::Number::Upper(inode) => compose(0, *inode),
        upper::Number::Lower { file_system, inode } => compose(*file_system, *inode),
        upper::Number::Handle { inode, .. } => compose(home, *inode),
    }
}

/// How a file of the upper is open for its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Reader,
    Writer,
}

/// How many files are closed at once where descriptors are short.
const AT_ONCE: usize = 64;

pub(super) struct Nodes {
    table: HashMap<NodeId, Node>,
    /// Whose files were opened, the oldest first; some are closed by now.
    opened: VecDeque<NodeId>,
    most_files: usize,
}

impl Nodes {
    pub fn new(root: Place) -> Self {
        let mut root = Node::new(Kind::Directory, root);
        // For ever.
        root.lookups = 1;
        Self { table: HashMap::from([(NodeId::ROOT, root)]), opened: VecDeque::new(), most_files: usize::MAX }
    }

    pub fn get(&self, id: NodeId) -> Result<&Node> {
        self.table.get(&id).ok_or(Error::Answer(Errno::STALE))
    }

    pub fn get_mut(&mut self, id: NodeId) -> Result<&mut Node> {
        self.table.get_mut(&id).ok_or(Error::Answer(Errno::STALE))
    }

    /// A directory, which need not be reachable any more.
    pub fn directory(&self, id: NodeId) -> Result<&Node> {
        let node = self.get(id)?;
        if node.kind == Kind::Directory { Ok(node) } else { Err(Errno::NOTDIR.into()) }
    }

    /// Whether a node has lost its last name.
    pub fn is_removed(&self, id: NodeId) -> bool {
        id != NodeId::ROOT && self.table.get(&id).is_none_or(|node| node.names.is_empty())
    }

    /// A directory's parent; the root's is the root.
    pub fn parent(&self, id: NodeId) -> Result<NodeId> {
        Ok(self.get(id)?.names.first().map_or(NodeId::ROOT, |(parent, _)| *parent))
    }

    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.table.get(&parent)?.children.get(name).copied()
    }

    pub fn keep_at_most(&mut self, files: usize) {
        self.most_files = files;
    }

    /// Keeps a file open while its node is.
    pub fn keep(&mut self, id: NodeId, how: Kept, file: Arc<File>) -> Result<()> {
        self.make_room(&file);
        if self.opened.len() >= self.most_files {
            self.close_oldest(1);
        }
        let node = self.get_mut(id)?;
        match how {
            Kept::Reader => node.reader = Some(file),
            Kept::Writer => node.writer = Some(file),
        }
        self.opened.push_back(id);
        Ok(())
    }

    /// Where descriptors get short, as the number of a new one tells, those opened first are closed; they are opened
    /// again when they are next used.
    pub fn make_room(&mut self, newest: &File) {
        if usize::try_from(newest.as_raw_fd()).is_ok_and(|number| number >= self.most_files) {
            self.close_oldest(AT_ONCE);
        }
    }

    fn close_oldest(&mut self, mut count: usize) {
        while count > 0
            && let Some(oldest) = self.opened.pop_front()
        {
            let Some(node) = self.table.get_mut(&oldest) else { continue };
            if node.reader.take().is_some() | node.writer.take().is_some() {
                count -= 1;
            }
        }
    }

    /// The node of an object that was found as `name` in `parent`: the one there is, or a new one.
    pub fn adopt(&mut self, parent: NodeId, name: &[u8], found: Found) -> Result<NodeId> {
        let id = self.claim(&found);
        if let Some(node) = self.table.get_mut(&id) {
            if let (Place::Orphan { .. }, Place::Upper { .. }) = (&node.place, &found.place) {
                node.place = found.place;
            }
        } else {
            let anchored = found.anchored;
            self.table.insert(id, Node { anchored, ..Node::new(found.kind, found.place) });
        }
        self.name(id, parent, name)?;
        Ok(id)
    }

    /// The number wanted, unless another object has it; then the first that is free, or the object's own.
    fn claim(&self, found: &Found) -> NodeId {
        let own = match found.place {
            Place::Upper { inode, .. } | Place::Orphan { inode, .. } => compose(0, inode),
            Place::Lower(_) => found.wanted,
        };
        let mut candidate = found.wanted;
        for attempt in 0u64.. {
            let id = NodeId::new(candidate);
            let taken = self.table.get(&id);
            if candidate > NodeId::ROOT.number()
                && taken.is_none_or(|node| node.is(&found.place, found.number))
            {
                return id;
            }
            candidate = if attempt == 0 { own } else { HASHED | own.wrapping_add(attempt) };
        }
        NodeId::new(candidate)
    }

    pub fn name(&mut self, id: NodeId, parent: NodeId, name: &[u8]) -> Result<()> {
        let name: NameBytes = name.into();
        let directory = self.get_mut(parent)?;
        directory.children.insert(name.clone(), id);
        let node = self.get_mut(id)?;
        if !node.names.iter().any(|(known, own)| *known == parent && **own == *name) {
            node.names.push((parent, name));
        }
        Ok(())
    }

    /// Takes a name away, and gives the node that had it.
    pub fn unname(&mut self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let id = self.table.get_mut(&parent)?.children.remove(name)?;
        let node = self.table.get_mut(&id)?;
        node.names.retain(|(known, own)| *known != parent || **own != *name);
        Some(id)
    }

    /// A directory's names are others than before.
    pub fn changed(&mut self, directory: NodeId) {
        if let Some(node) = self.table.get_mut(&directory) {
            node.version += 1;
        }
    }

    /// Drops a node that nobody needs, and those above that were kept for it alone. Gives what was dropped.
    pub fn drop_unused(&mut self, id: NodeId) -> Vec<NodeId> {
        let (mut dropped, mut waiting) = (Vec::new(), vec![id]);
        while let Some(id) = waiting.pop() {
            if !self.table.get(&id).is_some_and(Node::is_unused) {
                continue;
            }
            let Some(node) = self.table.remove(&id) else { continue };
            for (parent, name) in node.names {
                if let Some(directory) = self.table.get_mut(&parent) {
                    directory.children.remove(&name);
                }
                waiting.push(parent);
            }
            dropped.push(id);
        }
        dropped
    }
}
