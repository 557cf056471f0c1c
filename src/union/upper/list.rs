//! Listing a directory of the upper in one pass.

use std::collections::HashSet;

use rustix::fs::{FileType, RawDirEntry};

use super::private::Mark;
use super::whiteout::{MARKER, OPAQUE_MARKER};
use super::{At, Dir, Entry, Number, Result, View};
use crate::layer::Kind;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: Vec<u8>,
    pub shown: Shown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    Whiteout,
    /// A directory that hides the lower ones is told by [`View::entry`].
    Object {
        kind: Kind,
        number: Number,
    },
}

/// What has to be asked of an entry beyond what the listing says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// Its number, its kind, or whether it is a whiteout.
    Entry,
    /// Whether it is a marker.
    Marker,
}

struct Raw {
    name: Vec<u8>,
    kind: Kind,
    inode: u64,
    doubt: Doubt,
}

impl View {
    /// Whiteouts in whatever form, each once, and objects; `.` and `..` are left out.
    pub fn list(&self, directory: &Dir) -> Result<Vec<Listed>> {
        let marks = self.marks(At::Name(directory, b"."))?;
        let may_have_whiteout_files =
            marks.has(Mark::Opaque) && self.mark(directory, b".", Mark::Opaque)?.as_deref() == Some(b"x");
        let doubts = Doubts { may_have_whiteout_files, is_impure: marks.has(Mark::Impure) };
        let mut found = Vec::new();
        directory.each(|entry| {
            found.push(doubts.raw(entry));
            Ok(())
        })?;
        self.resolve(directory, found)
    }

    fn resolve(&self, directory: &Dir, found: Vec<Raw>) -> Result<Vec<Listed>> {
        let mut listed = Vec::with_capacity(found.len());
        let mut hidden = Vec::new();
        for raw in found {
            match raw.doubt {
                Doubt::None => {
                    let shown = Shown::Object { kind: raw.kind, number: Number::Upper(raw.inode) };
                    listed.push(Listed { name: raw.name, shown });
                }
                Doubt::Marker if self.is_marker_there(directory, &raw.name)? => hidden.push(raw.name),
                _ => listed.extend(self.look(directory, raw.name)?),
            }
        }
        add_hidden(&mut listed, &hidden);
        Ok(listed)
    }

    fn is_marker_there(&self, directory: &Dir, name: &[u8]) -> Result<bool> {
        match directory.find(name)? {
            Some(stat) => self.is_marker(directory, name, &stat),
            None => Ok(false),
        }
    }

    /// `None` for what went away meanwhile.
    fn look(&self, directory: &Dir, name: Vec<u8>) -> Result<Option<Listed>> {
        let shown = match self.entry(directory, &name)? {
            Entry::Absent => return Ok(None),
            Entry::Whiteout => Shown::Whiteout,
            Entry::Object(object) => Shown::Object { kind: object.stat.kind, number: object.number },
        };
        Ok(Some(Listed { name, shown }))
    }
}

/// Names that only a marker speaks of are whiteouts; what is beside its marker shows.
fn add_hidden(listed: &mut Vec<Listed>, markers: &[Vec<u8>]) {
    if markers.is_empty() {
        return;
    }
    let shown: HashSet<Vec<u8>> = listed.iter().map(|entry| entry.name.clone()).collect();
    for marker in markers.iter().filter(|marker| *marker != OPAQUE_MARKER) {
        let name = marker[MARKER.len()..].to_vec();
        if !shown.contains(&name) && !name.is_empty() {
            listed.push(Listed { name, shown: Shown::Whiteout });
        }
    }
}

struct Doubts {
    may_have_whiteout_files: bool,
    /// Some entries have the numbers of lower objects.
    is_impure: bool,
}

impl Doubts {
    fn raw(&self, entry: &RawDirEntry<'_>) -> Raw {
        let (name, kind) = (entry.file_name().to_bytes().to_vec(), entry.file_type());
        let doubt = match kind {
            FileType::RegularFile | FileType::Unknown if name.starts_with(MARKER) => Doubt::Marker,
            FileType::CharacterDevice | FileType::Unknown => Doubt::Entry,
            FileType::RegularFile if self.may_have_whiteout_files => Doubt::Entry,
            _ if self.is_impure => Doubt::Entry,
            // The kernel takes `impure` away where it follows no origin, as those of moved directories.
            FileType::Directory => Doubt::Entry,
            _ => Doubt::None,
        };
        Raw { name, kind: kind.into(), inode: entry.ino(), doubt }
    }
}
