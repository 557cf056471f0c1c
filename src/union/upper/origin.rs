//! Where a copied-up object came from: the kernel's `origin`, a file handle, and plyfs's own inode number.

use std::os::fd::BorrowedFd;

use super::Number;

/// The lower object that one of the upper was copied from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub file_system: u32,
    pub inode: u64,
    /// The object itself, where it is a file of a directory and not of an image: the kernel can find it again.
    pub object: Option<BorrowedFd<'a>>,
}

const VERSION: u8 = 0;
const MAGIC: u8 = 0xfb;
const HEADER: usize = 21;
/// The file handle is of the other byte order; of the upper itself.
const FOREIGN_FLAGS: u8 = if cfg!(target_endian = "big") { 0 } else { 1 };

/// The number as it is stored: 4 bytes file system, 8 bytes inode, little-endian.
pub(super) fn encode_number(origin: &Origin<'_>) -> Vec<u8> {
    [&origin.file_system.to_le_bytes()[..], &origin.inode.to_le_bytes()[..]].concat()
}

pub(super) fn number(stored: &[u8]) -> Option<Number> {
    let (file_system, inode) = stored.split_first_chunk::<4>()?;
    let inode = u64::from_le_bytes(inode.try_into().ok()?);
    Some(Number::Lower { file_system: u32::from_le_bytes(*file_system), inode })
}

/// The inode in the kernel's value. Which file system made the handle is told by its type and length.
pub(super) fn parse(stored: &[u8]) -> Option<Number> {
    let (header, id) = stored.split_first_chunk::<HEADER>()?;
    let [VERSION, MAGIC, length, flags, kind, uuid @ ..] = *header else { return None };
    if usize::from(length) != stored.len() || flags & 1 == FOREIGN_FLAGS {
        return None;
    }
    let four = |at: usize| id.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let eight = |at: usize| id.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
    let inode = match (kind, id.len()) {
        (0x01, 8) => four(0).map(u64::from),
        (0x01, 12) => eight(4),
        (0x81 | 0x4d, _) => eight(0),
        _ => None,
    };
    inode.map(|inode| Number::Handle { uuid, inode })
}
