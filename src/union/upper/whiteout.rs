//! Whiteouts: how a name of the upper hides the lower object of that name.

use parking_lot::Mutex;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::private::Mark;
use super::stage::Stage;
use super::{At, Dir, Result, Upper, View};
use crate::layer::Kind;
use crate::lower::Stat;
use crate::union::NAME_MAX;

pub(super) const MARKER: &[u8] = b".wh.";
pub(super) const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// How whiteouts are written here. All forms are read everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Character devices 0/0, as the kernel has them.
    Device,
    /// An empty file `.wh.NAME`, where no device can be made. A file beside its marker shows, and a directory is opaque.
    Marker,
}

/// The one whiteout in `work`, by its name there, that others are links of.
#[derive(Default)]
pub(super) struct Shared(Mutex<Option<Vec<u8>>>);

impl Upper {
    /// Hides the lower object of a name that the upper has not, or, with markers, is about to lose.
    pub(super) fn white_out(&self, parent: &Dir, name: &[u8]) -> Result<()> {
        match self.abilities.whiteouts {
            Form::Device => Ok(self.make_whiteout(parent, name)?),
            Form::Marker => self.make_marker(parent, name),
        }
    }

    /// A whiteout that can take the place of something.
    pub(super) fn stage_whiteout(&self) -> Result<Stage<'_>> {
        let name = self.staging.next();
        self.make_whiteout(&self.work, &name)?;
        Ok(Stage::of(self, name, Kind::CharDevice))
    }

    /// A link is cheaper than an inode. Where no link can be made, or no more of them, a new whiteout is.
    fn make_whiteout(&self, parent: &Dir, name: &[u8]) -> rustix::io::Result<()> {
        let mut shared = self.whiteouts.0.lock();
        if shared.is_none() {
            let fresh = self.staging.next();
            mknod(&self.work, &fresh)?;
            *shared = Some(fresh);
        }
        let source = shared.as_deref().unwrap_or_default();
        match rustix::fs::linkat(&self.work, source, parent, name, AtFlags::empty()) {
            Err(Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOENT) => {
                *shared = None;
                mknod(parent, name)
            }
            linked => linked,
        }
    }

    fn make_marker(&self, parent: &Dir, name: &[u8]) -> Result<()> {
        let marker = [MARKER, name].concat();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, &marker, flags, Mode::empty()) {
            Err(Errno::EXIST) if self.is_marked(parent, name)? => Ok(()),
            made => Ok(made.map(drop)?),
        }
    }
}

impl View {
    /// Whether a file `.wh.NAME` hides the lower `name`.
    pub(super) fn is_marked(&self, parent: &Dir, name: &[u8]) -> Result<bool> {
        if MARKER.len() + name.len() > NAME_MAX {
            return Ok(false);
        }
        let marker = [MARKER, name].concat();
        match parent.find(&marker)? {
            Some(stat) => self.is_marker(parent, &marker, &stat),
            None => Ok(false),
        }
    }

    /// Whether the object called `name` is a marker and not a file that a user gave such a name.
    pub(super) fn is_marker(&self, parent: &Dir, name: &[u8], stat: &Stat) -> Result<bool> {
        let could = name.starts_with(MARKER) && stat.kind == Kind::File && stat.size == 0;
        Ok(could && !self.marks(At::Name(parent, name))?.has(Mark::Literal))
    }
}

pub(super) fn mknod(parent: &Dir, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
}
