//! New objects and new names.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::finish::Finish;
use super::private::Mark;
use super::stage::{Naming, Stage, link_open};
use super::whiteout::MARKER;
use super::{At, Dir, Entry, Number, Object, Policy, Result, Upper, What};
use crate::layer::Kind;
use crate::lower::Stat;

/// What the upper has at a name that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Nothing,
    Whiteout,
}

/// An object to be made. The mode is final: no umask is applied, and access lists are among the attributes.
pub struct New<'a> {
    pub what: What<'a>,
    pub permissions: u16,
    pub user: u32,
    pub group: u32,
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    pub over: Over,
}

impl New<'_> {
    fn finish(&self) -> Finish<'_> {
        let marks = match (self.over, self.what) {
            (Over::Whiteout, What::Directory) => vec![(Mark::Opaque, b"y".to_vec())],
            _ => Vec::new(),
        };
        let New { user, group, permissions, xattrs, .. } = *self;
        Finish { user, group, permissions, xattrs, marks, times: None }
    }
}

impl Upper {
    /// Makes an object; a regular file comes back open for reading and writing. A directory made over a whiteout is
    /// opaque.
    pub fn create(&self, parent: &Dir, name: &[u8], new: &New<'_>) -> Result<(Object, Option<File>)> {
        let file = match self.is_right_at_once(parent, name, new)? {
            true => {
                let made = parent.make(name, &new.what, Mode::from_raw_mode(new.permissions.into()))?;
                return self.made_in_place(parent, name, new, made);
            }
            false => self.create_staged(parent, name, new)?,
        };
        self.changed(parent)?;
        Ok((self.made(parent.stat(name)?, new), file))
    }

    /// Whether the file system makes the object just as it is wanted, so that nobody sees it unfinished.
    fn is_right_at_once(&self, parent: &Dir, name: &[u8], new: &New<'_>) -> Result<bool> {
        let is_plain = new.over == Over::Nothing
            && new.xattrs.is_empty()
            && new.permissions & !0o777 == 0
            && (new.permissions & self.abilities.umask == 0 || new.what.kind() == Kind::Symlink)
            && (new.user, new.group) == (self.abilities.user, self.abilities.group)
            && !(name.starts_with(MARKER) && new.what == What::File)
            && self.policy != Policy::Strict;
        Ok(is_plain && parent.stat(b".")?.permissions & 0o2000 == 0)
    }

    fn made_in_place(
        &self,
        parent: &Dir,
        name: &[u8],
        new: &New<'_>,
        file: Option<File>,
    ) -> Result<(Object, Option<File>)> {
        let mut stat = parent.stat(name)?;
        // The parent has a default access list that nobody told us of.
        if stat.permissions != new.permissions && stat.kind != Kind::Symlink {
            self.set_mode(At::Name(parent, name), new.permissions)?;
            stat = parent.stat(name)?;
        }
        Ok((self.made(stat, new), file))
    }

    fn create_staged(&self, parent: &Dir, name: &[u8], new: &New<'_>) -> Result<Option<File>> {
        let naming = match new.over {
            Over::Nothing => Naming::UnnamedIfPossible,
            Over::Whiteout => Naming::Named,
        };
        let stage = self.stage(&new.what, new.permissions, naming)?;
        self.finish(&stage, &new.finish())?;
        self.allow_name(stage.at(), stage.kind, name)?;
        match (new.over, new.what) {
            (Over::Nothing, _) => stage.publish(parent, name),
            (Over::Whiteout, What::Directory) => self.put_directory(stage, parent, name),
            (Over::Whiteout, _) => stage.replace(parent, name),
        }
    }

    /// A whiteout that is only a marker leaves the name free.
    fn put_directory(&self, stage: Stage<'_>, parent: &Dir, name: &[u8]) -> Result<Option<File>> {
        match parent.find(name)? {
            Some(_) => stage.exchange(parent, name).map(|()| None),
            None => stage.publish(parent, name),
        }
    }

    fn made(&self, stat: Stat, new: &New<'_>) -> Object {
        Object {
            number: Number::Upper(stat.number.inode),
            opaque: new.over == Over::Whiteout && new.what == What::Directory,
            implicit: false,
            redirect: None,
            unfilled: None,
            stat,
        }
    }

    /// An object without a name: a regular file open for reading and writing, another one as well as it can be.
    pub fn temporary(&self, new: &New<'_>) -> Result<File> {
        let stage = self.stage(&new.what, new.permissions, Naming::UnnamedIfPossible)?;
        self.finish(&stage, &Finish { marks: Vec::new(), ..new.finish() })?;
        stage.into_unnamed()
    }

    /// Gives a file from [`Upper::temporary`] a name.
    pub fn link_temporary(&self, file: &File, parent: &Dir, name: &[u8], over: Over) -> Result<Object> {
        self.allow_name(At::Open(file.as_fd()), Kind::File, name)?;
        match over {
            Over::Nothing => link_open(file, parent, name)?,
            Over::Whiteout => {
                let staged = self.staging.next();
                link_open(file, &self.work, &staged)?;
                Stage::of(self, staged, Kind::File).replace(parent, name)?;
            }
        }
        self.changed(parent)?;
        self.visible(parent, name)
    }

    /// Another name for an object of the upper that is no directory.
    pub fn link(&self, from: (&Dir, &[u8]), to: (&Dir, &[u8]), over: Over) -> Result<Object> {
        self.prepare_name(from, to)?;
        let link =
            |parent: &Dir, name: &[u8]| rustix::fs::linkat(from.0, from.1, parent, name, AtFlags::empty());
        match over {
            Over::Nothing => link(to.0, to.1)?,
            Over::Whiteout => {
                let staged = self.staging.next();
                link(&self.work, &staged)?;
                Stage::of(self, staged, Kind::File).replace(to.0, to.1)?;
            }
        }
        self.changed(to.0)?;
        self.visible(to.0, to.1)
    }

    /// What has to be said before an object of the upper appears at another place.
    pub(super) fn prepare_name(&self, from: (&Dir, &[u8]), to: (&Dir, &[u8])) -> Result<()> {
        if to.1.starts_with(MARKER) {
            self.allow_name(At::Name(from.0, from.1), from.0.stat(from.1)?.kind, to.1)?;
        }
        if from.0.is(to.0) {
            return Ok(());
        }
        let marks = self.marks(At::Name(from.0, from.1))?;
        if marks.has(Mark::Origin) || marks.has(Mark::Number) { self.mark_impure(to.0) } else { Ok(()) }
    }

    /// A regular file with the name of a marker has to say that it is none, before it has the name.
    pub(super) fn allow_name(&self, at: At<'_>, kind: Kind, name: &[u8]) -> Result<()> {
        match kind {
            Kind::File if name.starts_with(MARKER) => self.set_mark(at, kind, Mark::Literal, b"y"),
            _ => Ok(()),
        }
    }

    fn visible(&self, parent: &Dir, name: &[u8]) -> Result<Object> {
        match self.entry(parent, name)? {
            Entry::Object(object) => Ok(object),
            Entry::Absent | Entry::Whiteout => Err(Errno::NOENT.into()),
        }
    }
}
