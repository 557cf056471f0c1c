//! Operations as system calls below a directory. No symlink is followed, so that what a path leads to is as in the model.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use plyfs::union::overlay::Renaming;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags,
};
use rustix::io::{Errno, Result};

use super::Operation;

pub const NOTE: &str = "user.note";

/// The directory a path is in, and its name there.
fn parent<'a>(root: &Path, path: &'a str) -> Result<(OwnedFd, &'a str)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(CWD, root, flags, Mode::empty())?;
    let mut names: Vec<&str> = path.split('/').collect();
    let last = names.pop().unwrap();
    for name in names {
        at = rustix::fs::openat(&at, name, flags, Mode::empty())?;
    }
    Ok((at, last))
}

pub fn open(root: &Path, path: &str, flags: OFlags) -> Result<File> {
    let (at, name) = parent(root, path)?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&at, name, flags, Mode::from_raw_mode(0o644))?.into())
}

pub fn write(file: &File, offset: u64, data: &[u8]) -> Result<()> {
    file.write_all_at(data, offset).map_err(|error| Errno::from_io_error(&error).unwrap())
}

pub fn perform(root: &Path, operation: &Operation) -> Result<()> {
    match operation {
        Operation::Create(path) => open(root, path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).map(drop),
        Operation::Write(path, offset, data) => write(&open(root, path, OFlags::WRONLY)?, *offset, data),
        Operation::Truncate(path, size) => rustix::fs::ftruncate(open(root, path, OFlags::WRONLY)?, *size),
        Operation::Mkdir(path) => {
            let (at, name) = parent(root, path)?;
            rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755))
        }
        Operation::Symlink(path, target) => {
            let (at, name) = parent(root, path)?;
            rustix::fs::symlinkat(target, at, name)
        }
        Operation::Link(from, to) => {
            let ((at, name), (new_at, new_name)) = (parent(root, from)?, parent(root, to)?);
            rustix::fs::linkat(at, name, new_at, new_name, AtFlags::empty())
        }
        Operation::Unlink(path) => remove(root, path, AtFlags::empty()),
        Operation::Rmdir(path) => remove(root, path, AtFlags::REMOVEDIR),
        Operation::Rename(from, to, how) => {
            let ((at, name), (new_at, new_name)) = (parent(root, from)?, parent(root, to)?);
            rustix::fs::renameat_with(at, name, new_at, new_name, flags(*how))
        }
        Operation::Chmod(path, mode) => chmod(root, path, *mode),
        Operation::Remount => Ok(()),
    }
}

fn remove(root: &Path, path: &str, flags: AtFlags) -> Result<()> {
    let (at, name) = parent(root, path)?;
    rustix::fs::unlinkat(at, name, flags)
}

fn flags(how: Renaming) -> RenameFlags {
    match how {
        Renaming::Replace => RenameFlags::empty(),
        Renaming::NoReplace => RenameFlags::NOREPLACE,
        Renaming::Exchange => RenameFlags::EXCHANGE,
    }
}

fn chmod(root: &Path, path: &str, mode: u16) -> Result<()> {
    let (at, name) = parent(root, path)?;
    let found = rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => Err(Errno::OPNOTSUPP),
        _ => rustix::fs::chmodat(&at, name, Mode::from_raw_mode(u32::from(mode)), AtFlags::empty()),
    }
}

pub fn own(root: &Path, path: &str, user: u32) -> Result<()> {
    let (at, name) = parent(root, path)?;
    let user = Some(rustix::fs::Uid::from_raw(user));
    rustix::fs::chownat(&at, name, user, None, AtFlags::SYMLINK_NOFOLLOW)
}

pub fn date(root: &Path, path: &str, seconds: i64) -> Result<()> {
    let (at, name) = parent(root, path)?;
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(&at, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Without a value it is taken away.
pub fn note(root: &Path, path: &str, value: Option<u8>) -> Result<()> {
    // There is no call that takes a directory and a name.
    let (_, _) = parent(root, path)?;
    let path = root.join(path);
    match value {
        Some(value) => rustix::fs::lsetxattr(&path, NOTE, &[value], XattrFlags::empty()),
        None => rustix::fs::lremovexattr(&path, NOTE),
    }
}

pub fn punch(file: &File, offset: u64, length: u64) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, offset, length)
}
