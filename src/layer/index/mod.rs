//! The index of a layer: its whole tree, and where in the layer each file's bytes are. A mapped file, which costs
//! nothing to keep; the merged tree of an image has the same form.
//!
//! An index can always be made again. One that is cut, changed or from another version is [`Error::Damaged`], never
//! trusted and never a panic. Opening it costs the same whatever its size: each part is checked when it is first used.
//! Where a part of the tree turns out to be damaged it shows nothing, and [`Index::intact`] says so from then on.

mod check;
mod entries;
pub(super) mod format;
mod inode;
mod pages;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FileType;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

pub use self::entries::{Entries, Entry};
use self::format::{CountRecord, EntryRecord, InodeRecord, NONE, Section, XattrRecord};
pub use self::inode::Inode;
use self::pages::Pages;
pub(super) use self::pages::table as page_table;
use super::{Checkpoint, Codec};
use crate::oci::{DiffId, Digest};
use crate::sys::map::Map;

/// The number of an inode in one index. 0 is the root.
pub type Id = u32;

/// What an index is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Of the layer's blob. A merged tree has the key of its layers here, and zeros in the rest.
    pub digest: Digest,
    pub size: u64,
    pub diff_id: DiffId,
    /// The size of the uncompressed tar.
    pub uncompressed: u64,
    pub codec: Codec,
}

impl Identity {
    /// The identity of a tree that was merged from several layers.
    pub fn of_merged(key: Digest) -> Self {
        let none = DiffId(Digest::from_bytes([0; 32]));
        Self { digest: key, size: 0, diff_id: none, uncompressed: 0, codec: Codec::Plain }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Directory,
    File,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    /// Hides the name in the layers below. It is an entry only and has no inode.
    Whiteout,
    /// A hard link to what a lower layer has at [`Index::target`].
    LowerLink,
    /// In no layer: only a directory on disk holds one.
    Socket,
}

/// Of an object on disk.
impl From<FileType> for Kind {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::RegularFile | FileType::Unknown => Self::File,
        }
    }
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{BlockDevice, CharDevice, Directory, Fifo, File, LowerLink, Symlink, Whiteout};
        let kinds = [Directory, File, Symlink, CharDevice, BlockDevice, Fifo, Whiteout, LowerLink];
        kinds.get(usize::from(byte)).copied()
    }
}

/// A time, with the fraction counted forward: half a second before the epoch is -1 and 500,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

pub use self::format::Extent;

/// Where a file's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// Of the first stored byte, in the uncompressed layer.
    pub offset: u64,
    /// As the file shows it, holes included.
    pub size: u64,
    /// A sparse file's data, as it follows one another in the layer; `None`: all of the file is stored.
    pub extents: Option<&'a [Extent]>,
    /// BLAKE3 of the stored bytes; of a sparse file see [`Content::hasher`].
    pub digest: [u8; 32],
}

impl Content<'_> {
    /// Takes the stored bytes and gives the digest. For a sparse file the size and the map go into it first, so that
    /// terabytes of holes need not: the digest is its own (another than that of the same bytes without holes).
    pub fn hasher(size: u64, extents: Option<&[Extent]>) -> blake3::Hasher {
        use zerocopy::IntoBytes;
        let Some(extents) = extents else { return blake3::Hasher::new() };
        let mut hasher = blake3::Hasher::new_derive_key("plyfs 2026 sparse file");
        hasher.update(&size.to_le_bytes()).update(&(extents.len() as u64).to_le_bytes());
        hasher.update(extents.as_bytes());
        hasher
    }

    /// How many bytes the layer holds of it.
    pub fn stored(&self) -> u64 {
        match self.extents {
            None => self.size,
            Some(extents) => {
                extents.iter().fold(0, |sum: u64, extent| sum.saturating_add(extent.length.get()))
            }
        }
    }
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Drop it and make it again.
    #[error("the index of {key} is damaged: {fault}")]
    Damaged { key: Digest, fault: &'static str },
    #[error("reading the index of {key}: {source}")]
    Unreadable { key: Digest, source: io::Error },
}

enum Bytes {
    Mapped(Map),
    Owned(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// One index, open.
pub struct Index {
    bytes: Bytes,
    identity: Identity,
    has_xattrs: bool,
    sections: [Range<usize>; Section::COUNT],
    pages: Pages,
    /// Which directories have been checked, a bit for each inode.
    checked: Box<[AtomicU64]>,
    fault: OnceLock<&'static str>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("identity", &self.identity).field("len", &self.len()).finish()
    }
}

impl Index {
    /// The index in `file`, which has to be that of `key`.
    pub fn open(file: &File, key: &Digest) -> Result<Self, Error> {
        let map = Map::new(file).map_err(|source| Error::Unreadable { key: *key, source })?;
        Self::checked(Bytes::Mapped(map), key)
    }

