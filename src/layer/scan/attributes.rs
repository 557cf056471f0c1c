//! What an inode takes from a header.

use super::{Fault, MAX_TARGET};
use crate::layer::index::Xattr;
use crate::layer::tar::{Header, Type, shown};
use crate::layer::tree::{Attributes, Body};

/// Linux's limits for the name and the value of an xattr.
const MAX_XATTR_NAME: usize = 255;
const MAX_XATTR_VALUE: usize = 64 << 10;
/// Linux's limits for device numbers.
const MAX_MAJOR: i64 = 0xfff;
const MAX_MINOR: i64 = 0xf_ffff;

pub(super) fn of(header: &Header) -> Result<Attributes, Fault> {
    Ok(Attributes {
        mode: header.mode,
        uid: within("uid", header.uid, i64::from(u32::MAX))?,
        gid: within("gid", header.gid, i64::from(u32::MAX))?,
        mtime: header.mtime,
    })
}

pub(super) fn body(header: &Header) -> Result<Body<'_>, Fault> {
    Ok(match header.kind {
        Type::Directory => Body::Directory,
        Type::Fifo => Body::Fifo,
        Type::File => Body::File {
            offset: header.data_at,
            size: header.size,
            extents: header.extents.as_deref(),
            digest: [0; 32],
        },
        Type::Symlink => Body::Symlink(target(&header.link)?),
        Type::CharDevice => {
            let (major, minor) = device(header)?;
            Body::CharDevice(major, minor)
        }
        Type::BlockDevice => {
            let (major, minor) = device(header)?;
            Body::BlockDevice(major, minor)
        }
        // A link makes no inode of its own.
        Type::HardLink => return Err(Fault::Type('1')),
        Type::Other(flag) => return Err(Fault::Type(char::from(flag))),
    })
}

fn target(target: &[u8]) -> Result<&[u8], Fault> {
    match target.len() {
        1..=MAX_TARGET => Ok(target),
        length => Err(Fault::Target(length)),
    }
}

fn device(header: &Header) -> Result<(u32, u32), Fault> {
    Ok((within("device major", header.major, MAX_MAJOR)?, within("device minor", header.minor, MAX_MINOR)?))
}

fn within(field: &'static str, value: i64, limit: i64) -> Result<u32, Fault> {
    let number = u32::try_from(value).ok().filter(|_| value <= limit);
    number.ok_or(Fault::Range { field, value })
}

/// The extended attributes that a mount shows.
pub(super) fn xattrs(header: &Header) -> Result<Vec<Xattr<'_>>, Fault> {
    let mut kept = Vec::new();
    for (name, value) in header.xattrs.iter().filter(|(name, _)| keeps_xattr(name)) {
        for (size, limit) in [(name.len(), MAX_XATTR_NAME), (value.len(), MAX_XATTR_VALUE)] {
            if size > limit {
                return Err(Fault::Xattr { name: shown(name), size, limit });
            }
        }
        kept.push((&name[..], &value[..]));
    }
    Ok(kept)
}

/// What belongs to the host's own overlays and security modules is not an image's to say.
pub fn keeps_xattr(name: &[u8]) -> bool {
    const FOREIGN: [&[u8]; 3] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers.override_"];
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => {
            name.starts_with(b"user.")
                && name.len() > 5
                && !FOREIGN.iter().any(|prefix| name.starts_with(prefix))
        }
    }
}
