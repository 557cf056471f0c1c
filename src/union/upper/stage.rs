//! Objects that are made in `work`, out of sight, and then get their name in the upper in one step. What is not
//! published, or was exchanged for something, is removed.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{At, Dir, Policy, Result, Upper, What};
use crate::layer::Kind;
use crate::sys::file::path_of;
use crate::sys::order;

/// Names for what is staged. The directory is ours alone and empty at the start, so that counting is enough.
#[derive(Default)]
pub(super) struct Names(AtomicU64);

impl Names {
    pub(super) fn next(&self) -> Vec<u8> {
        format!("#{:x}", self.0.fetch_add(1, Ordering::Relaxed)).into_bytes()
    }
}

/// Whether a staged regular file needs a name in `work`: only a named one can take the place of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Named,
    UnnamedIfPossible,
}

pub(super) struct Stage<'u> {
    upper: &'u Upper,
    /// Its name in `work`, if it has one.
    name: Option<Vec<u8>>,
    /// A regular file is open for reading and writing.
    file: Option<File>,
    pub(super) kind: Kind,
}

impl Upper {
    /// Makes an empty object. Its mode has at most the given bits, and it belongs to whom new files belong.
    pub(super) fn stage(&self, what: &What<'_>, permissions: u16, naming: Naming) -> Result<Stage<'_>> {
        let staged = |name, file| Stage { upper: self, name, file, kind: what.kind() };
        let mode = Mode::from_raw_mode(u32::from(permissions) & 0o777);
        if what.kind() == Kind::File && self.abilities.unnamed && naming != Naming::Named {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&self.work, ".", flags, mode)?;
            return Ok(staged(None, Some(File::from(file))));
        }
        let name = self.staging.next();
        let file = self.work.make(&name, what, mode)?;
        Ok(staged(Some(name), file))
    }

    /// An object of the upper, moved out of sight.
    pub(super) fn take_away(&self, parent: &Dir, name: &[u8]) -> Result<()> {
        let staged = self.staging.next();
        rustix::fs::renameat(parent, name, &self.work, &staged)?;
        self.discard(&staged);
        Ok(())
    }

    /// Removes what is in `work`, and whatever is in it. It is out of sight already: what stays, the next mount removes.
    pub(super) fn discard(&self, name: &[u8]) {
        if let Err(errno) = discard(&self.work, name, &self.staging) {
            log::warn!("removing {} from the work directory: {errno}", String::from_utf8_lossy(name));
        }
    }
}

/// Directories inside are moved up before they are emptied, so that no depth is too deep.
pub(super) fn discard(work: &Dir, name: &[u8], names: &Names) -> rustix::io::Result<()> {
    let mut waiting = vec![name.to_vec()];
    while let Some(name) = waiting.pop() {
        match rustix::fs::unlinkat(work, &name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            removed => {
                removed?;
                continue;
            }
        }
        match rustix::fs::unlinkat(work, &name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => waiting.extend(hollow(work, name, names)?),
            removed => removed?,
        }
    }
    Ok(())
}

/// Removes what a directory holds; the directories in it are moved up, to be removed later, and it after them.
fn hollow(work: &Dir, name: Vec<u8>, names: &Names) -> rustix::io::Result<Vec<Vec<u8>>> {
    let directory = work.open(&name)?;
    let mut moved = vec![name];
    for inside in directory.names()? {
        match rustix::fs::unlinkat(&directory, &inside, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                let up = names.next();
                rustix::fs::renameat_with(&directory, &inside, work, &up, RenameFlags::NOREPLACE)?;
                moved.push(up);
            }
            removed => removed?,
        }
    }
    Ok(moved)
}

impl Dir {
    /// Makes an object; a regular file comes back open.
    pub(super) fn make(&self, name: &[u8], what: &What<'_>, mode: Mode) -> rustix::io::Result<Option<File>> {
        let node = |kind, device| rustix::fs::mknodat(self, name, kind, mode, device);
        match what {
            What::Directory => rustix::fs::mkdirat(self, name, mode)?,
            What::File => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                return Ok(Some(File::from(rustix::fs::openat(self, name, flags, mode)?)));
            }
            What::Symlink(target) => rustix::fs::symlinkat(*target, self, name)?,
            // Such a device would be a whiteout.
            What::CharDevice(0, 0) => return Err(Errno::PERM),
            What::CharDevice(major, minor) => {
                node(FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))?;
            }
            What::BlockDevice(major, minor) => {
                node(FileType::BlockDevice, rustix::fs::makedev(*major, *minor))?;
            }
            What::Fifo => node(FileType::Fifo, 0)?,
            What::Socket => node(FileType::Socket, 0)?,
        }
        Ok(None)
    }
}

