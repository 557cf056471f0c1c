//! Giving a staged object its owner, mode, attributes and times, in the order in which none takes another away.

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::private::Mark;
use super::stage::Stage;
use super::{At, Result, Times, Upper};
use crate::layer::Kind;
use crate::layer::Time;
use crate::sys::xattr;

pub(super) struct Finish<'a> {
    pub user: u32,
    pub group: u32,
    pub permissions: u16,
    /// As a user sees them.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    pub marks: Vec<(Mark, Vec<u8>)>,
    /// Accessed and modified; now, when not given.
    pub times: Option<(Time, Time)>,
}

const CAPABILITY: &[u8] = b"security.capability";

impl Upper {
    /// The object was staged with the permissions it is to have.
    pub(super) fn finish(&self, stage: &Stage<'_>, finish: &Finish<'_>) -> Result<()> {
        let (at, kind) = (stage.at(), stage.kind);
        self.finish_owner(at, finish)?;
        let made = finish.permissions & 0o777 & !self.abilities.umask;
        if kind != Kind::Symlink && made != finish.permissions {
            self.set_mode(at, finish.permissions)?;
        }
        let is_capability = |name: &[u8]| name == CAPABILITY;
        for (name, value) in finish.xattrs.iter().filter(|(name, _)| !is_capability(name)) {
            self.finish_xattr(at, kind, name, value)?;
        }
        for (mark, value) in &finish.marks {
            self.set_mark(at, kind, *mark, value)?;
        }
        for (name, value) in finish.xattrs.iter().filter(|(name, _)| is_capability(name)) {
            self.finish_xattr(at, kind, name, value)?;
        }
        match finish.times {
            Some((accessed, modified)) => self.set_times(at, Times::Set(accessed), Times::Set(modified)),
            None => Ok(()),
        }
    }

    fn finish_owner(&self, at: At<'_>, finish: &Finish<'_>) -> Result<()> {
        if (finish.user, finish.group) == (self.abilities.user, self.abilities.group) {
            return Ok(());
        }
        match self.set_owner(at, Some(finish.user), Some(finish.group)) {
            // The id has no place in this user namespace.
            Err(error) if error.errno() == Errno::INVAL => Err(Errno::OVERFLOW.into()),
            owned => owned,
        }
    }

    fn finish_xattr(&self, at: At<'_>, kind: Kind, name: &[u8], value: &[u8]) -> Result<()> {
        match xattr::set(at.place(), &self.namespace.escape(name), value, XattrFlags::empty()) {
            Err(errno) if may_be_lost(kind, name, errno) => Ok(()),
            set => Ok(set?),
        }
    }

    /// In the namespace `user`, only regular files and directories can have private attributes.
    pub(super) fn set_mark(&self, at: At<'_>, kind: Kind, mark: Mark, value: &[u8]) -> Result<()> {
        match xattr::set(at.place(), &self.namespace.name(mark), value, XattrFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP) if !can_have_user_attributes(kind) => Ok(()),
            set => Ok(set?),
        }
    }
}

fn can_have_user_attributes(kind: Kind) -> bool {
    matches!(kind, Kind::File | Kind::Directory)
}

fn may_be_lost(kind: Kind, name: &[u8], errno: Errno) -> bool {
    let matters = name == CAPABILITY || name.starts_with(b"system.posix_acl_");
    match errno {
        Errno::OPNOTSUPP => !matters,
        Errno::PERM => name.starts_with(b"user.") && !can_have_user_attributes(kind),
        _ => false,
    }
}
