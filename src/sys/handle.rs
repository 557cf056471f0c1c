//! File handles: what names an object of a file system for good.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

/// A handle as the kernel gives it: bytes that mean something to the file system alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    pub kind: u8,
    pub bytes: Vec<u8>,
}

/// The longest handle there is.
const LONGEST: usize = 128;

#[repr(C)]
struct Raw {
    header: libc::file_handle,
    bytes: [u8; LONGEST],
}

/// The handle of an open object, which may be open with `O_PATH`. No privilege is needed.
pub fn of(object: BorrowedFd<'_>) -> Result<Handle> {
    let header = libc::file_handle { handle_bytes: LONGEST as u32, handle_type: 0, f_handle: [] };
    let mut raw = Raw { header, bytes: [0; LONGEST] };
    let mut mount = 0;
    // SAFETY: the kernel writes at most `handle_bytes` bytes behind the header, and there are as many; the empty path
    // is a C string; `mount` is an int of ours.
    let answer = unsafe {
        libc::name_to_handle_at(
            object.as_raw_fd(),
            c"".as_ptr(),
            (&raw mut raw).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if answer != 0 {
        return Err(last_error());
    }
    let length = (raw.header.handle_bytes as usize).min(LONGEST);
    let kind = u8::try_from(raw.header.handle_type).map_err(|_| Errno::OVERFLOW)?;
    Ok(Handle { kind, bytes: raw.bytes[..length].to_vec() })
}

/// `struct fsuuid2`
#[repr(C)]
#[derive(Default)]
struct Uuid {
    length: u8,
    bytes: [u8; 16],
}

/// `_IOR(0x15, 0, struct fsuuid2)`
const GET_UUID: u32 = 0x8011_1500;

/// The UUID of the file system that a file, open for reading, is on.
pub fn file_system_uuid(file: impl AsFd) -> Result<[u8; 16]> {
    let mut uuid = Uuid::default();
    // SAFETY: the request writes one `Uuid`, and it gets a pointer to one.
    let answer = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), GET_UUID as libc::Ioctl, &raw mut uuid) };
    match (answer, uuid.length) {
        (0, 16) => Ok(uuid.bytes),
        (0, _) => Err(Errno::NODATA),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_of_a_file_have_one_handle() {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a"), "").unwrap();
        std::fs::hard_link(path("a"), path("b")).unwrap();
        std::fs::write(path("c"), "").unwrap();
        let handle = |name: &str| of(std::fs::File::open(path(name)).unwrap().as_fd()).unwrap();
        assert_eq!(handle("a"), handle("b"));
        assert_ne!(handle("a"), handle("c"));
    }
}
