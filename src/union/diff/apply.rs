//! Changes made in a directory that is as the lower side is: it becomes as the upper shows it. Files are replaced whole,
//! and directories get their attributes last. Cut short, it can be done again: what is done is not looked at.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use super::content::Number;
use super::{Change, Changed, Diff, Facts, Print, What};
use crate::layer::{Kind, scan};
use crate::sys::beneath;
use crate::sys::xattr::{self, Place};
use crate::union::{Errno, Error, Result};

/// Whose the files are that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// Theirs that the facts name.
    Kept,
    /// The caller's.
    Callers,
}

/// What a file is called until it is whole.
const STAGED: &[u8] = b".plyfs-apply";

struct Apply {
    root: OwnedFd,
    making: Making,
    named: HashMap<Number, Vec<u8>>,
    /// To be given their attributes, those above first.
    directories: Vec<(Vec<u8>, Facts)>,
}

/// Where a change is made.
struct Spot<'a> {
    parent: OwnedFd,
    name: &'a [u8],
}

/// Makes the changes in `directory`, on disk when it returns.
pub fn apply(diff: &Diff, directory: &Path, making: Making) -> Result<Print> {
    let root = beneath::root(directory).map_err(|error| Error::Fault {
        doing: format!("opening {}", directory.display()),
        source: Box::new(error),
    })?;
    let mut apply = Apply { root, making, named: HashMap::new(), directories: Vec::new() };
    let print = diff.walk(&mut |change| apply.change(change))?;
    let directories = std::mem::take(&mut apply.directories);
    for (path, facts) in directories.iter().rev() {
        let opened = apply.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        apply.describe(&File::from(opened), facts)?;
    }
    fs::syncfs(apply.open(b"", OFlags::RDONLY | OFlags::DIRECTORY)?)?;
    Ok(print)
}

impl Apply {
    fn change(&mut self, change: &Change<'_>) -> Result<()> {
        let changed = match change.what {
            What::Deleted(_) => return remove(&self.spot(change.path)?),
            What::Emptied => return self.empty(change.path),
            What::Added(changed) | What::Changed(changed) => changed,
        };
        match changed.facts.kind {
            Kind::Directory => self.directory(change.path, changed.facts),
            Kind::Socket | Kind::Whiteout | Kind::LowerLink => {
                log::warn!("/{}: a socket is not copied; left out", change.path.escape_ascii());
                Ok(())
            }
            _ => self.leaf(change.path, &changed),
        }
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let path = Path::new(OsStr::from_bytes(path));
        Ok(beneath::open(self.root.as_fd(), path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC)?)
    }

