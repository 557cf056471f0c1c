//! What stat(2) says of an object of the upper, in our types.

use rustix::fs::FileType;
pub use rustix::fs::Stat as Raw;

use crate::layer::Time;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The inode number in the upper's own file system.
    pub inode: u64,
    pub kind: FileType,
    /// The lower twelve bits of the mode.
    pub permissions: u16,
    pub links: u64,
    pub user: u32,
    pub group: u32,
    pub size: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    pub accessed: Time,
    pub modified: Time,
    pub changed: Time,
    pub device: (u32, u32),
}

impl Stat {
    // Some machines count links in 32 bits.
    #[allow(clippy::unnecessary_cast)]
    pub(super) fn of(raw: &Raw) -> Self {
        let time = |seconds, nanoseconds| Time { seconds, nanoseconds: nanoseconds as u32 };
        Self {
            inode: raw.st_ino,
            kind: FileType::from_raw_mode(raw.st_mode),
            permissions: (raw.st_mode & 0o7777) as u16,
            links: raw.st_nlink as u64,
            user: raw.st_uid,
            group: raw.st_gid,
            size: raw.st_size as u64,
            blocks: raw.st_blocks as u64,
            accessed: time(raw.st_atime, raw.st_atime_nsec),
            modified: time(raw.st_mtime, raw.st_mtime_nsec),
            changed: time(raw.st_ctime, raw.st_ctime_nsec),
            device: (rustix::fs::major(raw.st_rdev), rustix::fs::minor(raw.st_rdev)),
        }
    }

    /// Overlayfs's whiteout, for a lower object of the same name.
    pub(super) fn is_whiteout(&self) -> bool {
        self.kind == FileType::CharacterDevice && self.device == (0, 0)
    }
}