    /// The same, of bytes that are in memory.
    pub fn from_bytes(bytes: Vec<u8>, key: &Digest) -> Result<Self, Error> {
        Self::checked(Bytes::Owned(bytes), key)
    }

    fn checked(bytes: Bytes, key: &Digest) -> Result<Self, Error> {
        let damaged = |fault| Error::Damaged { key: *key, fault };
        let layout = check::layout(bytes.as_slice(), key).map_err(damaged)?;
        let inodes = layout.sections[Section::Inodes as usize].len() / size_of::<InodeRecord>();
        let index = Self {
            bytes,
            identity: layout.identity,
            has_xattrs: layout.has_xattrs,
            sections: layout.sections,
            pages: layout.pages,
            checked: (0..inodes.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            fault: OnceLock::new(),
        };
        check::records(&index).map_err(damaged)?;
        index.verify(index.sections[Section::Checkpoints as usize].clone())?;
        Ok(index)
    }

    /// Whether all that was used of the tree so far was what had been written.
    pub fn intact(&self) -> Result<(), Error> {
        self.fault.get().map_or(Ok(()), |fault| Err(self.damaged(fault)))
    }

    /// Reads all of it: whether every byte is what was written, and the tree is one.
    pub fn check_all(&self) -> Result<(), Error> {
        self.verify(self.pages.body())?;
        (0..self.len()).all(|id| self.check_directory(id));
        self.intact()
    }

    fn blame(&self, fault: &'static str) {
        if self.fault.set(fault).is_ok() {
            log::error!("{}", self.damaged(fault));
        }
    }

    pub fn key(&self) -> Digest {
        self.identity.digest
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many inodes there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always a root")]
    pub fn len(&self) -> u32 {
        u32::try_from(self.inodes().len()).unwrap_or(NONE)
    }

    /// The inode `id`, a number that this index gave: below [`Index::len`].
    pub fn inode(&self, id: Id) -> Inode<'_> {
        let record = check::inode(self, id).unwrap_or_else(|fault| {
            self.blame(fault);
            &format::NOTHING
        });
        Inode { record }
    }

    /// The names in a directory; of anything else there are none.
    pub fn children(&self, dir: Id) -> Entries<'_> {
        let range = match self.check_directory(dir) {
            true => self.inode(dir).entries(),
            false => 0..0,
        };
        Entries { records: &self.entries()[range], names: self.names() }
    }

    fn check_directory(&self, dir: Id) -> bool {
        let Some(word) = self.checked.get(dir as usize / 64) else { return false };
        let bit = 1 << (dir % 64);
        // A directory that two threads check at once is only checked twice; the bit guards no other memory.
        if word.load(Ordering::Relaxed) & bit != 0 {
            return true;
        }
        let checked = check::directory(self, dir);
        match checked {
            Ok(()) => drop(word.fetch_or(bit, Ordering::Relaxed)),
            Err(fault) => self.blame(fault),
        }
        checked.is_ok()
    }

    pub fn lookup(&self, dir: Id, name: &[u8]) -> Option<Entry<'_>> {
        self.children(dir).find(name)
    }

    /// The target of a symlink or a lower link; of anything else it is empty.
    pub fn target(&self, id: Id) -> Result<&[u8], Error> {
        let record = self.inode(id).record;
        match record.kind() {
            Kind::Symlink | Kind::LowerLink => self.heap(record.second.get(), record.first.get()),
            _ => Ok(&[]),
        }
    }

