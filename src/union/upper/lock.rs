//! One user of an upper at a time, and an upper that is apart from its work directory and its layers.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::{Dir, Error, Result};
use crate::sys::file::{Sharing, try_lock};
use crate::sys::mount;

/// Locks that are held as long as the upper is open.
pub struct Held {
    _upper: OwnedFd,
    _work: OwnedFd,
}

/// Held while an upper is used as a layer: nobody writes to it meanwhile.
pub struct Shared {
    _layer: OwnedFd,
}

/// Takes an upper that serves as a layer, as others may at the same time.
pub fn share(layer: &Path) -> Result<Shared> {
    let directory = open(layer)?.readable()?;
    take(&directory, Sharing::Shared, layer)?;
    Ok(Shared { _layer: directory })
}

/// `own` is our directory in the work directory.
pub(super) fn hold(upper: &Dir, own: &Dir, path: &Path) -> Result<Held> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = upper.readable()?;
    let file = rustix::fs::openat(own, "lock", flags, Mode::RUSR | Mode::WUSR)?;
    take(&directory, Sharing::Exclusive, path)?;
    take(&file, Sharing::Exclusive, path)?;
    Ok(Held { _upper: directory, _work: file })
}

/// How long a daemon may need to end when its mount is gone.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// Who unmounts and mounts again at once does not know of the daemon in between.
fn take(file: impl AsFd, sharing: Sharing, path: &Path) -> Result<()> {
    let doing = || format!("locking {}", path.display());
    let end = Instant::now() + PATIENCE;
    while !try_lock(&file, sharing).map_err(Error::while_doing(doing))? {
        if Instant::now() > end {
            return Err(Errno::BUSY.into());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

pub(super) fn open(path: &Path) -> Result<Dir> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    Ok(opened.map_err(Error::while_doing(|| format!("opening {}", path.display())))?.into())
}

/// Which file system object it is.
type Identity = (u64, u64);

fn identity(directory: &Dir, name: &[u8]) -> rustix::io::Result<Identity> {
    let raw = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((raw.st_dev, raw.st_ino))
}

/// An upper or a work directory of kernel overlayfs is none of ours while that is mounted.
pub(super) fn check_not_mounted(directories: &[&Dir]) -> Result<()> {
    let own = directories
        .iter()
        .map(|directory| identity(directory, b"."))
        .collect::<rustix::io::Result<Vec<_>>>()?;
    let mounts = mount::mounted().map_err(Error::while_doing(|| "reading the list of mounts".to_owned()))?;
    let used = mounts.iter().filter(|mount| mount.file_system == "overlay").flat_map(used_by);
    // A path of another mount namespace may mean nothing here.
    let found = used.filter_map(|path| identity(&open(&path).ok()?, b".").ok()).any(|one| own.contains(&one));
    if found { Err(Errno::BUSY.into()) } else { Ok(()) }
}

fn used_by(mounted: &mount::Mounted) -> Vec<PathBuf> {
    let options = split_options(mounted.options.as_bytes());
    let value = |option: Vec<u8>| {
        let value = [&b"upperdir="[..], b"workdir="].iter().find_map(|key| option.strip_prefix(*key))?;
        Some(PathBuf::from(OsStr::from_bytes(value)))
    };
    options.into_iter().filter_map(value).collect()
}

/// Commas and backslashes in a path stand behind a backslash.
fn split_options(options: &[u8]) -> Vec<Vec<u8>> {
    let mut split = vec![Vec::new()];
    let mut bytes = options.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, split.last_mut()) {
            (b',', _) => split.push(Vec::new()),
            (b'\\', Some(last)) => last.extend(bytes.next()),
            (_, Some(last)) => last.push(byte),
            (_, None) => {}
        }
    }
    split
}

/// Renames and links must be possible between them, and none may be part of another.
pub(super) fn check_apart(upper: &Dir, work: &Dir, layers: &[PathBuf]) -> Result<()> {
    if mount_id(upper)? != mount_id(work)? {
        return Err(refused("the upper and the work directory are on different mounts"));
    }
    if overlap(upper, work)? {
        return Err(refused("the upper and the work directory overlap"));
    }
    for path in layers {
        let layer = open(path)?;
        if overlap(upper, &layer)? || overlap(work, &layer)? {
            return Err(refused(&format!(
                "the layer {} overlaps with the upper or its work",
                path.display()
            )));
        }
    }
    Ok(())
}

fn refused(reason: &str) -> Error {
    Error::Fault { doing: "opening the upper".to_owned(), source: reason.into() }
}

fn mount_id(directory: &Dir) -> Result<(u64, u32, u32)> {
    let flags = StatxFlags::MNT_ID;
    let found = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, flags)?;
    Ok((found.stx_mnt_id, found.stx_dev_major, found.stx_dev_minor))
}

fn overlap(one: &Dir, other: &Dir) -> Result<bool> {
    Ok(is_inside(one, other)? || is_inside(other, one)?)
}

/// Whether `outer` is `inner` or above it.
fn is_inside(inner: &Dir, outer: &Dir) -> Result<bool> {
    let outer = identity(outer, b".")?;
    let mut at = inner.clone();
    loop {
        let here = identity(&at, b".")?;
        if here == outer {
            return Ok(true);
        }
        let above = at.open(b"..")?;
        if identity(&above, b".")? == here {
            return Ok(false);
        }
        at = above;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_at_commas_that_are_no_part_of_a_path() {
        let split = split_options(br"rw,lowerdir=/l,upperdir=/a\,b\\c,userxattr");
        let text: Vec<_> = split.iter().map(|option| String::from_utf8_lossy(option)).collect();
        assert_eq!(text, ["rw", "lowerdir=/l", r"upperdir=/a,b\c", "userxattr"]);
    }
}
