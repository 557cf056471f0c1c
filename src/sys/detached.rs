//! A directory that nobody can write through: a mount of its own, read-only, attached nowhere.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, Result};
use rustix::mount::{OpenTreeFlags, open_tree};

const ATTRIBUTES: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOATIME | libc::MOUNT_ATTR_NODEV;

/// Opens a read-only mount of `path`. EPERM for who may not mount.
pub fn read_only(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, path, flags)?;
    // A locked noatime cannot be changed in a user namespace.
    set(&tree, ATTRIBUTES).or_else(|_| set(&tree, libc::MOUNT_ATTR_RDONLY))?;
    Ok(tree)
}

fn set(tree: &OwnedFd, attributes: u64) -> Result<()> {
    let wanted = libc::mount_attr {
        attr_set: attributes,
        attr_clr: if attributes & libc::MOUNT_ATTR_NOATIME != 0 { libc::MOUNT_ATTR__ATIME } else { 0 },
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is empty and ends with a zero, and the kernel reads a `mount_attr` of the size it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)),
    }
}
