//! A tree taken away whole, whatever modes are in it and whosever ids: what a user's namespace has made belongs to ids
//! that the user has in one alone. What is gone already is no error.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::geteuid;

use super::namespace;

/// Removes a tree, if need be as root of a user namespace. To be called while there is one thread.
pub fn remove(path: &Path) -> io::Result<()> {
    match remove_own(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !geteuid().is_root() => {
            namespace::become_root().map_err(io::Error::other)?;
            remove_own(path)
        }
        removed => removed,
    }
}

/// What this process may remove as it is, also where its directories' owner may not enter them.
pub fn remove_own(path: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn open_up(path: &Path) -> io::Result<()> {
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    Ok(())
}
