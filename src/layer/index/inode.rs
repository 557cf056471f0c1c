//! What an index has of one inode, read where it lies.

use std::ops::Range;

use super::format::{self, InodeRecord, NONE, high, low};
use super::{Id, Kind, Time};

/// The attributes of one inode.
#[derive(Clone, Copy)]
pub struct Inode<'a> {
    pub(in crate::layer) record: &'a InodeRecord,
}

impl Inode<'_> {
    pub fn kind(&self) -> Kind {
        self.record.kind()
    }

    /// The twelve permission bits.
    pub fn mode(&self) -> u16 {
        self.record.mode.get()
    }

    pub fn uid(&self) -> u32 {
        self.record.uid.get()
    }

    pub fn gid(&self) -> u32 {
        self.record.gid.get()
    }

    /// How many names it has in this tree; a directory: two and its subdirectories.
    pub fn nlink(&self) -> u32 {
        self.record.nlink.get()
    }

    /// Of a file its bytes, of a link the length of its target, else 0.
    pub fn size(&self) -> u64 {
        match self.kind() {
            Kind::File | Kind::Symlink | Kind::LowerLink => self.record.first.get(),
            _ => 0,
        }
    }

    pub fn mtime(&self) -> Time {
        Time { seconds: self.record.seconds.get(), nanoseconds: self.record.nanoseconds.get() }
    }

    /// A device's major and minor number; of anything else they are 0.
    pub fn rdev(&self) -> (u32, u32) {
        match self.kind() {
            Kind::CharDevice | Kind::BlockDevice => (low(self.record.first), high(self.record.first)),
            _ => (0, 0),
        }
    }

    /// Nothing of the layers below shows in this directory.
    pub fn is_opaque(&self) -> bool {
        self.record.flags & format::OPAQUE != 0
    }

    /// The layer has names below this directory and no entry for itself: its attributes are those of a lower layer,
    /// if there is one that has it.
    pub fn is_implicit(&self) -> bool {
        self.record.flags & format::IMPLICIT != 0
    }

    /// An implicit directory with nothing but whiteouts and opaque markers in and below it.
    pub fn is_marker_only(&self) -> bool {
        self.record.flags & format::MARKER_ONLY != 0
    }

    /// Entries before it led through its name, as through a directory: where they went, the layers below tell.
    pub fn is_late(&self) -> bool {
        self.record.flags & format::LATE != 0
    }

    /// In a merged tree, which of its layers the inode is of.
    pub fn layer(&self) -> u16 {
        self.record.layer.get()
    }

    /// In a merged tree, the inode's number in the index of [`Inode::layer`].
    pub fn origin(&self) -> Id {
        self.record.origin.get()
    }

    /// The directory that a directory is in, the root's is itself; of anything else it is 0.
    pub fn parent(&self) -> Id {
        match self.kind() {
            Kind::Directory => low(self.record.second),
            _ => 0,
        }
    }

    /// Whether it is a file with holes.
    pub fn is_sparse(&self) -> bool {
        self.kind() == Kind::File && self.record.extents.get() != NONE
    }

    /// Whether it has extended attributes.
    pub fn has_xattrs(&self) -> bool {
        self.record.xattrs.get() != NONE
    }

    pub(super) fn entries(&self) -> Range<usize> {
        match self.kind() {
            Kind::Directory => {
                let first = low(self.record.first) as usize;
                first..first + high(self.record.first) as usize
            }
            _ => 0..0,
        }
    }
}
