//! Where a copied-up object came from: the kernel's `origin`, a file handle, and plyfs's own inode number.

use std::os::fd::BorrowedFd;

use super::Number;
use crate::sys::handle;

/// The lower object that one of the upper was copied from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub file_system: u32,
    pub inode: u64,
    /// Where it is a file of a directory and not of an image: the kernel can find it again.
    pub object: Option<Located<'a>>,
}

/// An object (`O_PATH` is enough) and the UUID of its file system, from [`handle::file_system_uuid`].
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    pub object: BorrowedFd<'a>,
    pub uuid: [u8; 16],
}

const VERSION: u8 = 0;
const MAGIC: u8 = 0xfb;
const HEADER: usize = 21;
const BIG_ENDIAN: u8 = 1;
/// A handle that reads the same in both byte orders.
const ANY_ENDIAN: u8 = 2;
const NATIVE: u8 = if cfg!(target_endian = "big") { BIG_ENDIAN } else { 0 };

/// What the kernel records of the origin: nothing, where it could not find it.
pub(super) fn encode(origin: &Origin<'_>) -> Vec<u8> {
    let located = origin.object.and_then(|at| Some((at.uuid, handle::of(at.object).ok()?)));
    located.and_then(|(uuid, handle)| encode_handle(uuid, &handle)).unwrap_or_default()
}

fn encode_handle(uuid: [u8; 16], handle: &handle::Handle) -> Option<Vec<u8>> {
    let length = u8::try_from(HEADER + handle.bytes.len()).ok()?;
    Some([&[VERSION, MAGIC, length, NATIVE, handle.kind][..], &uuid[..], &handle.bytes[..]].concat())
}

/// How long it is.
pub(super) const NUMBER: usize = 12;

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
    let native = flags & ANY_ENDIAN != 0 || flags & BIG_ENDIAN == NATIVE;
    if usize::from(length) != stored.len() || !native {
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_inode_of_a_recorded_origin_is_read_back() {
        for directory in ["/var/tmp", "/dev/shm"] {
            let file = tempfile::NamedTempFile::new_in(directory).unwrap();
            let object = Some(Located { object: file.as_file().as_fd(), uuid: [7; 16] });
            let stored = encode(&Origin { file_system: 0, inode: 0, object });
            let inode = file.as_file().metadata().unwrap().ino();
            assert_eq!(parse(&stored), Some(Number::Handle { uuid: [7; 16], inode }), "{directory}");
            for length in 0..stored.len() {
                assert_eq!(parse(&stored[..length]), None);
            }
        }
    }

    #[test]
    fn a_number_is_read_back() {
        let origin = Origin { file_system: 3, inode: 1 << 40, object: None };
        assert_eq!(number(&encode_number(&origin)), Some(Number::Lower { file_system: 3, inode: 1 << 40 }));
        assert_eq!(number(b"short"), None);
        assert_eq!(encode(&origin), b"");
    }
}
