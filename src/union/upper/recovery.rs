//! What a mount finds of the one before: sequences that were cut short are finished, and what was staged is removed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::journal::{INCOMPATIBLE, OURS, Record, let_kernel_mount};
use super::stage::{self, Names};
use super::{Dir, Error, Result, Upper};

/// In `work/incompat`: there are files that only we can read. In `WORKDIR/plyfs`: there are unfilled ones in any form.
pub(super) const UNFILLED: &[u8] = b"plyfs-unfilled";
/// The longest record that is read: 100,000 names.
const LONGEST_RECORD: u64 = 32 << 20;

/// Refuses what another overlayfs could not leave behind and still be read by this one.
pub(super) fn check_compatible(work: &Dir) -> Result<()> {
    let bars = match work.open(INCOMPATIBLE) {
        Err(Errno::NOENT) => return Ok(()),
        bars => bars?,
    };
    match bars.names()?.into_iter().find(|name| name != OURS && name != UNFILLED) {
        None => Ok(()),
        Some(bar) => Err(Error::Fault {
            doing: "opening the work directory".to_owned(),
            source: format!(
                "`work/incompat/{}` says that the upper is unfit: it was mounted in a way that does not survive",
                String::from_utf8_lossy(&bar)
            )
            .into(),
        }),
    }
}

/// Empties `work`, but for what bars others.
pub(super) fn clean(work: &Dir, names: &Names) -> Result<()> {
    for name in work.names()?.iter().filter(|name| *name != INCOMPATIBLE) {
        // A fresh name must not meet an old one: all old ones are gone before any is given out, but for these.
        let fresh = loop {
            let fresh = names.next();
            if work.find(&fresh)?.is_none() {
                break fresh;
            }
        };
        rustix::fs::renameat(work, name, work, &fresh)?;
        stage::discard(work, &fresh, names)?;
    }
    Ok(())
}

impl Upper {
    /// Finishes what the journal says was begun; done again, it changes nothing.
    pub(super) fn replay(&self) -> Result<()> {
        let names = self.records.names()?;
        let records = names.iter().map(|name| self.read_record(name)).collect::<Result<Vec<_>>>()?;
        if !records.is_empty() {
            let directories = self.find_directories(&records)?;
            records.iter().try_for_each(|record| self.redo(record, &directories))?;
            rustix::fs::syncfs(self.records.readable()?)?;
        }
        for name in &names {
            rustix::fs::unlinkat(&self.records, name, AtFlags::empty())?;
        }
        for staged in self.links.names()? {
            rustix::fs::unlinkat(&self.links, &staged, AtFlags::empty())?;
        }
        Ok(let_kernel_mount(&self.work)?)
    }

    fn read_record(&self, name: &[u8]) -> Result<Record> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.records, name, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        let doing = || format!("reading the journal's record {}", String::from_utf8_lossy(name));
        file.take(LONGEST_RECORD).read_to_end(&mut bytes).map_err(Error::while_doing(doing))?;
        Record::parse(&bytes).ok_or_else(|| Error::while_doing(doing)("it is damaged"))
    }

    fn redo(&self, record: &Record, directories: &HashMap<u64, Dir>) -> Result<()> {
        for place in record.places() {
            let Some(directory) = directories.get(&place.directory) else { continue };
            if self.is_taken(directory, &place.name)? {
                continue;
            }
            match record {
                Record::Whiteout(_) => self.white_out(directory, &place.name)?,
                Record::Links { staged, .. } => self.link_again(staged, directory, &place.name)?,
            }
        }
        Ok(())
    }

    fn is_taken(&self, directory: &Dir, name: &[u8]) -> Result<bool> {
        Ok(directory.find(name)?.is_some() || self.is_marked(directory, name)?)
    }

    /// Without the stage, all links were made.
    fn link_again(&self, staged: &[u8], directory: &Dir, name: &[u8]) -> Result<()> {
        let before = self.expect_copy(directory)?;
        match rustix::fs::linkat(&self.links, staged, directory, name, AtFlags::empty()) {
            Err(Errno::NOENT) => {}
            linked => linked?,
        }
        self.after_copy(directory, &before);
        Ok(())
    }

    /// The directories of the records, found by walking the upper.
    fn find_directories(&self, records: &[Record]) -> Result<HashMap<u64, Dir>> {
        let mut wanted: HashMap<u64, Option<Dir>> =
            records.iter().flat_map(|record| record.places()).map(|place| (place.directory, None)).collect();
        let mut waiting: Vec<(Dir, u64, Option<Vec<u8>>)> =
            vec![(self.root.clone(), self.root.stat(b".")?.number.inode, None)];
        while let Some((parent, inode, name)) = waiting.pop() {
            let directory = match name {
                None => parent,
                Some(name) => parent.open(&name)?,
            };
            if let Some(found) = wanted.get_mut(&inode) {
                *found = Some(directory.clone());
            }
            directory.each(|entry| {
                if entry.file_type() == FileType::Directory {
                    let name = entry.file_name().to_bytes().to_vec();
                    waiting.push((directory.clone(), entry.ino(), Some(name)));
                }
                Ok(())
            })?;
        }
        Ok(wanted.into_iter().filter_map(|(inode, found)| Some((inode, found?))).collect())
    }
}
