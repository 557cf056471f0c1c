//! A file of the upper that has only a part of its content: where it has data, that is read, and where it has a hole,
//! the lower file it was copied from. What is written gets whole blocks, so that the two can always be told apart.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::SeekFrom;

use super::upper::{BLOCK, Elsewhere};
use super::{Errno, Error, Result};
use crate::layer::Kind;
use crate::lower::{self, Below};
use crate::sys::copy;

#[derive(Clone)]
pub struct Partial {
    pub file: Arc<File>,
    pub below: Below,
}

/// The lower file that has what an unfilled one lacks; `None` where it is not to be found. `beside` is asked for what the
/// lower directories of the file's own have under a name.
pub fn content(
    root: &Below,
    unfilled: &Elsewhere,
    beside: impl FnOnce(&[u8]) -> Result<Option<Below>>,
) -> Result<Option<Below>> {
    let found = match unfilled {
        Elsewhere::Path(path) => at_path(root, path)?,
        Elsewhere::Name(name) => beside(name)?,
        Elsewhere::Unknown => None,
    };
    only(Kind::File, found)
}

/// The lower directory that shows through one that the kernel moved. `beside` is the lower directory of the one it is in.
pub fn moved_from(root: &Below, redirect: &Elsewhere, beside: Option<&Below>) -> Result<Option<Below>> {
    let found = match (redirect, beside) {
        (Elsewhere::Path(path), _) => at_path(root, path)?,
        (Elsewhere::Name(name), Some(beside)) => beside.lookup(name).map_err(below_fault)?,
        (Elsewhere::Name(_), None) => None,
        (Elsewhere::Unknown, _) => return Err(Errno::PERM.into()),
    };
    only(Kind::Directory, found)
}

fn only(kind: Kind, found: Option<Below>) -> Result<Option<Below>> {
    match found {
        Some(below) if below.stat().map_err(below_fault)?.kind == kind => Ok(Some(below)),
        _ => Ok(None),
    }
}

/// What the lower side has at a path.
fn at_path(root: &Below, path: &[u8]) -> Result<Option<Below>> {
    let mut at = root.clone();
    for name in path.split(|&byte| byte == b'/') {
        match at.lookup(name).map_err(below_fault)? {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// A run of bytes, as its start and its length.
type Run = (u64, u64);

impl Partial {
    /// Fills `into` with the bytes at `offset`, and tells how many there are: fewer only at the end of the file.
    pub fn read(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        let size = self.size()?;
        let length = size.saturating_sub(offset).min(into.len() as u64) as usize;
        let into = &mut into[..length];
        let mut filled = 0;
        while filled < length {
            let at = offset + filled as u64;
            let (start, end) = self.data(at, size)?;
            let hole = (start - at).min((length - filled) as u64) as usize;
            self.read_below(&mut into[filled..filled + hole], at)?;
            filled += hole;
            let data = (end - start).min((length - filled) as u64) as usize;
            self.file.read_exact_at(&mut into[filled..filled + data], start).map_err(answer)?;
            filled += data;
        }
        Ok(length)
    }

    fn size(&self) -> Result<u64> {
        Ok(rustix::fs::fstat(&self.file)?.st_size as u64)
    }

    /// The first data at or after `at`; an empty run at `size` where there is none.
    fn data(&self, at: u64, size: u64) -> Result<(u64, u64)> {
        match rustix::fs::seek(&*self.file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => Ok((size, size)),
            start => {
                let start = start?;
                Ok((start, rustix::fs::seek(&*self.file, SeekFrom::Hole(start))?))
            }
        }
    }

    /// Behind the end of the lower file there are zeros.
    fn read_below(&self, into: &mut [u8], offset: u64) -> Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            let rest = &mut into[filled..];
            let (wanted, mut got) = (u32::try_from(rest.len()).unwrap_or(u32::MAX), 0);
            let mut take = |bytes: &[u8]| {
                got = bytes.len();
                rest[..got].copy_from_slice(bytes);
            };
            self.below.read(offset + filled as u64, wanted, &mut take).map_err(below_fault)?;
            match got {
                0 => break,
                more => filled += more,
            }
        }
        into[filled..].fill(0);
        Ok(())
    }

    /// Nobody else may write meanwhile. A block that would be written in part is completed, in one call with the rest:
    /// who is killed has written it whole or not at all.
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let end = offset + bytes.len() as u64;
        let head = self.lacking_in(offset - offset % BLOCK, offset)?;
        let tail = self.lacking_in(end, end.next_multiple_of(BLOCK).min(self.size()?))?;
        if head.is_empty() && tail.is_empty() {
            return Ok(copy::write_at(&*self.file, bytes, offset)?);
        }
        let start = offset - head.len() as u64;
        Ok(copy::write_at(&*self.file, &[&head, bytes, &tail].concat(), start)?)
    }

    /// What is between two places in a block; nothing, if the block is there already.
    fn lacking_in(&self, start: u64, end: u64) -> Result<Vec<u8>> {
        let block = start - start % BLOCK;
        if start >= end || self.data(block, u64::MAX)?.0 < block + BLOCK {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; (end - start) as usize];
        self.read_below(&mut bytes, start)?;
        Ok(bytes)
    }

    /// The holes that have data in the lower file.
    pub fn lacking(&self) -> Result<Vec<Run>> {
        let (size, mut found, mut at) = (self.size()?, Vec::new(), 0);
        while let Some(run) = self.below.data(at).map_err(below_fault)? {
            at = run.end;
            let end = run.end.min(size);
            let mut start = run.start;
            while start < end {
                let (data, hole) = self.data(start, size)?;
                if start < data {
                    found.push((start, data.min(end) - start));
                }
                start = hole.max(data);
            }
        }
        Ok(found)
    }
}

pub(super) fn below_fault(source: lower::Error) -> Error {
    Error::Fault { doing: "reading a lower file".to_owned(), source: Box::new(source) }
}

fn answer(error: std::io::Error) -> Error {
    Error::Answer(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
