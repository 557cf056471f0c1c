//! Moving objects of the upper. Whatever is moved was copied up before, a directory with all that shows in it.

use rustix::fs::{AtFlags, RenameFlags, XattrFlags};
use rustix::io::Errno;

use super::private::Mark;
use super::stage::{Naming, Stage};
use super::whiteout::Form;
use super::{At, Below, Dir, Error, Result, Times, Upper, What};
use crate::layer::Kind;
use crate::sys::xattr;

/// A rename, decided: permissions and kinds were checked against what shows.
pub struct Rename<'a> {
    pub from: Source<'a>,
    pub to: (&'a Dir, &'a [u8]),
    pub target: Target,
}

#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub parent: &'a Dir,
    pub name: &'a [u8],
    /// Below its old name.
    pub below: Below,
    pub moved: Moved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Anything but a directory.
    Other,
    /// A directory that hides nothing, going where nothing is to be hidden.
    Directory,
    /// A directory that has to hide what is below its new name.
    OpaqueDirectory,
    /// A directory that was merged: everything in it was copied up, and it may hold whiteouts.
    Materialised,
}

/// What the new name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing in the upper.
    Nothing,
    Whiteout,
    /// An object in the upper that is no directory, to be replaced.
    Other,
    /// A directory in the upper that shows no entries, to be replaced.
    Directory,
    /// RENAME_EXCHANGE with an object of the upper.
    Exchange(Moved),
}

type Name<'a> = (&'a Dir, &'a [u8]);

impl Upper {
    pub fn rename(&self, rename: &Rename<'_>) -> Result<()> {
        let Rename { from, to, target } = rename;
        let source = (from.parent, from.name);
        self.set_opaque(from.parent, from.name, from.moved)?;
        self.prepare_name(source, *to)?;
        match (target, from.moved) {
            (Target::Exchange(moved), _) => {
                self.set_opaque(to.0, to.1, *moved)?;
                self.prepare_name(*to, source)?;
                exchange(source, *to)?;
            }
            (Target::Whiteout, Moved::Directory | Moved::OpaqueDirectory | Moved::Materialised) => {
                self.rename_over_whiteout(from, *to)?;
            }
            (Target::Directory, _) => self.rename_over_directory(from, *to)?,
            (Target::Nothing | Target::Whiteout | Target::Other, _) => self.leave(from, *to)?,
        }
        self.changed(from.parent)?;
        self.changed(to.0)
    }

    /// Makes a directory hide the lower ones of its name. What was in them and shows was copied up before.
    pub fn set_opaque(&self, parent: &Dir, name: &[u8], moved: Moved) -> Result<()> {
        match moved {
            Moved::Other | Moved::Directory => return Ok(()),
            Moved::OpaqueDirectory => {}
            Moved::Materialised => self.expect_whiteouts(parent, name)?,
        }
        if self.mark(parent, name, Mark::Opaque)?.as_deref() == Some(b"y") {
            return Ok(());
        }
        self.set_mark(At::Name(parent, name), Kind::Directory, Mark::Opaque, b"y")
    }

    /// The kernel looks for whiteouts to hide only in directories that are merged or have an origin.
    fn expect_whiteouts(&self, parent: &Dir, name: &[u8]) -> Result<()> {
        if self.mark(parent, name, Mark::Origin)?.is_some() {
            return Ok(());
        }
        self.set_mark(At::Name(parent, name), Kind::Directory, Mark::Origin, b"")
    }

    /// Renames, leaving a whiteout where something would show through.
    fn leave(&self, from: &Source<'_>, to: Name<'_>) -> Result<()> {
        let rename = |flags| rustix::fs::renameat_with(from.parent, from.name, to.0, to.1, flags);
        match (from.below, self.abilities.whiteouts) {
            (Below::Nothing, _) => rename(RenameFlags::empty())?,
            (Below::Something, Form::Device) if self.abilities.rename_whiteout => {
                rename(RenameFlags::WHITEOUT)?;
            }
            (Below::Something, Form::Device) => {
                // Made before, so that nothing can be missing after.
                let whiteout = self.stage_whiteout()?;
                let record = self.record_whiteout(from.parent, from.name)?;
                let renamed = rename(RenameFlags::empty()).map_err(Error::from);
                let hidden = renamed.and_then(|()| whiteout.publish(from.parent, from.name));
                record.drop_now()?;
                hidden?;
            }
            // Beside its marker the object shows until it goes.
            (Below::Something, Form::Marker) => {
                self.white_out(from.parent, from.name)?;
                rename(RenameFlags::empty())?;
            }
        }
        Ok(())
    }

    /// A directory cannot replace a device, so they change places; the whiteout is then where it is needed, or is not.
    fn rename_over_whiteout(&self, from: &Source<'_>, to: Name<'_>) -> Result<()> {
        if to.0.find(to.1)?.is_none() {
            return self.leave(from, to);
        }
        if from.below == Below::Nothing {
            self.expect_whiteouts(from.parent, b".")?;
        }
        exchange((from.parent, from.name), to)?;
        if from.below == Below::Nothing {
            rustix::fs::unlinkat(from.parent, from.name, AtFlags::empty())?;
        }
        Ok(())
    }

    fn rename_over_directory(&self, from: &Source<'_>, to: Name<'_>) -> Result<()> {
        match self.leave(from, to) {
            Err(error) if matches!(error.errno(), Errno::NOTEMPTY | Errno::EXIST) => {
                self.stage_emptied(to)?.exchange(to.0, to.1)?;
                self.leave(from, to)
            }
            left => left,
        }
    }

    /// A copy of a directory that shows no entries, with none, not even whiteouts.
    fn stage_emptied(&self, old: Name<'_>) -> Result<Stage<'_>> {
        let stat = old.0.stat(old.1)?;
        let stage = self.stage(&What::Directory, stat.permissions, Naming::Named)?;
        let at = stage.at();
        self.set_owner(at, Some(stat.user), Some(stat.group))?;
        self.set_mode(at, stat.permissions)?;
        self.copy_stored_xattrs(At::Name(old.0, old.1), at)?;
        self.set_mark(at, Kind::Directory, Mark::Opaque, b"y")?;
        self.set_times(at, Times::Set(stat.accessed), Times::Set(stat.modified))?;
        Ok(stage)
    }

    /// As they are stored, private ones too.
    fn copy_stored_xattrs(&self, from: At<'_>, to: At<'_>) -> Result<()> {
        let names = xattr::list(from.place())?;
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            if let Some(value) = xattr::get(from.place(), name)? {
                xattr::set(to.place(), name, &value, XattrFlags::empty())?;
            }
        }
        Ok(())
    }
}

fn exchange(one: Name<'_>, other: Name<'_>) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(one.0, one.1, other.0, other.1, RenameFlags::EXCHANGE)
}
