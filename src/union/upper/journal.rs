//! Records of what a sequence has begun and cannot do in one step: replayed at the next mount, twice if need be. While
//! there is one, `work/incompat/plyfs` keeps the kernel from mounting the upper.
//!
//! Directories are recorded by inode number: a path could be too long, and could have changed.
//!
//! Law: `Record::parse(record.encode()) == Some(record)`.

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Alias, Dir, Policy, Result, Upper};
use crate::sys::copy;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A name that has to be a whiteout, unless its object is still there.
    Whiteout(Place),
    /// Names that the staged object has to have.
    Links { staged: Vec<u8>, places: Vec<Place> },
}

/// A name, in the directory with an inode number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub directory: u64,
    pub name: Vec<u8>,
}

/// How many records there are.
#[derive(Default)]
pub(super) struct Live(Mutex<usize>);

pub(super) struct Recorded<'u> {
    upper: &'u Upper,
    name: Vec<u8>,
}

pub(super) const INCOMPATIBLE: &[u8] = b"incompat";
pub(super) const OURS: &[u8] = b"plyfs";
const MAGIC: &[u8] = b"plyfs journal 1\n";

impl Record {
    pub(super) fn places(&self) -> &[Place] {
        match self {
            Self::Whiteout(place) => std::slice::from_ref(place),
            Self::Links { places, .. } => places,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let staged = match self {
            Self::Whiteout(_) => &[][..],
            Self::Links { staged, .. } => staged,
        };
        let mut bytes = MAGIC.to_vec();
        push(&mut bytes, staged);
        for place in self.places() {
            bytes.extend_from_slice(&place.directory.to_le_bytes());
            push(&mut bytes, &place.name);
        }
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let staged = take(&mut rest)?;
        let mut places = Vec::new();
        while !rest.is_empty() {
            let (directory, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            places.push(Place { directory: u64::from_le_bytes(*directory), name: take(&mut rest)? });
        }
        match (staged.is_empty(), places.pop()) {
            (true, Some(place)) if places.is_empty() => Some(Self::Whiteout(place)),
            (true, _) => None,
            (false, last) => {
                places.extend(last);
                Some(Self::Links { staged, places })
            }
        }
    }
}

/// Names are at most 255 bytes long.
fn push(bytes: &mut Vec<u8>, name: &[u8]) {
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name);
}

fn take(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (&length, after) = rest.split_first()?;
    let (name, after) = after.split_at_checked(length.into())?;
    *rest = after;
    Some(name.to_vec())
}

impl Upper {
    pub(super) fn record_whiteout(&self, parent: &Dir, name: &[u8]) -> Result<Recorded<'_>> {
        self.record(&Record::Whiteout(place(parent, name)?))
    }

    pub(super) fn record_links(&self, aliases: &[Alias<'_>], staged: &[u8]) -> Result<Recorded<'_>> {
        let places = aliases.iter().map(|alias| place(alias.parent, alias.name)).collect::<Result<_>>()?;
        self.record(&Record::Links { staged: staged.to_vec(), places })
    }

    fn record(&self, record: &Record) -> Result<Recorded<'_>> {
        let mut live = self.journal.0.lock();
        if *live == 0 {
            make_directory(&self.work, INCOMPATIBLE)?;
            make_directory(&self.work.open(INCOMPATIBLE)?, OURS)?;
        }
        *live += 1;
        drop(live);
        let recorded = Recorded { upper: self, name: self.staging.next() };
        match self.write_record(&recorded.name, record) {
            Ok(()) => Ok(recorded),
            Err(error) => {
                recorded.forget()?;
                Err(error)
            }
        }
    }

    fn write_record(&self, name: &[u8], record: &Record) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.work, name, flags, Mode::RUSR)?;
        copy::write_at(&file, &record.encode(), 0)?;
        let durable = self.policy != Policy::Volatile;
        if durable {
            rustix::fs::fsync(&file)?;
        }
        rustix::fs::renameat(&self.work, name, &self.records, name)?;
        if durable {
            rustix::fs::fsync(self.records.readable()?)?;
        }
        Ok(())
    }
}

fn place(parent: &Dir, name: &[u8]) -> Result<Place> {
    Ok(Place { directory: parent.stat(b".")?.number.inode, name: name.to_vec() })
}

pub(super) fn make_directory(parent: &Dir, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

impl Recorded<'_> {
    /// What was recorded is done, or was not begun.
    pub(super) fn drop_now(self) -> Result<()> {
        rustix::fs::unlinkat(&self.upper.records, &self.name, AtFlags::empty())?;
        self.forget()
    }

    fn forget(self) -> Result<()> {
        let mut live = self.upper.journal.0.lock();
        *live = live.saturating_sub(1);
        if *live == 0 { Ok(let_kernel_mount(&self.upper.work)?) } else { Ok(()) }
    }
}

/// Takes our own bar away; other ones stay.
pub(super) fn let_kernel_mount(work: &Dir) -> rustix::io::Result<()> {
    let bars = match work.open(INCOMPATIBLE) {
        Err(Errno::NOENT) => return Ok(()),
        bars => bars?,
    };
    match rustix::fs::unlinkat(&bars, OURS, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => {}
        removed => removed?,
    }
    match rustix::fs::unlinkat(work, INCOMPATIBLE, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_a_torn_one_is_not() {
        let place = |directory, name: &[u8]| Place { directory, name: name.to_vec() };
        let long = vec![b'x'; 255];
        for record in [
            Record::Whiteout(place(7, b"a")),
            Record::Links { staged: b"#1".to_vec(), places: vec![place(1 << 50, b"a\n"), place(2, &long)] },
        ] {
            let bytes = record.encode();
            assert_eq!(Record::parse(&bytes), Some(record));
            assert_eq!(Record::parse(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(Record::parse(b""), None);
        assert_eq!(Record::parse(b"plyfs journal 1\n\0"), None);
    }
}