    /// The extended attributes of an inode, name and value, sorted by name.
    pub fn xattrs(&self, id: Id) -> Result<Xattrs<'_>, Error> {
        match self.inode(id).record.xattrs.get() {
            NONE => Ok(Xattrs { pairs: Vec::new().into_iter() }),
            at => Ok(Xattrs { pairs: self.xattrs_at(u64::from(at))?.into_iter() }),
        }
    }

    fn xattrs_at(&self, at: u64) -> Result<Vec<Xattr<'_>>, Error> {
        let mut cursor = at;
        let count = self.record::<CountRecord>(&mut cursor)?.get();
        let mut pairs = Vec::new();
        for _ in 0..count {
            let record = self.record::<XattrRecord>(&mut cursor)?;
            let name = self.span(&mut cursor, u64::from(record.name_len.get()))?;
            let value = self.span(&mut cursor, u64::from(record.value_len.get()))?;
            pairs.push((name, value));
        }
        Ok(pairs)
    }

    /// Where a file's bytes are; of anything else: an empty file.
    pub fn content(&self, id: Id) -> Result<Content<'_>, Error> {
        let record = self.inode(id).record;
        if record.kind() != Kind::File {
            let digest = *blake3::hash(&[]).as_bytes();
            return Ok(Content { offset: 0, size: 0, extents: None, digest });
        }
        Ok(Content {
            offset: record.second.get(),
            size: record.first.get(),
            extents: self.extents_of(record)?,
            digest: *self.digest_at(Section::Digests, u64::from(record.digest.get()))?,
        })
    }

    fn extents_of(&self, record: &InodeRecord) -> Result<Option<&[Extent]>, Error> {
        if record.extents.get() == NONE {
            return Ok(None);
        }
        let mut cursor = u64::from(record.extents.get());
        let count = u64::from(self.record::<CountRecord>(&mut cursor)?.get());
        let bytes = self.span(&mut cursor, count * size_of::<Extent>() as u64)?;
        let extents = <[Extent]>::ref_from_bytes(bytes);
        extents.map(Some).map_err(|_| self.damaged("a sparse map is not whole"))
    }

    /// How many chunks of the uncompressed stream have a digest.
    pub fn chunk_count(&self) -> u64 {
        (self.sections[Section::Chunks as usize].len() / size_of::<[u8; 32]>()) as u64
    }

    /// The BLAKE3 of the uncompressed stream's chunk `number`.
    pub fn chunk_digest(&self, number: u64) -> Result<&[u8; 32], Error> {
        self.digest_at(Section::Chunks, number)
    }

    pub fn checkpoints(&self) -> &[Checkpoint] {
        self.records(Section::Checkpoints)
    }

    /// What a decoder has to know of the bytes before `checkpoint`.
    pub fn window(&self, checkpoint: &Checkpoint) -> Result<&[u8], Error> {
        self.lazy(Section::Windows, checkpoint.window_at.get(), u64::from(checkpoint.window_len.get()))
    }

    /// Whether any inode has an extended attribute.
    pub fn has_xattrs(&self) -> bool {
        self.has_xattrs
    }

    fn entries(&self) -> &[EntryRecord] {
        self.records(Section::Entries)
    }

    fn names(&self) -> &[u8] {
        self.records(Section::Names)
    }

    fn inodes(&self) -> &[InodeRecord] {
        self.records(Section::Inodes)
    }

    /// A section as records, whose pages are verified elsewhere.
    fn records<T: FromBytes + Immutable + KnownLayout + Unaligned>(&self, section: Section) -> &[T] {
        let bytes = &self.bytes.as_slice()[self.sections[section as usize].clone()];
        <[T]>::ref_from_bytes(bytes).unwrap_or(&[])
    }

    /// Verifies the pages that records of a section are in.
    fn verified<T>(&self, section: Section, records: Range<usize>) -> check::Checked {
        let start = self.sections[section as usize].start;
        let range = start + records.start * size_of::<T>()..start + records.end * size_of::<T>();
        let is_good = self.pages.verify(self.bytes.as_slice(), range);
        if is_good { Ok(()) } else { Err("a page is not what was written") }
    }

    fn digest_at(&self, section: Section, number: u64) -> Result<&[u8; 32], Error> {
        let bytes = self.lazy(section, number.saturating_mul(32), 32)?;
        bytes.try_into().map_err(|_| self.damaged("a digest is not whole"))
    }

    fn heap(&self, at: u64, length: u64) -> Result<&[u8], Error> {
        self.lazy(Section::Heap, at, length)
    }

    fn span(&self, cursor: &mut u64, length: u64) -> Result<&[u8], Error> {
        let bytes = self.heap(*cursor, length)?;
        *cursor += length;
        Ok(bytes)
    }

    fn record<T: FromBytes + Immutable + KnownLayout + Unaligned>(
        &self,
        cursor: &mut u64,
    ) -> Result<&T, Error> {
        let bytes = self.span(cursor, size_of::<T>() as u64)?;
        T::ref_from_bytes(bytes).map_err(|_| self.damaged("a record is not whole"))
    }

    /// Bytes of a section that is verified when it is used.
    fn lazy(&self, section: Section, at: u64, length: u64) -> Result<&[u8], Error> {
        let range = within(&self.sections[section as usize], at, length)
            .ok_or_else(|| self.damaged("something lies outside its section"))?;
        self.verify(range.clone())?;
        Ok(&self.bytes.as_slice()[range])
    }

    fn verify(&self, range: Range<usize>) -> Result<(), Error> {
        match self.pages.verify(self.bytes.as_slice(), range) {
            true => Ok(()),
            false => Err(self.damaged("a page is not what was written")),
        }
    }

    fn damaged(&self, fault: &'static str) -> Error {
        Error::Damaged { key: self.key(), fault }
    }
}

/// The part of `section` that starts at its byte `at`.
fn within(section: &Range<usize>, at: u64, length: u64) -> Option<Range<usize>> {
    let start = section.start.checked_add(usize::try_from(at).ok()?)?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    (end <= section.end).then_some(start..end)
}

/// The name and the value of an extended attribute.
pub type Xattr<'a> = (&'a [u8], &'a [u8]);

/// The extended attributes of an inode.
pub struct Xattrs<'a> {
    pairs: std::vec::IntoIter<Xattr<'a>>,
}

impl<'a> Iterator for Xattrs<'a> {
    type Item = Xattr<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pairs.next()
    }
}