    fn spot<'a>(&self, path: &'a [u8]) -> Result<Spot<'a>> {
        let (directory, name) = super::export::split(path);
        Ok(Spot { parent: self.open(directory, OFlags::PATH | OFlags::DIRECTORY)?, name })
    }

    fn empty(&self, path: &[u8]) -> Result<()> {
        let directory = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        for entry in fs::Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                remove(&Spot { parent: self.open(path, OFlags::PATH | OFlags::DIRECTORY)?, name })?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: &[u8], facts: &Facts) -> Result<()> {
        self.directories.push((path.to_vec(), facts.clone()));
        if path.is_empty() {
            return Ok(());
        }
        let spot = self.spot(path)?;
        if kind(&spot)? == Some(FileType::Directory) {
            return Ok(());
        }
        remove(&spot)?;
        Ok(fs::mkdirat(&spot.parent, spot.name, Mode::RWXU)?)
    }

    /// Made beside what it replaces.
    fn leaf(&mut self, path: &[u8], changed: &Changed<'_>) -> Result<()> {
        let spot = self.spot(path)?;
        let staged = Spot { parent: spot.parent.try_clone().map_err(answer)?, name: STAGED };
        remove(&staged)?;
        let number = if changed.facts.links > 1 { changed.content.number()? } else { None };
        match number.and_then(|number| self.named.get(&number)) {
            Some(first) => {
                let first = self.spot(first)?;
                fs::linkat(&first.parent, first.name, &staged.parent, STAGED, AtFlags::empty())?;
            }
            None => self.make(&staged, changed)?,
        }
        if kind(&spot)? == Some(FileType::Directory) {
            remove(&spot)?;
        }
        fs::renameat(&staged.parent, STAGED, &spot.parent, spot.name)?;
        // A rename onto another name of the same file does nothing.
        remove(&staged)?;
        if let Some(number) = number {
            self.named.entry(number).or_insert_with(|| path.to_vec());
        }
        Ok(())
    }

    fn make(&self, at: &Spot<'_>, changed: &Changed<'_>) -> Result<()> {
        let (facts, private) = (changed.facts, Mode::RUSR | Mode::WUSR);
        let node = |file_type, (major, minor)| {
            fs::mknodat(&at.parent, at.name, file_type, private, fs::makedev(major, minor))
        };
        match facts.kind {
            Kind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mut file = File::from(fs::openat(&at.parent, at.name, flags, private)?);
                changed.read(&mut |bytes| file.write_all(bytes).map_err(answer))?;
                return self.describe(&file, facts);
            }
            Kind::Symlink => fs::symlinkat(facts.target.as_slice(), &at.parent, at.name)?,
            Kind::CharDevice => node(FileType::CharacterDevice, facts.device)?,
            Kind::BlockDevice => node(FileType::BlockDevice, facts.device)?,
            _ => node(FileType::Fifo, (0, 0))?,
        }
        self.describe_by_name(at, facts)
    }

    /// Owner before mode, for a change of owner takes the set-id bits away; the time last.
    fn describe(&self, file: &File, facts: &Facts) -> Result<()> {
        if self.making == Making::Kept {
            fs::fchown(file, Some(Uid::from_raw(facts.user)), Some(Gid::from_raw(facts.group)))?;
        }
        fs::fchmod(file, Mode::from_raw_mode(facts.permissions.into()))?;
        set_xattrs(Place::Open(file.as_fd()), facts)?;
        Ok(fs::futimens(file, &times(facts))?)
    }

    /// Of what can't be opened.
    fn describe_by_name(&self, at: &Spot<'_>, facts: &Facts) -> Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.making == Making::Kept {
            let (user, group) = (Uid::from_raw(facts.user), Gid::from_raw(facts.group));
            fs::chownat(&at.parent, at.name, Some(user), Some(group), flags)?;
        }
        if facts.kind != Kind::Symlink {
            let mode = Mode::from_raw_mode(facts.permissions.into());
            // The name was made above, and is no symlink.
            fs::chmodat(&at.parent, at.name, mode, AtFlags::empty())?;
        }
        Ok(fs::utimensat(&at.parent, at.name, &times(facts), flags)?)
    }
}

/// What a user may not set, or a file system has no place for, is no reason to have no file.
fn set_xattrs(place: Place<'_>, facts: &Facts) -> Result<()> {
    let present = match xattr::list(place) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        present => present?,
    };
    for name in present.split(|&byte| byte == 0).filter(|name| scan::keeps_xattr(name)) {
        if !facts.xattrs.iter().any(|(kept, _)| kept == name) {
            xattr::remove(place, name)?;
        }
    }
    for (name, value) in &facts.xattrs {
        match xattr::set(place, name, value, XattrFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP) => {
                log::info!("extended attribute {} is left out", name.escape_ascii());
            }
            set => set?,
        }
    }
    Ok(())
}

fn times(facts: &Facts) -> Timestamps {
    let modified = Timespec { tv_sec: facts.modified.seconds, tv_nsec: facts.modified.nanoseconds as _ };
    Timestamps { last_access: modified, last_modification: modified }
}

fn kind(spot: &Spot<'_>) -> Result<Option<FileType>> {
    match fs::statat(&spot.parent, spot.name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        stat => Ok(Some(FileType::from_raw_mode(stat?.st_mode))),
    }
}

/// Whatever it is, and all that is in it.
fn remove(spot: &Spot<'_>) -> Result<()> {
    match kind(spot)? {
        None => Ok(()),
        Some(FileType::Directory) => {
            let parent = PathBuf::from(format!("/proc/self/fd/{}", spot.parent.as_raw_fd()));
            std::fs::remove_dir_all(parent.join(OsStr::from_bytes(spot.name))).map_err(answer)
        }
        Some(_) => Ok(fs::unlinkat(&spot.parent, spot.name, AtFlags::empty())?),
    }
}

fn answer(error: std::io::Error) -> Error {
    Error::Answer(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