impl<'u> Stage<'u> {
    /// For what is in `work` already.
    pub(super) fn of(upper: &'u Upper, name: Vec<u8>, kind: Kind) -> Self {
        Self { upper, name: Some(name), file: None, kind }
    }

    pub(super) fn at(&self) -> At<'_> {
        match (&self.file, &self.name) {
            (Some(file), _) => At::Open(file.as_fd()),
            (None, name) => At::Name(&self.upper.work, name.as_deref().unwrap_or_default()),
        }
    }

    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Makes its content outlive a power cut if its name does.
    pub(super) fn order(&self) -> Result<()> {
        match &self.file {
            Some(file) => Ok(order::before_name(file.as_fd())?),
            None => Ok(()),
        }
    }

    /// Makes its content and attributes outlive a power cut. Only files and directories can be asked for that.
    pub(super) fn sync(&self) -> Result<()> {
        match (&self.file, &self.name) {
            (Some(file), _) => rustix::fs::fsync(file)?,
            (None, Some(name)) if self.kind == Kind::Directory => {
                rustix::fs::fsync(self.upper.work.open(name)?.readable()?)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives it a name that nothing has.
    pub(super) fn publish(mut self, parent: &Dir, name: &[u8]) -> Result<Option<File>> {
        self.prepare()?;
        match (&self.name, &self.file) {
            (Some(staged), _) => rename_new(&self.upper.work, staged, parent, name)?,
            (None, Some(file)) => link_open(file, parent, name)?,
            (None, None) => return Err(Errno::NOENT.into()),
        }
        self.done()
    }

    /// Puts it in the place of what has the name and is no directory.
    pub(super) fn replace(mut self, parent: &Dir, name: &[u8]) -> Result<Option<File>> {
        self.prepare()?;
        let staged = self.name.as_deref().ok_or(Errno::NOENT)?;
        rustix::fs::renameat(&self.upper.work, staged, parent, name)?;
        self.done()
    }

    /// Puts it in the place of whatever has the name, which is removed then.
    pub(super) fn exchange(self, parent: &Dir, name: &[u8]) -> Result<()> {
        self.prepare()?;
        let staged = self.name.as_deref().ok_or(Errno::NOENT)?;
        rustix::fs::renameat_with(&self.upper.work, staged, parent, name, RenameFlags::EXCHANGE)?;
        Ok(())
    }

    /// Open, and without a name: a regular file for reading and writing, a directory for reading, else as a place.
    pub(super) fn into_unnamed(mut self) -> Result<File> {
        let access = if self.kind == Kind::Directory { OFlags::DIRECTORY } else { OFlags::PATH };
        match (self.file.take(), &self.name) {
            (Some(file), _) => Ok(file),
            (None, Some(name)) => {
                let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Ok(File::from(rustix::fs::openat(&self.upper.work, name, flags, Mode::empty())?))
            }
            (None, None) => Err(Errno::NOENT.into()),
        }
    }

    fn prepare(&self) -> Result<()> {
        if self.upper.policy == Policy::Strict { self.sync() } else { Ok(()) }
    }

    fn done(&mut self) -> Result<Option<File>> {
        self.name = None;
        Ok(self.file.take())
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.upper.discard(name);
        }
    }
}

/// Links an open file that may have no name.
pub(super) fn link_open(file: &File, parent: &Dir, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::linkat(CWD, path_of(file), parent, name, AtFlags::SYMLINK_FOLLOW)
}

fn rename_new(from: &Dir, staged: &[u8], to: &Dir, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, staged, to, name, RenameFlags::NOREPLACE) {
        // The file system does not know the flag.
        Err(Errno::INVAL) if to.find(name)?.is_none() => rustix::fs::renameat(from, staged, to, name),
        Err(Errno::INVAL) => Err(Errno::EXIST),
        renamed => renamed,
    }
}
