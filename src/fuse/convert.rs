//! The union's words in the protocol's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, OpenAccMode, OpenFlags, RenameFlags, TimeOrNow};

use super::measure::refused;
use crate::layer::{Kind, Time};
use crate::union::overlay::{Access, Allocate, Allocation, Make, Moment, Renaming, SetXattr};
use crate::union::{self, Attributes, Error, Whence};

/// For ever: what changes, changes through the kernel. The kernel cuts it to what its clock can hold.
pub const UNLIMITED: Duration = Duration::from_secs(u32::MAX as u64);

/// The errno to reply; a fault is told to the log, which is the only place that knows more than EIO.
pub fn errno(error: &Error) -> Errno {
    if let Error::Fault { .. } = error {
        log::error!("{}", chain(error));
    }
    let errno = Errno::from_i32(error.errno().raw_os_error());
    refused(errno);
    errno
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
    let stat = &attributes.stat;
    FileAttr {
        ino: INodeNo(attributes.node.number()),
        size: stat.size,
        blocks: stat.blocks,
        atime: system_time(stat.accessed),
        mtime: system_time(stat.modified),
        ctime: system_time(stat.changed),
        crtime: UNIX_EPOCH,
        kind: file_type(stat.kind),
        perm: stat.permissions,
        nlink: stat.links,
        uid: stat.user,
        gid: stat.group,
        rdev: device_number(stat.device),
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

/// The most that one copy of a range is asked for: what a reply can count.
pub const LARGEST_COPY: u64 = 1 << 30;

fn major_minor(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00))
}

/// The lower twelve bits of a mode.
pub fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

/// What mknod(2) is to make.
pub fn make(mode: u32, device: u32) -> Option<Make<'static>> {
    let (major, minor) = major_minor(device);
    Some(match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Make::File,
        libc::S_IFCHR => Make::CharDevice(major, minor),
        libc::S_IFBLK => Make::BlockDevice(major, minor),
        libc::S_IFIFO => Make::Fifo,
        libc::S_IFSOCK => Make::Socket,
        _ => return None,
    })
}

pub fn access(flags: OpenFlags) -> Access {
    match flags.acc_mode() {
        OpenAccMode::O_RDONLY => Access::Read,
        OpenAccMode::O_WRONLY | OpenAccMode::O_RDWR => Access::Write,
    }
}

pub fn renaming(flags: RenameFlags) -> Option<Renaming> {
    match flags {
        _ if flags.is_empty() => Some(Renaming::Replace),
        RenameFlags::RENAME_NOREPLACE => Some(Renaming::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Some(Renaming::Exchange),
        _ => None,
    }
}

pub fn allocation(mode: i32, offset: u64, length: u64) -> Option<Allocation> {
    let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    let what = match mode & !libc::FALLOC_FL_KEEP_SIZE {
        0 => Allocate::Space,
        libc::FALLOC_FL_ZERO_RANGE => Allocate::Zeros,
        libc::FALLOC_FL_PUNCH_HOLE if keep_size => Allocate::Hole,
        _ => return None,
    };
    Some(Allocation { what, keep_size, offset, length })
}

pub fn setting(flags: i32) -> Option<SetXattr> {
    match flags {
        0 => Some(SetXattr::Any),
        libc::XATTR_CREATE => Some(SetXattr::Create),
        libc::XATTR_REPLACE => Some(SetXattr::Replace),
        _ => None,
    }
}

/// lseek(2) that looks for data or a hole; the kernel does the rest itself.
pub fn seeking(offset: i64, whence: i32) -> union::Result<(u64, Whence)> {
    match (u64::try_from(offset), whence) {
        (Ok(offset), libc::SEEK_DATA) => Ok((offset, Whence::Data)),
        (Ok(offset), libc::SEEK_HOLE) => Ok((offset, Whence::Hole)),
        (Err(_), libc::SEEK_DATA | libc::SEEK_HOLE) => Err(union::Errno::NXIO.into()),
        _ => Err(union::Errno::INVAL.into()),
    }
}

pub fn moment(time: TimeOrNow) -> Moment {
    match time {
        TimeOrNow::Now => Moment::Now,
        TimeOrNow::SpecificTime(time) => Moment::At(given_time(time)),
    }
}

/// A time that a request sets. This library takes the nanoseconds of times before 1970 away from the second instead of
/// adding them; what it was given is found again from what it made of it.
fn given_time(time: SystemTime) -> Time {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Time { seconds: seconds(after), nanoseconds: after.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            Time { seconds: -seconds(before), nanoseconds: before.subsec_nanos() }
        }
    }
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
        assert_eq!(major_minor(0x123a_bc45), (0xabc, 0x12345));
    }

    #[test]
    fn a_time_before_1970_is_set_as_it_was_given() {
        let as_given = Time { seconds: -2, nanoseconds: 300_000_000 };
        assert_eq!(given_time(UNIX_EPOCH - Duration::new(2, 300_000_000)), as_given);
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
