//! Copying a lower object up.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::finish::Finish;
use super::private::Mark;
use super::stage::{Naming, Stage};
use super::{At, Dir, Elsewhere, Error, Number, Object, Origin, Policy, Result, Times, Upper, origin};
use crate::layer::{Kind, Time};
use crate::lower::Stat;
use crate::stats::{self, Counter};
use crate::sys::copy::{self, Copied};

/// A lower object, to be copied to the upper.
pub struct Original<'a> {
    pub what: What<'a>,
    /// Of a regular file.
    pub data: Data<'a>,
    pub permissions: u16,
    pub user: u32,
    pub group: u32,
    pub accessed: Time,
    pub modified: Time,
    /// As a user sees them.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    pub origin: Origin<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    Directory,
    File,
    Symlink(&'a [u8]),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Socket,
}

/// The content of a copied-up file.
pub enum Data<'a> {
    /// None, or it is about to be truncated.
    Empty,
    /// Of an open file: cloned, or copied with its holes.
    File(BorrowedFd<'a>),
    Read(Reader<'a>),
    /// It stays in the lower file, which has this path from the lower root, until [`Upper::fill`].
    Later {
        size: u64,
        path: &'a [u8],
    },
}

/// Reads up to `length` bytes at an offset and gives them to the function, once.
pub type Read<'a> = dyn Fn(u64, u32, &mut dyn FnMut(&[u8])) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>
    + 'a;

pub struct Reader<'a> {
    pub size: u64,
    /// Where there is data, as offset and length; `None` for a file without holes.
    pub extents: Option<&'a [(u64, u64)]>,
    pub read: &'a Read<'a>,
}

/// What is read of a lower file at once.
const PIECE: u64 = 1 << 20;

impl What<'_> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Directory => Kind::Directory,
            Self::File => Kind::File,
            Self::Symlink(_) => Kind::Symlink,
            Self::CharDevice(..) => Kind::CharDevice,
            Self::BlockDevice(..) => Kind::BlockDevice,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
        }
    }
}

/// Whether the kernel is told the origin: two names of one origin would show one inode number for two inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    One,
    Several,
}

impl Upper {
    /// Makes the object in the upper, where `name` must be absent. The parent keeps its times.
    pub fn copy_up(&self, parent: &Dir, name: &[u8], original: &Original<'_>) -> Result<Object> {
        let stage = self.stage_original(original, Names::One, Naming::UnnamedIfPossible)?;
        self.allow_name(stage.at(), stage.kind, name)?;
        let before = self.expect_copy(parent)?;
        stage.publish(parent, name)?;
        self.after_copy(parent, &before);
        self.changed(parent)?;
        self.copied(parent, name, original)
    }

    /// The copy, finished in every attribute, and safe from a power cut where its content was written.
    pub(super) fn stage_original(
        &self,
        original: &Original<'_>,
        names: Names,
        naming: Naming,
    ) -> Result<Stage<'_>> {
        let stage = self.stage(&original.what, original.permissions, naming)?;
        let copied = match stage.file() {
            Some(file) => self.write(file.as_fd(), &original.data)?,
            None => Copied::Cloned,
        };
        self.finish(&stage, &self.finish_of(original, names)?)?;
        if copied == Copied::Written && self.policy == Policy::Auto {
            stage.order()?;
        }
        Ok(stage)
    }

    fn finish_of<'a>(&self, original: &Original<'a>, names: Names) -> Result<Finish<'a>> {
        let mut marks = vec![(Mark::Number, origin::encode_number(&original.origin))];
        if names == Names::One || original.what == What::Directory {
            marks.push((Mark::Origin, origin::encode(&original.origin)));
        }
        if let Data::Later { path, .. } = original.data {
            marks = self.wait(&original.origin, marks, path)?;
        }
        Ok(Finish {
            user: original.user,
            group: original.group,
            permissions: original.permissions,
            xattrs: original.xattrs,
            marks,
            times: Some((original.accessed, original.modified)),
        })
    }

    pub(super) fn write(&self, to: BorrowedFd<'_>, data: &Data<'_>) -> Result<Copied> {
        match data {
            Data::Empty => Ok(Copied::Cloned),
            Data::Later { size, .. } => {
                rustix::fs::ftruncate(to, *size)?;
                Ok(Copied::Cloned)
            }
            Data::File(from) => {
                stats::count(Counter::BytesCopiedUp, rustix::fs::fstat(from)?.st_size as u64);
                Ok(copy::content(*from, to)?)
            }
            Data::Read(reader) => {
                stats::count(Counter::BytesCopiedUp, reader.size);
                rustix::fs::ftruncate(to, reader.size)?;
                reader.copy_to(to)?;
                Ok(if reader.size == 0 { Copied::Cloned } else { Copied::Written })
            }
        }
    }

    /// Tells the kernel, and our own listings, that the directory will have an entry with an origin.
    pub(super) fn expect_copy(&self, parent: &Dir) -> Result<Stat> {
        self.mark_impure(parent)?;
        Ok(parent.stat(b".")?)
    }

    pub(super) fn mark_impure(&self, parent: &Dir) -> Result<()> {
        if self.mark(parent, b".", Mark::Impure)?.is_none() {
            self.set_mark(At::Name(parent, b"."), Kind::Directory, Mark::Impure, b"y")?;
        }
        Ok(())
    }

    /// The copy is there already, so that a failure here is none of the caller's.
    pub(super) fn after_copy(&self, parent: &Dir, before: &Stat) {
        self.note_unsynced(before.number.inode);
        let at = At::Name(parent, b".");
        if let Err(error) = self.set_times(at, Times::Set(before.accessed), Times::Set(before.modified)) {
            log::warn!("restoring the times of directory {} of the upper: {error}", before.number.inode);
        }
    }

    pub(super) fn copied(&self, parent: &Dir, name: &[u8], original: &Original<'_>) -> Result<Object> {
        let Origin { file_system, inode, .. } = original.origin;
        Ok(Object {
            stat: parent.stat(name)?,
            number: Number::Lower { file_system, inode },
            opaque: false,
            implicit: false,
            redirect: None,
            unfilled: match original.data {
                Data::Later { path, .. } => Some(Elsewhere::Path(path.to_vec())),
                _ => None,
            },
        })
    }
}

impl Reader<'_> {
    /// Writes the extents, and nothing between them.
    pub(super) fn copy_to(&self, to: BorrowedFd<'_>) -> Result<()> {
        let whole = [(0, self.size)];
        for &(start, length) in self.extents.unwrap_or(&whole) {
            self.copy(to, start, start.saturating_add(length).min(self.size))?;
        }
        Ok(())
    }

    fn copy(&self, to: BorrowedFd<'_>, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        while at < end {
            let length = (end - at).min(PIECE) as u32;
            let mut written = Ok(0);
            (self.read)(at, length, &mut |bytes| {
                written = copy::write_at(to, bytes, at).map(|()| bytes.len() as u64);
            })
            .map_err(Error::while_doing(|| format!("reading {length} bytes at {at} of the lower file")))?;
            match written? {
                0 => return Err(Errno::IO.into()),
                count => at += count,
            }
        }
        Ok(())
    }
}
