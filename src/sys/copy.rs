//! Copying one file's content to another, sharing blocks where the file systems can, and keeping holes.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, SeekFrom};
use rustix::io::{Errno, Result};

/// Whether the bytes are on disk as soon as the name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The blocks are shared: nothing has to be written.
    Cloned,
    Written,
}

const BUFFER: usize = 128 << 10;

/// Makes the empty file `to` have the content of `from`, whose offset moves.
pub fn content(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<Copied> {
    if fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(Copied::Cloned);
    }
    let size = fs::fstat(from)?.st_size as u64;
    fs::ftruncate(to, size)?;
    let mut at = 0;
    while let Some((start, end)) = next_data(from, at, size)? {
        range(from, to, start, end)?;
        at = end;
    }
    Ok(Copied::Written)
}

/// The next run of data at or after `at`. A file system that knows no holes has one run.
fn next_data(file: BorrowedFd<'_>, at: u64, size: u64) -> Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
    }
    let start = match fs::seek(file, SeekFrom::Data(at)) {
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, size))),
        start => start?,
    };
    let end = fs::seek(file, SeekFrom::Hole(start))?.min(size);
    Ok((start < end).then_some((start, end)))
}

fn range(from: BorrowedFd<'_>, to: BorrowedFd<'_>, start: u64, end: u64) -> Result<()> {
    let (mut read, mut written) = (start, start);
    while written < end {
        let length = usize::try_from(end - written).unwrap_or(usize::MAX);
        match fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), length) {
            // The file became shorter, or the kernel does not copy from such files.
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                return by_hand(from, to, written, end);
            }
            Err(Errno::INTR) => {}
            copied => drop(copied?),
        }
    }
    Ok(())
}

fn by_hand(from: BorrowedFd<'_>, to: BorrowedFd<'_>, start: u64, end: u64) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).map_or(BUFFER, |left| left.min(BUFFER));
        let got = rustix::io::retry_on_intr(|| rustix::io::pread(from, &mut buffer[..wanted], at))?;
        if got == 0 {
            break;
        }
        write_at(to, &buffer[..got], at)?;
        at += got as u64;
    }
    Ok(())
}

/// Writes all of `bytes`.
pub fn write_at(file: impl AsFd, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        let written = match rustix::io::pwrite(&file, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Err(Errno::INTR) => 0,
            written => written?,
        };
        bytes = bytes.get(written..).unwrap_or_default();
        at += written as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(b"head", 0).unwrap();
        from.write_all_at(&[7; 200_000], 4 << 20).unwrap();
        from.set_len(16 << 20).unwrap();
        content(from.as_fd(), to.as_fd()).unwrap();
        let whole = |file: &std::fs::File| {
            let mut bytes = vec![1; 16 << 20];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        assert!(whole(&from) == whole(&to));
        assert_eq!(to.metadata().unwrap().len(), 16 << 20);
        assert!(to.metadata().unwrap().blocks() <= from.metadata().unwrap().blocks());
    }

    #[test]
    fn bytes_are_copied_by_hand_where_the_kernel_does_not() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(&[9; BUFFER + 5], 3).unwrap();
        by_hand(from.as_fd(), to.as_fd(), 3, BUFFER as u64 + 8).unwrap();
        let mut bytes = vec![0; BUFFER + 8];
        to.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[..3] == [0; 3] && bytes[3..].iter().all(|&byte| byte == 9));
    }
}
