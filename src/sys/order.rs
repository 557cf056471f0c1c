//! Having a file's bytes on disk before the name that it gets next.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

const EXT4: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;

/// After a power cut, a name that the file gets from now on leads to these bytes. That is less than fsync(2) gives, which
/// has the name on disk too: where a journal keeps what is done in order and flushes the disk before it speaks of it,
/// it is enough that the disk has taken the bytes.
pub fn before_name(file: BorrowedFd<'_>) -> Result<()> {
    match rustix::fs::fstatfs(file)?.f_type as u64 {
        EXT4 | XFS => write_out(file),
        // btrfs notes where the bytes are after it has said that they are written.
        _ => rustix::fs::fsync(file),
    }
}

fn write_out(file: BorrowedFd<'_>) -> Result<()> {
    let how =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the call takes numbers alone, and the descriptor is open as long as it is borrowed.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, how) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)),
    }
}
