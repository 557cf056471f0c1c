//! What is checked of an index before any of it is trusted. The faults are for the log: all of them mean the same.

use std::ops::Range;

use zerocopy::FromBytes;

use super::format::{EntryRecord, FLAGS, Header, InodeRecord, MAGIC, NONE, Section, VERSION, high, low};
use super::pages::Pages;
use super::{Identity, Index, Kind};
use crate::layer::Checkpoint;
use crate::oci::Digest;

type Checked<T = ()> = Result<T, &'static str>;

pub(super) struct Layout {
    pub identity: Identity,
    pub has_xattrs: bool,
    pub sections: [Range<usize>; Section::COUNT],
    pub pages: Pages,
}

/// Reads the header: whether this is the index of `key`, and where its sections are.
pub(super) fn layout(file: &[u8], key: &Digest) -> Checked<Layout> {
    let (header, _) = Header::ref_from_prefix(file).map_err(|_| "it is cut within the header")?;
    ensure(header.magic == MAGIC, "it is not an index")?;
    ensure(header.version.get() == VERSION && header.incompat.get() == 0, "it is of another version")?;
    let identity = header.identity().ok_or("its codec is unknown")?;
    ensure(identity.digest == *key, "it is the index of something else")?;
    let sections = sections(header, file.len()).ok_or("its sections lie outside it")?;
    let body = size_of::<Header>()..sections[Section::COUNT - 1].end;
    let table = body.end..file.len();
    let pages = body.len().div_ceil(super::format::PAGE);
    ensure(table.len() == pages * 32, "its page table has the wrong size")?;
    ensure(header.root == header.root(&file[table.clone()]), "its header is not what was written")?;
    Ok(Layout { identity, has_xattrs: header.has_xattrs != 0, sections, pages: Pages::new(body, table) })
}

fn ensure(holds: bool, fault: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(fault) }
}

/// The sections follow one another from the header on.
fn sections(header: &Header, file_len: usize) -> Option<[Range<usize>; Section::COUNT]> {
    let mut sections = [const { 0..0 }; Section::COUNT];
    let mut end = size_of::<Header>();
    for (section, length) in sections.iter_mut().zip(&header.sections) {
        let start = end;
        end = start.checked_add(usize::try_from(length.get()).ok()?)?;
        *section = start..end;
    }
    (end <= file_len).then_some(sections)
}

/// Checks that the inodes form one tree, with names as a file system can show them.
pub(super) fn tree(index: &Index) -> Checked {
    whole::<EntryRecord>(index, Section::Entries)?;
    whole::<InodeRecord>(index, Section::Inodes)?;
    whole::<Checkpoint>(index, Section::Checkpoints)?;
    let root = index.inodes().first().ok_or("it has no root")?;
    ensure(root.kind == Kind::Directory as u8 && low(root.second) == 0, "its root is not a directory")?;
    index.inodes().iter().try_for_each(|inode| attributes(index, inode))?;
    let slashes = index.names().iter().fold(false, |found, byte| found | matches!(byte, 0 | b'/'));
    ensure(!slashes, "a name holds a slash or a NUL")?;
    Walk { index, next_inode: 1, next_entry: 0, next_name: 0 }.run()
}

fn whole<T>(index: &Index, section: Section) -> Checked {
    let length = index.sections[section as usize].len();
    ensure(
        length.is_multiple_of(size_of::<T>()) && length / size_of::<T>() < NONE as usize,
        "a section is not whole",
    )
}

fn attributes(index: &Index, inode: &InodeRecord) -> Checked {
    let kind = Kind::from_byte(inode.kind).ok_or("an inode has no known kind")?;
    ensure(inode.flags & !FLAGS == 0 && inode.mode.get() <= 0o7777, "an inode has unknown flags")?;
    ensure(inode.nanoseconds.get() < 1_000_000_000, "a time has too many nanoseconds")?;
    match kind {
        Kind::Whiteout => Err("a whiteout has an inode"),
        Kind::Directory => {
            let end = u64::from(low(inode.first)) + u64::from(high(inode.first));
            ensure(end <= index.entries().len() as u64, "a directory's entries lie outside the table")
        }
        Kind::File => {
            let digests = index.sections[Section::Digests as usize].len() / 32;
            ensure((inode.digest.get() as usize) < digests, "a file's digest lies outside the table")?;
            let end = inode.second.get().checked_add(inode.first.get());
            ensure(inode.extents.get() != NONE || end.is_some(), "a file is larger than anything can be")
        }
        Kind::Symlink | Kind::LowerLink => {
            let heap = &index.sections[Section::Heap as usize];
            let target = super::within(heap, inode.second.get(), inode.first.get());
            ensure(target.is_some(), "a target lies outside the heap")
        }
        Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => Ok(()),
    }
}

/// Goes through the directories as they were written: breadth first. A name either brings the next inode, or is
/// another name of an earlier one that is no directory; so each directory has one parent, and it stands before it.
struct Walk<'a> {
    index: &'a Index,
    next_inode: usize,
    next_entry: usize,
    next_name: usize,
}

impl<'a> Walk<'a> {
    fn run(mut self) -> Checked {
        let index = self.index;
        for (id, inode) in index.inodes().iter().enumerate() {
            ensure(id < self.next_inode, "an inode has no name")?;
            if inode.kind() == Kind::Directory {
                self.directory(id, inode)?;
            }
        }
        ensure(self.next_entry == index.entries().len(), "a name is in no directory")?;
        ensure(self.next_name == index.names().len(), "a name is no entry's")
    }

    fn directory(&mut self, id: usize, inode: &InodeRecord) -> Checked {
        let first = low(inode.first) as usize;
        ensure(first == self.next_entry, "a directory's entries are another's")?;
        let index = self.index;
        let entries = &index.entries()[first..first + high(inode.first) as usize];
        let mut before: &[u8] = &[];
        for entry in entries {
            let name = self.name(entry)?;
            ensure(before < name, "names are not sorted")?;
            self.inode(id, entry)?;
            before = name;
        }
        self.next_entry += entries.len();
        Ok(())
    }

    fn name(&mut self, entry: &EntryRecord) -> Checked<&'a [u8]> {
        let start = self.next_name;
        let end = start + usize::from(entry.name_len);
        ensure(entry.name_at.get() as usize == start, "a name is another's")?;
        let name = self.index.names().get(start..end).ok_or("a name lies outside the table")?;
        ensure(!matches!(name, b"" | b"." | b".."), "a name cannot be shown")?;
        self.next_name = end;
        Ok(name)
    }

    fn inode(&mut self, parent: usize, entry: &EntryRecord) -> Checked {
        let kind = Kind::from_byte(entry.kind).ok_or("an entry has no known kind")?;
        if kind == Kind::Whiteout {
            return ensure(entry.inode.get() == NONE, "a whiteout has an inode");
        }
        let id = entry.inode.get() as usize;
        ensure(id <= self.next_inode, "an inode is out of order")?;
        let inode = self.index.inodes().get(id).ok_or("an entry's inode lies outside the table")?;
        ensure(inode.kind() == kind, "an entry's kind is not its inode's")?;
        if kind == Kind::Directory {
            let own = id == self.next_inode && low(inode.second) as usize == parent;
            ensure(own, "a directory has two parents")?;
        }
        self.next_inode += usize::from(id == self.next_inode);
        Ok(())
    }
}
