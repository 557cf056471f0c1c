//! Owner, mode and times of an object that is in the upper already.

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};

use rustix::io::Errno;

use super::{At, Result, Upper};
use crate::layer::Time;
use crate::sys::file::path_of;

/// What becomes of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Keep,
    Now,
    Set(Time),
}

impl Times {
    fn raw(self) -> Timespec {
        match self {
            Self::Keep => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
            Self::Now => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ },
            Self::Set(time) => Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds as _ },
        }
    }
}

pub(super) fn timestamps(accessed: Times, modified: Times) -> Timestamps {
    Timestamps { last_access: accessed.raw(), last_modification: modified.raw() }
}

impl Upper {
    /// Not for symlinks: they have no mode of their own.
    pub fn set_mode(&self, at: At<'_>, permissions: u16) -> Result<()> {
        let mode = Mode::from_raw_mode(permissions.into());
        match at {
            At::Name(parent, name) => rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?,
            At::Open(file) => match rustix::fs::fchmod(file, mode) {
                // It is open as a place only.
                Err(Errno::BADF) => rustix::fs::chmod(path_of(file), mode)?,
                changed => changed?,
            },
        }
        Ok(())
    }

    pub fn set_owner(&self, at: At<'_>, user: Option<u32>, group: Option<u32>) -> Result<()> {
        let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
        match at {
            At::Name(parent, name) => {
                rustix::fs::chownat(parent, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            At::Open(file) => rustix::fs::chownat(file, "", user, group, AtFlags::EMPTY_PATH)?,
        }
        Ok(())
    }

    pub fn set_times(&self, at: At<'_>, accessed: Times, modified: Times) -> Result<()> {
        let times = timestamps(accessed, modified);
        match at {
            At::Name(parent, name) => {
                rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            At::Open(file) => match rustix::fs::futimens(file, &times) {
                Err(Errno::BADF) => rustix::fs::utimensat(file, "", &times, AtFlags::EMPTY_PATH)?,
                changed => changed?,
            },
        }
        Ok(())
    }
}
