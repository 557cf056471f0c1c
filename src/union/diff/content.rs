//! Where an object's bytes are, and whether they are the same as another's.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::partial::{Partial, below_fault};
use super::super::upper::{Access, Dir, View};
use super::super::{Errno, Error, Result};
use super::Below;
use crate::lower;

/// Where an object is.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    None,
    Upper {
        view: &'a View,
        directory: &'a Dir,
        name: &'a [u8],
        inode: u64,
    },
    /// A file of the upper that lacks content of this one.
    Partial {
        view: &'a View,
        directory: &'a Dir,
        name: &'a [u8],
        inode: u64,
        below: &'a Below,
    },
    /// It was moved, or there is no upper.
    Below(&'a Below),
}

/// Which object it is: all its names have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Number {
    Upper(u64),
    Lower(lower::Number),
}

/// How much is read at once.
const STEP: usize = 256 << 10;

impl Content<'_> {
    pub fn number(&self) -> Result<Option<Number>> {
        match self {
            Content::None => Ok(None),
            Content::Upper { inode, .. } | Content::Partial { inode, .. } => Ok(Some(Number::Upper(*inode))),
            Content::Below(below) => Ok(Some(Number::Lower(below.stat().map_err(below_fault)?.number))),
        }
    }

    /// The first `size` bytes, in order.
    pub fn read(&self, size: u64, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match self {
            Content::Upper { view, directory, name, .. } => {
                let file = view.open_file(directory, name, Access::Read)?;
                let told = |error| Error::from(Errno::from_io_error(&error).unwrap_or(Errno::IO));
                read_by(size, take, |into, at| file.read_at(into, at).map_err(told))
            }
            Content::Partial { view, directory, name, below, .. } => {
                let file = Arc::new(view.open_file(directory, name, Access::Read)?);
                let partial = Partial { file, below: (*below).clone() };
                read_by(size, take, |into, at| partial.read(into, at))
            }
            Content::Below(below) => read_below(below, size, take),
            Content::None => Ok(()),
        }
    }

    /// Whether these are the bytes of `other`, a file of the same size. Time and size alone do not tell: who builds
    /// reproducibly gives all files one time.
    pub fn is_same_as(&self, other: &Below, size: u64) -> Result<bool> {
        Ok(self.digest(size)? == Content::Below(other).digest(size)?)
    }

    /// Whether it has the same names as `other`.
    pub fn is_named_as(&self, other: &Below) -> Result<bool> {
        let Content::Below(own) = self else { return Ok(false) };
        let names = |below: &Below| {
            let mut names = below.aliases().map_err(below_fault)?;
            names.sort();
            Ok::<_, Error>(names)
        };
        let names_of_own = names(own)?;
        Ok(!names_of_own.is_empty() && names_of_own == names(other)?)
    }

    /// BLAKE3 of the bytes, from the index where it has it.
    fn digest(&self, size: u64) -> Result<blake3::Hash> {
        if let Content::Below(below) = self
            && let Some(known) = below.digest().map_err(below_fault)?
        {
            return Ok(blake3::Hash::from_bytes(known));
        }
        let mut hasher = blake3::Hasher::new();
        self.read(size, &mut |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        Ok(hasher.finalize())
    }
}

fn read_by(
    size: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize>,
) -> Result<()> {
    let mut buffer = vec![0; step(size)];
    let mut at = 0;
    while at < size {
        let wanted = step(size - at);
        match read(&mut buffer[..wanted], at)? {
            0 => return Err(shortened()),
            read => {
                take(&buffer[..read])?;
                at += read as u64;
            }
        }
    }
    Ok(())
}

fn read_below(below: &Below, size: u64, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut at = 0;
    while at < size {
        let mut taken = Ok(0);
        let length = u32::try_from(step(size - at)).unwrap_or(u32::MAX);
        let mut serve = |bytes: &[u8]| taken = take(bytes).map(|()| bytes.len());
        below.read(at, length, &mut serve).map_err(below_fault)?;
        match taken? {
            0 => return Err(shortened()),
            read => at += read as u64,
        }
    }
    Ok(())
}

fn step(left: u64) -> usize {
    STEP.min(usize::try_from(left).unwrap_or(STEP))
}

fn shortened() -> Error {
    Error::Fault { doing: "reading it".to_owned(), source: "it became shorter meanwhile".into() }
}
