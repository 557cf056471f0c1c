//! What stat(2) says of an object: of an image's tree, of a lower directory, or of the upper one.

use rustix::fs::FileType;

use crate::layer::{Id, Index, Kind, Time, index};

/// A directory's size says nothing about its content; this is what most file systems start with.
const DIRECTORY_SIZE: u64 = 4096;
const BLOCK: u64 = 512;

/// An inode number: the same at every mount, and no other object's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    pub file_system: u32,
    pub inode: u64,
}

impl Number {
    pub const UPPER: u32 = 0;
    pub const IMAGE: u32 = 1;

    pub(super) fn in_image(id: Id) -> Self {
        Self { file_system: Self::IMAGE, inode: u64::from(id) + 1 }
    }
}

/// Ids are as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub number: Number,
    pub kind: Kind,
    /// The lower twelve bits of the mode.
    pub permissions: u16,
    pub links: u32,
    pub user: u32,
    pub group: u32,
    pub size: u64,
    /// Units of 512 bytes; holes have none.
    pub blocks: u64,
    pub accessed: Time,
    pub modified: Time,
    /// ctime.
    pub changed: Time,
    pub device: (u32, u32),
}

impl Stat {
    // The fields' widths differ between machines.
    #[allow(clippy::unnecessary_cast)]
    pub fn of(raw: &rustix::fs::Stat, file_system: u32) -> Self {
        let time = |seconds, nanoseconds| Time { seconds, nanoseconds: nanoseconds as u32 };
        Self {
            number: Number { file_system, inode: raw.st_ino },
            kind: Kind::from(FileType::from_raw_mode(raw.st_mode)),
            permissions: (raw.st_mode & 0o7777) as u16,
            links: u32::try_from(raw.st_nlink).unwrap_or(u32::MAX),
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

    /// A tar knows one time only.
    pub fn in_tree(tree: &Index, id: Id) -> Result<Self, index::Error> {
        let inode = tree.inode(id);
        let (links, size, stored) = match inode.kind() {
            Kind::Directory => (1, DIRECTORY_SIZE, 0),
            Kind::File if inode.is_sparse() => (inode.nlink(), inode.size(), tree.content(id)?.stored()),
            Kind::File => (inode.nlink(), inode.size(), inode.size()),
            _ => (inode.nlink(), inode.size(), 0),
        };
        Ok(Self {
            number: Number::in_image(id),
            kind: inode.kind(),
            permissions: inode.mode(),
            links,
            user: inode.uid(),
            group: inode.gid(),
            size,
            blocks: stored.div_ceil(BLOCK),
            accessed: inode.mtime(),
            modified: inode.mtime(),
            changed: inode.mtime(),
            device: inode.rdev(),
        })
    }

    /// Overlayfs's whiteout, for an object of the same name in the layers below.
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::CharDevice && self.device == (0, 0)
    }
}
