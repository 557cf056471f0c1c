//! A subtree as files. Every step is taken by a directory's descriptor and one name, and no symlink is followed, so
//! nothing outside of the target is reached whatever the image holds and whatever was there before.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::Target;
use crate::cli::inside::Inside;
use crate::layer::{Id, Index, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    Kept,
    /// The same, but who has no id in this namespace is nobody, as the kernel would show it.
    Mapped,
    Callers,
}

/// Who owns what belongs to nobody of a namespace.
const NOBODY: u32 = 65534;

/// A directory being filled. Its attributes come last: what is written into it changes its time, and its mode may
/// forbid the writing.
struct Level {
    directory: OwnedFd,
    path: PathBuf,
    /// `None`: it was there before, and keeps its attributes.
    made_for: Option<Id>,
    todo: Vec<(OsString, Id)>,
}

struct Extraction<'a> {
    inside: &'a Inside,
    owners: Owners,
    top: OwnedFd,
    /// Where the first name of each file with several went: directories below `top`, and the name.
    named: HashMap<Id, (PathBuf, OsString)>,
}

/// Where one entry goes.
struct Spot<'a> {
    directory: &'a OwnedFd,
    /// Below `top`.
    path: PathBuf,
    name: &'a OsStr,
}

impl Spot<'_> {
    fn full(&self) -> PathBuf {
        self.path.join(self.name)
    }
}

pub fn extract(inside: &Inside, id: Id, target: &Target, owners: Owners) -> anyhow::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let open = || fs::open(&target.directory, flags, Mode::empty());
    let top = open().with_context(|| target.directory.display().to_string())?;
    let first = match &target.name {
        Some(name) => vec![(name.clone(), id)],
        None => children(inside.tree(), id),
    };
    let mut levels = vec![Level { directory: open()?, path: PathBuf::new(), made_for: None, todo: first }];
    let mut extraction = Extraction { inside, owners, top, named: HashMap::new() };
    while let Some(level) = levels.last_mut() {
        match level.todo.pop() {
            Some((name, id)) => {
                let spot = Spot { directory: &level.directory, path: level.path.clone(), name: &name };
                let deeper = extraction.entry(&spot, id);
                let deeper =
                    deeper.with_context(|| target.directory.join(spot.full()).display().to_string())?;
                levels.extend(deeper);
            }
            None => extraction.leave(levels.pop())?,
        }
    }
    Ok(())
}

/// What is in a directory, last first: the order of a stack.
fn children(tree: &Index, directory: Id) -> Vec<(OsString, Id)> {
    let visible = tree.children(directory).iter().filter(|entry| entry.kind != Kind::Whiteout);
    let mut children: Vec<_> =
        visible.map(|entry| (OsStr::from_bytes(entry.name).to_owned(), entry.id)).collect();
    children.reverse();
    children
}

