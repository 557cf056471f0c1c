//! Plain directories stacked as layers, merged where someone looks. Each is opened through a read-only mount where that
//! is allowed; in any case nothing is opened for writing.

mod aliases;
mod merge;
mod object;
#[cfg(test)]
mod tests;
mod whiteout;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use self::aliases::Aliases;
use self::object::Stacked;
use super::object::Below;
use super::{Error, Result};
use crate::sys::{beneath, detached, handle};

/// Where the private attributes of directories are. Those of the other namespace mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    User,
    Trusted,
}

/// Layers, top first.
pub(super) struct Directories {
    layers: Vec<Layer>,
    namespace: Namespace,
}

struct Layer {
    root: OwnedFd,
    path: PathBuf,
    /// Which file system its numbers are of; 0 is the upper's.
    file_system: u32,
    uuid: Option<[u8; 16]>,
    aliases: OnceLock<Aliases>,
}

/// The root of `layers`, the top one first. `upper` is the file system (`st_dev`) that the numbers of the upper are of.
pub fn directories(layers: &[PathBuf], namespace: Namespace, upper: Option<u64>) -> Result<Below> {
    let mut file_systems = HashMap::new();
    file_systems.extend(upper.map(|device| (device, 0)));
    let mut opened = Vec::new();
    for path in layers {
        let (root, device) = open_root(path).map_err(|source| Error::reading(path, source))?;
        let next = if upper.is_none() { file_systems.len() } else { file_systems.len().max(1) };
        let file_system = *file_systems.entry(device).or_insert(next as u32);
        let uuid = uuid(&root);
        opened.push(Layer { root, path: path.clone(), file_system, uuid, aliases: OnceLock::new() });
    }
    let all = Arc::new(Directories { layers: opened, namespace });
    Ok(Arc::new(Stacked::root(all)?))
}

fn open_root(path: &Path) -> rustix::io::Result<(OwnedFd, u64)> {
    let root = match detached::read_only(path) {
        Ok(root) => root,
        Err(Errno::PERM | Errno::NOSYS | Errno::INVAL) => plain(path)?,
        Err(error) => return Err(error),
    };
    let stat = rustix::fs::statat(&root, "", AtFlags::EMPTY_PATH)?;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => Ok((root, stat.st_dev)),
        _ => Err(Errno::NOTDIR),
    }
}

/// `None` where the file system does not tell; the number alone is kept then.
fn uuid(root: &OwnedFd) -> Option<[u8; 16]> {
    let readable =
        rustix::fs::openat(root, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    handle::file_system_uuid(readable.ok()?).ok()
}

fn plain(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// The kernel takes no longer path at once.
const LONGEST: usize = 4000;

impl Directories {
    /// Opens what `path` is in a layer; the empty path is its root.
    fn open(&self, layer: usize, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = self.layers[layer].root.as_fd();
        let (mut at, mut rest): (Option<OwnedFd>, &[u8]) = (None, path);
        while rest.len() > LONGEST {
            let end = rest[..LONGEST].iter().rposition(|&byte| byte == b'/').ok_or(Errno::NAMETOOLONG)?;
            let from = at.as_ref().map_or(root, AsFd::as_fd);
            at = Some(beneath::open(from, as_path(&rest[..end]), OFlags::PATH | OFlags::DIRECTORY)?);
            rest = &rest[end + 1..];
        }
        let from = at.as_ref().map_or(root, AsFd::as_fd);
        beneath::open(from, as_path(if rest.is_empty() { b"." } else { rest }), flags)
    }

    fn directory(&self, layer: usize, path: &[u8]) -> Result<OwnedFd> {
        self.open(layer, path, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|source| self.fault(layer, path, source))
    }

    fn fault(&self, layer: usize, path: &[u8], source: Errno) -> Error {
        Error::reading(&self.layers[layer].path.join(as_path(path)), source)
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
