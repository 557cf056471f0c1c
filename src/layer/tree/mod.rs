//! A tree in the making, from a layer's entries or from the indexes of several layers; [`Tree::into_index`] ends it.
//!
//! It is an arena of the records that the index will hold, so that a million entries need no million allocations:
//! about 130 bytes each and their names.

mod emit;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use zerocopy::IntoBytes;

use super::index::format::{
    self, IMPLICIT, InodeRecord, LATE, MARKER_ONLY, NONE, OPAQUE, XattrRecord, low, pair,
};
use super::index::{Extent, Id, Index, Kind, Time, Xattr};

/// How many entries, and how many inodes, a tree can have.
pub const MAX_ENTRIES: usize = 4 << 20;
/// How many bytes the names can have, and how many the link targets, xattrs and sparse maps.
const MAX_BYTES: usize = 256 << 20;

/// An inode of a [`Tree`]. The index numbers them anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node(u32);

impl Node {
    pub const ROOT: Self = Self(0);
}

/// What every inode has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
}

impl Attributes {
    /// Those of a directory that no entry describes.
    pub const IMPLICIT: Self =
        Self { mode: 0o755, uid: 0, gid: 0, mtime: Time { seconds: 0, nanoseconds: 0 } };
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    Directory,
    /// The digest is that of [`super::Content::hasher`].
    File {
        offset: u64,
        size: u64,
        extents: Option<&'a [Extent]>,
        digest: [u8; 32],
    },
    Symlink(&'a [u8]),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    LowerLink(&'a [u8]),
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    Whiteout,
    Inode(Node, Kind),
}

/// An inode's state against the layers below; all but the last are a directory's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Opaque,
    Implicit,
    MarkerOnly,
    /// Entries before it led through its name.
    Late,
}

impl Mark {
    fn bit(self) -> u8 {
        match self {
            Self::Opaque => OPAQUE,
            Self::Implicit => IMPLICIT,
            Self::MarkerOnly => MARKER_ONLY,
            Self::Late => LATE,
        }
    }
}

/// The tree is larger than an index can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too large: more than {limit} {what}")]
pub struct TooLarge {
    what: &'static str,
    limit: usize,
}

/// A name in a directory, in a list with its siblings.
#[derive(Clone, Copy)]
struct Link {
    parent: u32,
    next: u32,
    previous: u32,
    name_at: u32,
    name_len: u8,
    /// [`NONE`]: a whiteout.
    node: u32,
}

/// Of a directory, `first` is (its first link, unused) and `second` (its own link, unused) until the index is made;
/// `nlink` counts what holds the inode.
pub struct Tree {
    inodes: Vec<InodeRecord>,
    free_inodes: Vec<u32>,
    links: Vec<Link>,
    free_links: Vec<u32>,
    names: Vec<u8>,
    heap: Vec<u8>,
    digests: Vec<[u8; 32]>,
    free_digests: Vec<u32>,
    by_name: HashTable<u32>,
    hash: DefaultHashBuilder,
    has_xattrs: bool,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// Only a root, which no entry describes.
    pub fn new() -> Self {
        let mut tree = Self {
            inodes: Vec::new(),
            free_inodes: Vec::new(),
            links: Vec::new(),
            free_links: Vec::new(),
            names: Vec::new(),
            heap: Vec::new(),
            digests: Vec::new(),
            free_digests: Vec::new(),
            by_name: HashTable::new(),
            hash: DefaultHashBuilder::default(),
            has_xattrs: false,
        };
        let root = blank(Kind::Directory, &Attributes::IMPLICIT);
        tree.inodes.push(InodeRecord { flags: IMPLICIT, nlink: 1.into(), ..root });
        tree
    }

