//! The union's words in the protocol's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo};

use crate::layer::{Kind, Time};
use crate::union::{Attributes, Error};

/// For ever: nothing in a read-only mount changes. The kernel cuts it to what its clock can hold.
pub const UNLIMITED: Duration = Duration::from_secs(u32::MAX as u64);

/// The errno to reply; a fault is told to the log, which is the only place that knows more than EIO.
pub fn errno(error: &Error) -> Errno {
    if let Error::Fault { .. } = error {
        log::error!("{}", chain(error));
    }
    Errno::from_i32(error.errno().raw_os_error())
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error).and_then(std::error::Error::source);
    while let Some(deeper) = cause {
        text.push_str(&format!(": {deeper}"));
        cause = deeper.source();
    }
    text
}

pub fn file_attributes(attributes: &Attributes) -> FileAttr {
    let time = system_time(attributes.modified);
    FileAttr {
        ino: INodeNo(attributes.node.number()),
        size: attributes.size,
        blocks: attributes.blocks,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attributes.kind),
        perm: attributes.permissions,
        nlink: attributes.links,
        uid: attributes.user,
        gid: attributes.group,
        rdev: device_number(attributes.device),
        blksize: 4096,
        flags: 0,
    }
}

/// What a lookup that found nothing is answered with, so that the kernel remembers it: a node of number 0.
pub fn no_entry() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

pub fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        // A merged tree holds neither whiteouts nor links into a lower layer; overlayfs shows a stray whiteout so.
        Kind::CharDevice | Kind::Whiteout | Kind::LowerLink => FileType::CharDevice,
    }
}

/// The kernel's 32-bit form: twelve bits of major, twenty of minor, the minor around the major.
fn device_number((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)
}

fn system_time(time: Time) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole =
        if time.seconds < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    // A time that SystemTime cannot hold is one that no clock will show.
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(time.nanoseconds.into())))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_in_the_kernels_form() {
        assert_eq!(device_number((1, 3)), 0x0103);
        assert_eq!(device_number((0xabc, 0x12345)), 0x123a_bc45);
    }

    #[test]
    fn times_before_1970_and_beyond_32_bits_are_kept() {
        let before = system_time(Time { seconds: -2, nanoseconds: 800_000_000 });
        assert_eq!(before, UNIX_EPOCH - Duration::new(1, 200_000_000));
        let beyond = system_time(Time { seconds: 1 << 34, nanoseconds: 1 });
        assert_eq!(beyond, UNIX_EPOCH + Duration::new(1 << 34, 1));
        assert_eq!(
            system_time(Time { seconds: i64::MIN, nanoseconds: 0 }).duration_since(UNIX_EPOCH).ok(),
            None
        );
    }
}