impl<'a> Extraction<'a> {
    fn tree(&self) -> &'a Index {
        self.inside.tree()
    }

    /// Makes what is at `id`; a directory is to be filled next.
    fn entry(&mut self, spot: &Spot<'_>, id: Id) -> anyhow::Result<Option<Level>> {
        let inode = self.tree().inode(id);
        if inode.kind() == Kind::Directory {
            return self.directory(spot, id).map(Some);
        }
        make_room(spot)?;
        if inode.nlink() > 1 {
            if let Some((path, name)) = self.named.get(&id) {
                let from = open_below(&self.top, path)?;
                fs::linkat(&from, name, spot.directory, spot.name, AtFlags::empty())?;
                return Ok(None);
            }
            self.named.insert(id, (spot.path.clone(), spot.name.to_owned()));
        }
        match inode.kind() {
            Kind::File => self.file(spot, id)?,
            Kind::Symlink => {
                let target = OsStr::from_bytes(self.tree().target(id)?);
                fs::symlinkat(target, spot.directory, spot.name)?;
                self.link_attributes(spot, id)?;
            }
            kind => self.node(spot, id, kind)?,
        }
        Ok(None)
    }

    fn directory(&self, spot: &Spot<'_>, id: Id) -> anyhow::Result<Level> {
        let made = match fs::mkdirat(spot.directory, spot.name, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let directory = match open_directory(spot.directory, spot.name) {
            Err(Errno::NOTDIR | Errno::LOOP) => anyhow::bail!("is there, and no directory"),
            opened => opened?,
        };
        let todo = children(self.tree(), id);
        Ok(Level { directory, path: spot.full(), made_for: made.then_some(id), todo })
    }

    fn leave(&self, level: Option<Level>) -> anyhow::Result<()> {
        match level {
            Some(Level { directory, path, made_for: Some(id), .. }) => {
                self.attributes(&File::from(directory), id).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        }
    }

    fn file(&self, spot: &Spot<'_>, id: Id) -> anyhow::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(fs::openat(spot.directory, spot.name, flags, Mode::from_raw_mode(0o600))?);
        let content = self.tree().content(id)?;
        match content.extents {
            None => self.copy(&file, id, 0, content.size)?,
            Some(extents) => {
                for extent in extents {
                    self.copy(&file, id, extent.offset.get(), extent.length.get())?;
                }
                file.set_len(content.size)?;
            }
        }
        self.attributes(&file, id)
    }

    fn copy(&self, file: &File, id: Id, start: u64, length: u64) -> anyhow::Result<()> {
        self.inside.read_range(id, start, length, |offset, bytes| file.write_all_at(bytes, offset))
    }

    /// A FIFO or a device; the latter only root may make.
    fn node(&self, spot: &Spot<'_>, id: Id, kind: Kind) -> anyhow::Result<()> {
        let (major, minor) = self.tree().inode(id).rdev();
        let file_type = match kind {
            Kind::CharDevice => fs::FileType::CharacterDevice,
            Kind::BlockDevice => fs::FileType::BlockDevice,
            _ => fs::FileType::Fifo,
        };
        let mode = Mode::from_raw_mode(0o600);
        match fs::mknodat(spot.directory, spot.name, file_type, mode, fs::makedev(major, minor)) {
            Err(Errno::PERM) if kind != Kind::Fifo => {
                log::warn!("{}: only root may make a device; left out", spot.full().display());
                return Ok(());
            }
            made => made?,
        }
        self.link_attributes(spot, id)?;
        let mode = self.mode(id);
        // The name was made above, and is no symlink.
        Ok(fs::chmodat(spot.directory, spot.name, mode, AtFlags::empty())?)
    }

    /// Owner and time by name, of what can't be opened.
    fn link_attributes(&self, spot: &Spot<'_>, id: Id) -> anyhow::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        self.give(id, |user, group| fs::chownat(spot.directory, spot.name, user, group, flags))?;
        Ok(fs::utimensat(spot.directory, spot.name, &self.times(id), flags)?)
    }

    /// Owner before mode, for a change of owner takes the set-id bits away; attributes next, and the time last.
    fn attributes(&self, file: &File, id: Id) -> anyhow::Result<()> {
        self.give(id, |user, group| fs::fchown(file, user, group)).context("changing the owner")?;
        fs::fchmod(file, self.mode(id))?;
        for (name, value) in self.tree().xattrs(id)? {
            self.xattr(file, name, value)?;
        }
        Ok(fs::futimens(file, &self.times(id))?)
    }

    fn xattr(&self, file: &File, name: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        match fs::fsetxattr(file, name, value, XattrFlags::empty()) {
            // What a user may not set, or a file system has no place for, is no reason to have no file.
            Err(Errno::PERM | Errno::NOTSUP) => {
                log::info!("extended attribute {} is left out", shown());
                Ok(())
            }
            set => set.with_context(|| format!("extended attribute {}", shown())),
        }
    }

    /// Changes the owner by `change`, where owners count.
    fn give(
        &self,
        id: Id,
        change: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if self.owners == Owners::Callers {
            return Ok(());
        }
        let inode = self.tree().inode(id);
        let user = |number| change(Some(Uid::from_raw(number)), None);
        let group = |number| change(None, Some(Gid::from_raw(number)));
        match change(Some(Uid::from_raw(inode.uid())), Some(Gid::from_raw(inode.gid()))) {
            Err(Errno::INVAL) if self.owners == Owners::Mapped => {
                or_nobody(inode.gid(), group).and_then(|()| or_nobody(inode.uid(), user))
            }
            changed => changed,
        }
    }

    /// Without the image's owner the set-id bits would hand the caller's rights to everyone.
    fn mode(&self, id: Id) -> Mode {
        let mode = u32::from(self.tree().inode(id).mode());
        Mode::from_raw_mode(if self.owners == Owners::Callers { mode & 0o1777 } else { mode })
    }

    fn times(&self, id: Id) -> Timestamps {
        let time = self.tree().inode(id).mtime();
        let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
        Timestamps { last_access: time, last_modification: time }
    }
}

fn or_nobody(number: u32, change: impl Fn(u32) -> Result<(), Errno>) -> Result<(), Errno> {
    match change(number) {
        Err(Errno::INVAL) => change(NOBODY),
        changed => changed,
    }
}

/// What has the name goes, so that it is made anew and nothing is written through a link. A directory stays.
fn make_room(spot: &Spot<'_>) -> anyhow::Result<()> {
    match fs::unlinkat(spot.directory, spot.name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => anyhow::bail!("is there, and a directory"),
        Err(error) => Err(error.into()),
    }
}

fn open_directory(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::empty())
}

/// A directory that we made, name by name.
fn open_below(top: &OwnedFd, path: &Path) -> anyhow::Result<OwnedFd> {
    let mut directory = top.try_clone()?;
    for name in path {
        directory = open_directory(&directory, name)?;
    }
    Ok(directory)
}