    /// A new inode, which has no name yet.
    pub fn make(
        &mut self,
        attributes: &Attributes,
        xattrs: &[Xattr<'_>],
        body: Body<'_>,
    ) -> Result<Node, TooLarge> {
        let mut record = self.embody(body)?;
        describe(&mut record, attributes);
        record.xattrs = self.keep_xattrs(xattrs)?.into();
        self.place(record)
    }

    /// A copy of an inode of a layer's index, which remembers where it is from. It has no name and no children yet.
    pub fn adopt(&mut self, index: &Index, id: Id, layer: u16) -> Result<Node, AdoptError> {
        let inode = index.inode(id);
        let attributes =
            Attributes { mode: inode.mode(), uid: inode.uid(), gid: inode.gid(), mtime: inode.mtime() };
        let xattrs: Vec<_> = index.xattrs(id)?.collect();
        let node = self.make(&attributes, &xattrs, body_of(index, id)?)?;
        let record = &mut self.inodes[node.0 as usize];
        record.layer = layer.into();
        record.origin = id.into();
        record.flags = inode.record.flags;
        Ok(node)
    }

    /// Gives the attributes, xattrs, marks and origin of `from` to the directory `to`, which keeps its children.
    pub fn replace_attributes(&mut self, to: Node, from: Node) {
        let from = self.inodes[from.0 as usize];
        let to = &mut self.inodes[to.0 as usize];
        *to = InodeRecord { first: to.first, second: to.second, nlink: to.nlink, ..from };
    }

    /// Gives a directory, which keeps its children, other attributes.
    pub fn describe(
        &mut self,
        directory: Node,
        attributes: &Attributes,
        xattrs: &[Xattr<'_>],
    ) -> Result<(), TooLarge> {
        let at = self.keep_xattrs(xattrs)?;
        let record = &mut self.inodes[directory.0 as usize];
        describe(record, attributes);
        record.xattrs = at.into();
        Ok(())
    }

    pub fn kind(&self, node: Node) -> Kind {
        self.inodes[node.0 as usize].kind()
    }

    pub fn is(&self, node: Node, mark: Mark) -> bool {
        self.inodes[node.0 as usize].flags & mark.bit() != 0
    }

    pub fn mark(&mut self, node: Node, mark: Mark) {
        self.inodes[node.0 as usize].flags |= mark.bit();
    }

    pub fn unmark(&mut self, node: Node, mark: Mark) {
        self.inodes[node.0 as usize].flags &= !mark.bit();
    }

    /// A file's digest, when its bytes are known.
    pub fn set_digest(&mut self, file: Node, digest: [u8; 32]) {
        let number = self.inodes[file.0 as usize].digest.get();
        if let Some(slot) = self.digests.get_mut(number as usize) {
            *slot = digest;
        }
    }

    /// The target of a symlink or a lower link.
    pub fn target(&self, node: Node) -> &[u8] {
        let record = &self.inodes[node.0 as usize];
        match record.kind() {
            Kind::Symlink | Kind::LowerLink => {
                &self.heap[low(record.second) as usize..][..low(record.first) as usize]
            }
            _ => &[],
        }
    }

    /// The directory that a directory is in, and its name there; the root has neither.
    pub fn place_of(&self, directory: Node) -> Option<(Node, &[u8])> {
        let record = &self.inodes[directory.0 as usize];
        let link = self.links.get(low(record.second) as usize)?;
        (record.kind() == Kind::Directory).then(|| (Node(link.parent), self.name(link)))
    }

    /// The path of a directory, without a slash in front.
    pub fn path(&self, directory: Node) -> Vec<u8> {
        let mut names = Vec::new();
        let mut node = directory;
        while let Some((parent, name)) = self.place_of(node) {
            names.push(name);
            node = parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    pub fn child(&self, directory: Node, name: &[u8]) -> Option<Child> {
        self.find(directory, name).map(|link| self.child_of(&self.links[link as usize]))
    }

    /// The names in a directory, in no order.
    pub fn children(&self, directory: Node) -> impl Iterator<Item = (&[u8], Child)> {
        self.links_of(directory).map(|link| {
            let link = &self.links[link as usize];
            (self.name(link), self.child_of(link))
        })
    }

    /// Gives `node` a name. What the name stood for is dropped, with all below it. A directory has one name, ever.
    pub fn link(&mut self, directory: Node, name: &[u8], node: Node) -> Result<(), TooLarge> {
        self.hold(node);
        let link = self.vacate(directory, name)?;
        self.links[link as usize].node = node.0;
        let record = &mut self.inodes[node.0 as usize];
        if record.kind() == Kind::Directory {
            record.second = pair(link, 0);
        }
        Ok(())
    }

    /// Makes `name` a whiteout; what it stood for is dropped.
    pub fn whiteout(&mut self, directory: Node, name: &[u8]) -> Result<(), TooLarge> {
        self.vacate(directory, name).map(|_| ())
    }

    /// Removes a name and all below it.
    pub fn remove(&mut self, directory: Node, name: &[u8]) {
        if let Some(link) = self.find(directory, name) {
            self.unlink(link);
        }
    }

    /// Removes all names in a directory.
    pub fn clear(&mut self, directory: Node) {
        while let Some(link) = self.first_link(directory) {
            self.unlink(link);
        }
    }

    /// Keeps an inode although nothing may name it.
    pub fn hold(&mut self, node: Node) {
        let record = &mut self.inodes[node.0 as usize];
        record.nlink = record.nlink.get().saturating_add(1).into();
    }

    /// Ends a [`Tree::hold`]: what nothing holds is gone.
    pub fn release(&mut self, node: Node) {
        let mut dropped = vec![node.0];
        while let Some(node) = dropped.pop() {
            let record = &mut self.inodes[node as usize];
            let holds = record.nlink.get() - 1;
            record.nlink = holds.into();
            if holds == 0 {
                self.free(node, &mut dropped);
            }
        }
    }

    fn free(&mut self, node: u32, dropped: &mut Vec<u32>) {
        let record = self.inodes[node as usize];
        if record.kind() == Kind::Directory {
            while let Some(link) = self.first_link(Node(node)) {
                dropped.extend(self.detach(link));
            }
        }
        if record.digest.get() != NONE {
            self.free_digests.push(record.digest.get());
        }
        self.free_inodes.push(node);
    }

    /// The link of `name`, which stands for nothing any more: a whiteout.
    fn vacate(&mut self, directory: Node, name: &[u8]) -> Result<u32, TooLarge> {
        let Some(link) = self.find(directory, name) else { return self.add_link(directory, name) };
        let old = std::mem::replace(&mut self.links[link as usize].node, NONE);
        if old != NONE {
            self.release(Node(old));
        }
        Ok(link)
    }

    fn unlink(&mut self, link: u32) {
        if let Some(node) = self.detach(link) {
            self.release(Node(node));
        }
    }

    /// Takes a name out of its directory and gives what it stood for.
    fn detach(&mut self, link: u32) -> Option<u32> {
        let gone = self.links[link as usize];
        match self.links.get_mut(gone.previous as usize) {
            Some(previous) => previous.next = gone.next,
            None => self.inodes[gone.parent as usize].first = pair(gone.next, 0),
        }
        if let Some(next) = self.links.get_mut(gone.next as usize) {
            next.previous = gone.previous;
        }
        let hash = self.hash_of(gone.parent, self.name(&gone));
        if let Ok(slot) = self.by_name.find_entry(hash, |other| *other == link) {
            slot.remove();
        }
        self.free_links.push(link);
        (gone.node != NONE).then_some(gone.node)
    }

    fn add_link(&mut self, directory: Node, name: &[u8]) -> Result<u32, TooLarge> {
        let name_at = self.names.len();
        room(self.names.len(), name.len(), MAX_BYTES, "bytes of names")?;
        let number = slot(&mut self.free_links, self.links.len(), "entries")?;
        self.names.extend_from_slice(name);
        let first = low(self.inodes[directory.0 as usize].first);
        let link = Link {
            parent: directory.0,
            next: first,
            previous: NONE,
            name_at: narrow(name_at),
            name_len: u8::try_from(name.len()).unwrap_or(u8::MAX),
            node: NONE,
        };
        put(&mut self.links, number, link);
        if let Some(next) = self.links.get_mut(first as usize) {
            next.previous = number;
        }
        self.inodes[directory.0 as usize].first = pair(number, 0);
        self.register(number, directory, name);
        Ok(number)
    }

    fn register(&mut self, number: u32, directory: Node, name: &[u8]) {
        let hash = self.hash_of(directory.0, name);
        let (links, names, hasher) = (&self.links, &self.names, &self.hash);
        self.by_name.insert_unique(hash, number, |link| {
            let link = &links[*link as usize];
            hasher.hash_one((link.parent, name_of(names, link)))
        });
    }

    fn find(&self, directory: Node, name: &[u8]) -> Option<u32> {
        let hash = self.hash_of(directory.0, name);
        let is_it = |link: &u32| {
            let link = &self.links[*link as usize];
            link.parent == directory.0 && self.name(link) == name
        };
        self.by_name.find(hash, is_it).copied()
    }

    fn hash_of(&self, parent: u32, name: &[u8]) -> u64 {
        self.hash.hash_one((parent, name))
    }

    fn name(&self, link: &Link) -> &[u8] {
        name_of(&self.names, link)
    }

    fn child_of(&self, link: &Link) -> Child {
        match link.node {
            NONE => Child::Whiteout,
            node => Child::Inode(Node(node), self.kind(Node(node))),
        }
    }

    fn first_link(&self, directory: Node) -> Option<u32> {
        let record = &self.inodes[directory.0 as usize];
        let first = if record.kind() == Kind::Directory { low(record.first) } else { NONE };
        (first != NONE).then_some(first)
    }

    fn links_of(&self, directory: Node) -> impl Iterator<Item = u32> {
        std::iter::successors(self.first_link(directory), |link| {
            let next = self.links[*link as usize].next;
            (next != NONE).then_some(next)
        })
    }

    fn place(&mut self, record: InodeRecord) -> Result<Node, TooLarge> {
        let number = slot(&mut self.free_inodes, self.inodes.len(), "inodes")?;
        put(&mut self.inodes, number, record);
        Ok(Node(number))
    }

    fn embody(&mut self, body: Body<'_>) -> Result<InodeRecord, TooLarge> {
        let blank = |kind| blank(kind, &Attributes::IMPLICIT);
        let device = |kind, major, minor| InodeRecord { first: pair(major, minor), ..blank(kind) };
        Ok(match body {
            Body::Directory => blank(Kind::Directory),
            Body::Fifo => blank(Kind::Fifo),
            Body::CharDevice(major, minor) => device(Kind::CharDevice, major, minor),
            Body::BlockDevice(major, minor) => device(Kind::BlockDevice, major, minor),
            Body::Symlink(target) => self.with_target(blank(Kind::Symlink), target)?,
            Body::LowerLink(target) => self.with_target(blank(Kind::LowerLink), target)?,
            Body::File { offset, size, extents, digest } => InodeRecord {
                first: size.into(),
                second: offset.into(),
                extents: self.keep_extents(extents)?.into(),
                digest: self.keep_digest(digest).into(),
                ..blank(Kind::File)
            },
        })
    }

    fn with_target(&mut self, blank: InodeRecord, target: &[u8]) -> Result<InodeRecord, TooLarge> {
        let at = self.keep(&[target])?;
        Ok(InodeRecord { first: (target.len() as u64).into(), second: u64::from(at).into(), ..blank })
    }

    fn keep_digest(&mut self, digest: [u8; 32]) -> u32 {
        let number = self.free_digests.pop().unwrap_or_else(|| narrow(self.digests.len()));
        put(&mut self.digests, number, digest);
        number
    }

    fn keep_extents(&mut self, extents: Option<&[Extent]>) -> Result<u32, TooLarge> {
        let Some(extents) = extents else { return Ok(NONE) };
        let count = format::CountRecord::new(narrow(extents.len()));
        self.keep(&[count.as_bytes(), extents.as_bytes()])
    }

    fn keep_xattrs(&mut self, xattrs: &[Xattr<'_>]) -> Result<u32, TooLarge> {
        if xattrs.is_empty() {
            return Ok(NONE);
        }
        self.has_xattrs = true;
        let mut sorted = xattrs.to_vec();
        sorted.sort_unstable();
        let mut bytes = format::CountRecord::new(narrow(sorted.len())).as_bytes().to_vec();
        for (name, value) in sorted {
            let record =
                XattrRecord { name_len: narrow(name.len()).into(), value_len: narrow(value.len()).into() };
            bytes.extend_from_slice(record.as_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
        }
        self.keep(&[&bytes])
    }

    /// Puts bytes on the heap and gives their place.
    fn keep(&mut self, parts: &[&[u8]]) -> Result<u32, TooLarge> {
        let at = self.heap.len();
        let length = parts.iter().map(|part| part.len()).sum();
        room(at, length, MAX_BYTES, "bytes of link targets, xattrs and sparse maps")?;
        for part in parts {
            self.heap.extend_from_slice(part);
        }
        Ok(narrow(at))
    }
}

/// Why an inode cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error(transparent)]
    Index(#[from] super::index::Error),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

fn body_of(index: &Index, id: Id) -> Result<Body<'_>, super::index::Error> {
    let (major, minor) = index.inode(id).rdev();
    Ok(match index.inode(id).kind() {
        Kind::Directory => Body::Directory,
        Kind::Symlink => Body::Symlink(index.target(id)?),
        Kind::LowerLink => Body::LowerLink(index.target(id)?),
        Kind::CharDevice => Body::CharDevice(major, minor),
        Kind::BlockDevice => Body::BlockDevice(major, minor),
        Kind::Fifo | Kind::Whiteout | Kind::Socket => Body::Fifo,
        Kind::File => {
            let content = index.content(id)?;
            let (offset, size) = (content.offset, content.size);
            Body::File { offset, size, extents: content.extents, digest: content.digest }
        }
    })
}

fn blank(kind: Kind, attributes: &Attributes) -> InodeRecord {
    let list = if kind == Kind::Directory { pair(NONE, 0) } else { 0.into() };
    let mut record = InodeRecord {
        kind: kind as u8,
        flags: 0,
        mode: 0.into(),
        uid: 0.into(),
        gid: 0.into(),
        nlink: 0.into(),
        seconds: 0.into(),
        nanoseconds: 0.into(),
        layer: 0.into(),
        reserved: [0; 2],
        origin: 0.into(),
        xattrs: NONE.into(),
        extents: NONE.into(),
        digest: NONE.into(),
        first: list,
        second: list,
    };
    describe(&mut record, attributes);
    record
}

fn describe(record: &mut InodeRecord, attributes: &Attributes) {
    record.mode = (attributes.mode & 0o7777).into();
    record.uid = attributes.uid.into();
    record.gid = attributes.gid.into();
    record.seconds = attributes.mtime.seconds.into();
    record.nanoseconds = attributes.mtime.nanoseconds.min(999_999_999).into();
}

fn name_of<'a>(names: &'a [u8], link: &Link) -> &'a [u8] {
    let at = link.name_at as usize;
    &names[at..at + usize::from(link.name_len)]
}

/// The number of a free place in an arena of `length`.
fn slot(free: &mut Vec<u32>, length: usize, what: &'static str) -> Result<u32, TooLarge> {
    if let Some(number) = free.pop() {
        return Ok(number);
    }
    room(length, 1, MAX_ENTRIES, what)?;
    Ok(narrow(length))
}

fn put<T>(arena: &mut Vec<T>, number: u32, value: T) {
    match arena.get_mut(number as usize) {
        Some(place) => *place = value,
        None => arena.push(value),
    }
}

fn room(used: usize, wanted: usize, limit: usize, what: &'static str) -> Result<(), TooLarge> {
    if used.saturating_add(wanted) > limit { Err(TooLarge { what, limit }) } else { Ok(()) }
}

/// Every number and place in a tree is bounded far below this.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}
