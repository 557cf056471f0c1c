//! Extended attributes of an object that is named in an open directory, or is open itself. No symlink is followed.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{self, XattrFlags};
use rustix::io::{Errno, Result};

use super::file::path_of;

/// Which object: `.` names the directory itself.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    Name(BorrowedFd<'a>, &'a [u8]),
    Open(BorrowedFd<'a>),
}

/// Enough for almost every value, so that one system call does.
const USUAL: usize = 256;

/// The value; `None` where there is none.
pub fn get(place: Place<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    match sized(|buffer| get_into(place, name, buffer)) {
        Err(Errno::NODATA) => Ok(None),
        value => value.map(Some),
    }
}

/// The names, each ended by a zero byte.
pub fn list(place: Place<'_>) -> Result<Vec<u8>> {
    sized(|buffer| match place {
        Place::Name(directory, object) => fs::llistxattr(path(directory, object), buffer),
        Place::Open(file) => {
            let listed = fs::flistxattr(file, &mut *buffer);
            or_by_path(file, listed, |path| fs::listxattr(path, buffer))
        }
    })
}

pub fn set(place: Place<'_>, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
    match place {
        Place::Name(directory, object) => fs::lsetxattr(path(directory, object), name, value, flags),
        Place::Open(file) => or_by_path(file, fs::fsetxattr(file, name, value, flags), |path| {
            fs::setxattr(path, name, value, flags)
        }),
    }
}

pub fn remove(place: Place<'_>, name: &[u8]) -> Result<()> {
    match place {
        Place::Name(directory, object) => fs::lremovexattr(path(directory, object), name),
        Place::Open(file) => {
            or_by_path(file, fs::fremovexattr(file, name), |path| fs::removexattr(path, name))
        }
    }
}

fn get_into(place: Place<'_>, name: &[u8], buffer: &mut [u8]) -> Result<usize> {
    match place {
        Place::Name(directory, object) => fs::lgetxattr(path(directory, object), name, buffer),
        Place::Open(file) => {
            let got = fs::fgetxattr(file, name, &mut *buffer);
            or_by_path(file, got, |path| fs::getxattr(path, name, buffer))
        }
    }
}

/// What is open as a place only (`O_PATH`) is reached by its path.
fn or_by_path<T>(
    file: BorrowedFd<'_>,
    done: Result<T>,
    again: impl FnOnce(String) -> Result<T>,
) -> Result<T> {
    match done {
        Err(Errno::BADF) => again(path_of(file)),
        done => done,
    }
}

/// Reads with a buffer that grows until the value, which others may change meanwhile, fits.
fn sized(mut read: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; USUAL];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {
                let length = read(&mut [])?;
                buffer.resize(length.max(buffer.len()) + USUAL, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The calls that take a directory and a name are young (Linux 6.13); this way there is through /proc is not.
fn path(directory: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_attribute_is_the_same_by_name_and_by_descriptor_whatever_its_size() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("f"), "").unwrap();
        let parent = File::open(directory.path()).unwrap();
        let file = File::open(directory.path().join("f")).unwrap();
        let (named, open) = (Place::Name(parent.as_fd(), b"f"), Place::Open(file.as_fd()));
        for length in [0, 1, USUAL, USUAL + 1, 3000] {
            set(named, b"user.a", &vec![7; length], XattrFlags::empty()).unwrap();
            assert_eq!(get(named, b"user.a").unwrap(), Some(vec![7; length]));
            assert_eq!(get(open, b"user.a").unwrap(), Some(vec![7; length]));
        }
        assert_eq!(list(named).unwrap(), b"user.a\0");
        remove(open, b"user.a").unwrap();
        assert_eq!(get(named, b"user.a").unwrap(), None);
        set(Place::Name(parent.as_fd(), b"."), b"user.b", b"", XattrFlags::empty()).unwrap();
        assert_eq!(list(Place::Open(parent.as_fd())).unwrap(), b"user.b\0");
    }
}
