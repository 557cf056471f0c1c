//! What is checked of an index before any of it is trusted. The faults are for the log: all of them mean the same.

use std::ops::Range;

use zerocopy::FromBytes;

use super::format::{EntryRecord, FLAGS, Header, InodeRecord, MAGIC, NONE, Section, VERSION, high, low};
use super::pages::Pages;
use super::{Id, Identity, Index, Kind};
use crate::layer::Checkpoint;
use crate::oci::Digest;

pub(super) type Checked<T = ()> = Result<T, &'static str>;

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

/// Checks that the records of the tree are whole. What they say is checked when it is used.
pub(super) fn records(index: &Index) -> Checked {
    whole::<EntryRecord>(index, Section::Entries)?;
    whole::<InodeRecord>(index, Section::Inodes)?;
    whole::<Checkpoint>(index, Section::Checkpoints)?;
    let root = inode(index, 0)?;
    ensure(root.kind() == Kind::Directory && low(root.second) == 0, "its root is not a directory")
}

fn whole<T>(index: &Index, section: Section) -> Checked {
    let length = index.sections[section as usize].len();
    ensure(
        length.is_multiple_of(size_of::<T>()) && length / size_of::<T>() < NONE as usize,
        "a section is not whole",
    )
}

/// The record of an inode, when it is what was written and can be shown.
pub(super) fn inode(index: &Index, id: Id) -> Checked<&InodeRecord> {
    let record = index.inodes().get(id as usize).ok_or("an inode lies outside the table")?;
    index.verified::<InodeRecord>(Section::Inodes, id as usize..id as usize + 1)?;
    attributes(index, record)?;
    Ok(record)
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

/// Checks the entries of a directory: names as a file system can show them, sorted; and directories that have this
/// parent alone and stand behind it, so that no way down ever leads back.
pub(super) fn directory(index: &Index, dir: Id) -> Checked {
    let record = inode(index, dir)?;
    if record.kind() != Kind::Directory {
        return Ok(());
    }
    let range = low(record.first) as usize..(low(record.first) + high(record.first)) as usize;
    index.verified::<EntryRecord>(Section::Entries, range.clone())?;
    let entries = &index.entries()[range];
    let names = names(entries)?;
    ensure(names.end <= index.names().len(), "a name lies outside the table")?;
    index.verified::<u8>(Section::Names, names)?;
    let mut before: &[u8] = &[];
    for entry in entries {
        let start = entry.name_at.get() as usize;
        let name = &index.names()[start..start + usize::from(entry.name_len)];
        ensure(!name.iter().any(|byte| matches!(byte, 0 | b'/')), "a name holds a slash or a NUL")?;
        ensure(!matches!(name, b"" | b"." | b".."), "a name cannot be shown")?;
        ensure(before < name, "names are not sorted")?;
        before = name;
        child(index, dir, entry)?;
    }
    Ok(())
}

/// Where the names of a directory's entries are: one after another.
fn names(entries: &[EntryRecord]) -> Checked<Range<usize>> {
    let start = entries.first().map_or(0, |entry| entry.name_at.get() as usize);
    let mut end = start;
    for entry in entries {
        ensure(entry.name_at.get() as usize == end, "a name is another's")?;
        end += usize::from(entry.name_len);
    }
    Ok(start..end)
}

fn child(index: &Index, parent: Id, entry: &EntryRecord) -> Checked {
    let kind = Kind::from_byte(entry.kind).ok_or("an entry has no known kind")?;
    if kind == Kind::Whiteout {
        return ensure(entry.inode.get() == NONE, "a whiteout has an inode");
    }
    let id = entry.inode.get();
    let record = inode(index, id)?;
    ensure(record.kind() == kind, "an entry's kind is not its inode's")?;
    let is_own = kind != Kind::Directory || (id > parent && low(record.second) == parent);
    ensure(is_own, "a directory has two parents")
}
