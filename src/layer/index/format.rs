//! The bytes of an index file: little-endian records, each of which any bytes can be read as.
//!
//! ```text
//! header | entries | names | inodes | checkpoints | digests | heap | chunks | windows | pages
//! ```
//!
//! `pages` holds the BLAKE3 of each 64 KiB of what stands between the header and itself; the header's `root` is the
//! BLAKE3 of the header (with `root` zero) and of `pages`.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Codec, Identity, Kind};
use crate::oci::{DiffId, Digest};

pub(crate) const MAGIC: [u8; 8] = *b"plyfsidx";
pub(crate) const VERSION: u32 = 2;
/// One page, the unit of verification.
pub(crate) const PAGE: usize = 64 * 1024;
/// "No such record", where a record's number or place in the heap is expected.
pub(crate) const NONE: u32 = u32::MAX;

pub(crate) const OPAQUE: u8 = 1;
pub(crate) const IMPLICIT: u8 = 2;
pub(crate) const MARKER_ONLY: u8 = 4;
pub(crate) const LATE: u8 = 8;
pub(crate) const FLAGS: u8 = OPAQUE | IMPLICIT | MARKER_ONLY | LATE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Entries,
    Names,
    Inodes,
    Checkpoints,
    Digests,
    Heap,
    Chunks,
    Windows,
}

impl Section {
    pub(crate) const COUNT: usize = 8;
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub magic: [u8; 8],
    pub version: U32,
    /// Bits that a reader must know; none so far.
    pub incompat: U32,
    pub digest: [u8; 32],
    pub size: U64,
    pub diff_id: [u8; 32],
    pub uncompressed: U64,
    pub codec: u8,
    pub has_xattrs: u8,
    pub reserved: [u8; 6],
    pub sections: [U64; Section::COUNT],
    pub root: [u8; 32],
}

impl Header {
    pub(crate) fn new(identity: &Identity, has_xattrs: bool, sections: [u64; Section::COUNT]) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION.into(),
            incompat: 0.into(),
            digest: *identity.digest.as_bytes(),
            size: identity.size.into(),
            diff_id: *identity.diff_id.0.as_bytes(),
            uncompressed: identity.uncompressed.into(),
            codec: identity.codec as u8,
            has_xattrs: has_xattrs.into(),
            reserved: [0; 6],
            sections: sections.map(U64::new),
            root: [0; 32],
        }
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        Some(Identity {
            digest: Digest::from_bytes(self.digest),
            size: self.size.get(),
            diff_id: DiffId(Digest::from_bytes(self.diff_id)),
            uncompressed: self.uncompressed.get(),
            codec: Codec::from_number(self.codec)?,
        })
    }

    /// What `root` has to be.
    pub(crate) fn root(&self, pages: &[u8]) -> [u8; 32] {
        let bare = Self { root: [0; 32], ..*self };
        *blake3::Hasher::new().update(bare.as_bytes()).update(pages).finalize().as_bytes()
    }
}

/// A name in a directory. The entries of a directory are contiguous and sorted, those of all directories follow one
/// another in the order of the directories' inodes, and their names do so too.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct EntryRecord {
    pub name_at: U32,
    pub name_len: u8,
    pub kind: u8,
    pub reserved: [u8; 2],
    /// [`NONE`] for a whiteout.
    pub inode: U32,
}

/// What the two words of an inode mean:
///
/// | kind | `first` | `second` |
/// |---|---|---|
/// | directory | low: its first entry; high: how many | the parent's inode |
/// | file | size | offset in the uncompressed layer |
/// | symlink, lower link | length of the target | its place in the heap |
/// | device | low: major; high: minor | 0 |
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct InodeRecord {
    pub kind: u8,
    pub flags: u8,
    pub mode: U16,
    pub uid: U32,
    pub gid: U32,
    pub nlink: U32,
    pub seconds: I64,
    pub nanoseconds: U32,
    pub layer: U16,
    pub reserved: [u8; 2],
    pub origin: U32,
    /// Place of its xattrs in the heap, or [`NONE`].
    pub xattrs: U32,
    /// Place of its sparse map in the heap, or [`NONE`].
    pub extents: U32,
    /// Number of its digest, or [`NONE`].
    pub digest: U32,
    pub first: U64,
    pub second: U64,
}

/// What is shown where a record is damaged.
pub(crate) static NOTHING: InodeRecord = InodeRecord {
    kind: Kind::Fifo as u8,
    flags: 0,
    mode: U16::ZERO,
    uid: U32::ZERO,
    gid: U32::ZERO,
    nlink: U32::ZERO,
    seconds: I64::ZERO,
    nanoseconds: U32::ZERO,
    layer: U16::ZERO,
    reserved: [0; 2],
    origin: U32::ZERO,
    xattrs: U32::MAX_VALUE,
    extents: U32::MAX_VALUE,
    digest: U32::MAX_VALUE,
    first: U64::ZERO,
    second: U64::ZERO,
};

impl InodeRecord {
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_byte(self.kind).unwrap_or(Kind::Fifo)
    }
}

pub(crate) fn pair(low: u32, high: u32) -> U64 {
    U64::new(u64::from(low) | u64::from(high) << 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
pub(crate) fn low(word: U64) -> u32 {
    word.get() as u32
}

pub(crate) fn high(word: U64) -> u32 {
    low(U64::new(word.get() >> 32))
}

/// Before the `count` attributes of an inode; then for each an [`XattrRecord`], its name, its value.
pub(crate) type CountRecord = U32;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct XattrRecord {
    pub name_len: U32,
    pub value_len: U32,
}

/// A run of data in a sparse file. What lies between two is zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extent {
    /// Where in the file it starts.
    pub offset: U64,
    pub length: U64,
}
