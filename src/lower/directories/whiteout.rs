//! The marks that directories carry: whiteouts and opaque directories in every form that an overlay has written them.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::{Errno, Result};

use super::Namespace;
use crate::sys::xattr::{self, Place};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an overlay puts before the rest of a user's own attribute that would be taken for one of its marks.
const ESCAPE: &[u8] = b"overlay.";

impl Namespace {
    fn prefix(self) -> &'static str {
        match self {
            Self::User => "user.overlay.",
            Self::Trusted => "trusted.overlay.",
        }
    }

    pub(super) fn name(self, mark: &str) -> Vec<u8> {
        [self.prefix(), mark].concat().into_bytes()
    }

    /// The name that is seen of a stored attribute; `None` for a mark.
    pub(super) fn shown(self, stored: &[u8]) -> Option<Vec<u8>> {
        let prefix = self.prefix().as_bytes();
        let foreign = self == Self::User && stored.starts_with(b"user.fuseoverlayfs.");
        match stored.strip_prefix(prefix) {
            None => (!foreign).then(|| stored.to_vec()),
            Some(rest) => rest.strip_prefix(ESCAPE).map(|own| [prefix, own].concat()),
        }
    }
}

/// What a layer's directory has at a name.
pub(super) enum Found {
    Absent,
    Whiteout,
    Directory(Stat),
    Leaf(Stat),
}

pub(super) fn mark(place: Place<'_>, namespace: Namespace, mark: &str) -> Result<Option<Vec<u8>>> {
    match xattr::get(place, &namespace.name(mark)) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(None),
        value => value,
    }
}

/// Whether a file's content is elsewhere, where it is not looked for.
pub(super) fn is_unfilled(place: Place<'_>, namespace: Namespace) -> Result<bool> {
    let names = match xattr::list(place) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => return Ok(false),
        names => names?,
    };
    let marks = ["metacopy", "plyfs.unfilled"].map(|mark| namespace.name(mark));
    Ok(names.split(|&byte| byte == 0).any(|name| marks.iter().any(|mark| mark == name)))
}

pub(super) fn find(directory: BorrowedFd<'_>, name: &[u8], namespace: Namespace) -> Result<Found> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Found::Absent),
        stat => stat?,
    };
    let place = Place::Name(directory, name);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if stat.st_rdev == 0 => Ok(Found::Whiteout),
        FileType::RegularFile if stat.st_size == 0 => {
            if mark(place, namespace, "whiteout")?.is_some() {
                return Ok(Found::Whiteout);
            }
            Ok(if is_marker(place, name, namespace)? { Found::Absent } else { Found::Leaf(stat) })
        }
        FileType::Directory => Ok(Found::Directory(stat)),
        _ => Ok(Found::Leaf(stat)),
    }
}

/// Of an empty regular file: whether it stands for another name.
fn is_marker(place: Place<'_>, name: &[u8], namespace: Namespace) -> Result<bool> {
    Ok(name.starts_with(PREFIX) && mark(place, namespace, "plyfs.literal")?.is_none())
}

/// The name that an entry hides in the layers below.
pub(super) fn hidden(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(PREFIX).filter(|rest| !rest.is_empty() && *name != *OPAQUE)
}

/// Whether `.wh.NAME` is beside a name.
pub(super) fn has_marker(directory: BorrowedFd<'_>, name: &[u8], namespace: Namespace) -> Result<bool> {
    let marker = [PREFIX, name].concat();
    if marker.len() > 255 {
        return Ok(false);
    }
    exists_as_marker(directory, &marker, namespace)
}

fn exists_as_marker(directory: BorrowedFd<'_>, marker: &[u8], namespace: Namespace) -> Result<bool> {
    match rustix::fs::statat(directory, marker, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
        Ok(stat) => {
            let empty = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0;
            Ok(empty && is_marker(Place::Name(directory, marker), marker, namespace)?)
        }
    }
}

/// Whether nothing of the layers below shows in an open directory.
pub(super) fn is_opaque(directory: BorrowedFd<'_>, namespace: Namespace) -> Result<bool> {
    let place = Place::Name(directory, b".");
    let foreign = match namespace {
        Namespace::User => xattr::get(place, b"user.fuseoverlayfs.opaque").ok().flatten(),
        Namespace::Trusted => None,
    };
    Ok(mark(place, namespace, "opaque")?.as_deref() == Some(b"y")
        || foreign.as_deref() == Some(b"y")
        || exists_as_marker(directory, OPAQUE, namespace)?)
}
