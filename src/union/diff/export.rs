//! Changes as a layer.

use std::collections::HashMap;
use std::io::{self, Write};

use super::content::Number;
use super::{Change, Changed, Diff, Print, What};
use crate::layer::Kind;
use crate::layer::whiteout;
use crate::layer::write::{Body, Entry, Hidden, Writer, join};
use crate::union::{Error, NAME_MAX, Result};

/// What becomes of a name that a layer has no form for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnameable {
    Refused,
    Skipped,
}

/// So many are named in a message.
const NAMED: usize = 10;

/// Where in a layer changes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// As they are, with the root's.
    Root,
    /// To this directory, which becomes what the root is of what is compared.
    As(&'a [u8]),
    /// To this directory, which stays as it is; empty: to the root.
    Within(&'a [u8]),
}

impl Place<'_> {
    /// Where a change goes; none for that of a root that stays.
    fn path(self, path: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Root => Some(path.to_vec()),
            Self::Within(_) if path.is_empty() => None,
            Self::As(directory) if path.is_empty() => Some(directory.to_vec()),
            Self::As(directory) | Self::Within(directory) => Some(join(directory, path)),
        }
    }
}

struct Export<'a, W> {
    writer: &'a mut Writer<W>,
    unnameable: Unnameable,
    place: Place<'a>,
    /// Where the first name of each file with several went.
    named: HashMap<Number, Vec<u8>>,
    /// The first few, and how many there are.
    refused: (Vec<String>, usize),
    /// How much was written.
    entries: u64,
}

/// Writes the changes, and tells how many entries that were and what was seen of the upper.
pub fn export<W: Write>(
    diff: &Diff,
    writer: &mut Writer<W>,
    unnameable: Unnameable,
    place: Place<'_>,
) -> Result<(u64, Print)> {
    let (named, refused) = (HashMap::new(), (Vec::new(), 0));
    let mut export = Export { writer, unnameable, place, named, refused, entries: 0 };
    let print = diff.walk(&mut |change| export.change(change))?;
    match export.refused {
        (_, 0) => Ok((export.entries, print)),
        (names, count) => Err(unnameable_names(&names, count)),
    }
}

fn unnameable_names(names: &[String], count: usize) -> Error {
    let more = count - names.len();
    let mut names = names.join(", ");
    if more > 0 {
        names.push_str(&format!(" and {more} more"));
    }
    Error::Fault { doing: "a layer has no form for these names".to_owned(), source: names.into() }
}

impl<W: Write> Export<'_, W> {
    fn change(&mut self, change: &Change<'_>) -> Result<()> {
        let Some(path) = self.place.path(change.path) else { return Ok(()) };
        let path = path.as_slice();
        match change.what {
            What::Deleted(_) => {
                let (directory, name) = split(path);
                if whiteout::encode(name).len() > NAME_MAX || whiteout::is_marker(name) {
                    return self.refuse(path);
                }
                self.entries += 1;
                self.writer.hide(directory, Hidden::Name(name)).map_err(writing)
            }
            What::Emptied => {
                self.entries += 1;
                self.writer.hide(path, Hidden::Everything).map_err(writing)
            }
            What::Added(_) | What::Changed(_)
                if path.split(|&byte| byte == b'/').any(whiteout::is_marker) =>
            {
                self.refuse(path)
            }
            What::Added(changed) | What::Changed(changed) => self.object(path, &changed),
        }
    }

    fn refuse(&mut self, path: &[u8]) -> Result<()> {
        let shown = format!("/{}", path.escape_ascii());
        match self.unnameable {
            Unnameable::Skipped => log::warn!("{shown}: a layer has no form for this name; left out"),
            Unnameable::Refused => {
                let (names, count) = &mut self.refused;
                *count += 1;
                names.extend((*count <= NAMED).then_some(shown));
            }
        }
        Ok(())
    }

    fn object(&mut self, path: &[u8], changed: &Changed<'_>) -> Result<()> {
        let facts = changed.facts;
        let number = if facts.links > 1 { changed.content.number()? } else { None };
        let first = number.and_then(|number| self.named.get(&number));
        let body = match (first, facts.kind) {
            (Some(first), _) => Body::HardLink(first),
            (None, Kind::Directory) => Body::Directory,
            (None, Kind::File) => Body::File(facts.size),
            (None, Kind::Symlink) => Body::Symlink(&facts.target),
            (None, Kind::CharDevice) => Body::CharDevice(facts.device.0, facts.device.1),
            (None, Kind::BlockDevice) => Body::BlockDevice(facts.device.0, facts.device.1),
            (None, Kind::Fifo) => Body::Fifo,
            (None, Kind::Socket | Kind::Whiteout | Kind::LowerLink) => {
                log::warn!("/{}: a socket has no place in a layer; left out", path.escape_ascii());
                return Ok(());
            }
        };
        let entry = Entry {
            path,
            body,
            mode: facts.permissions,
            user: facts.user,
            group: facts.group,
            modified: facts.modified,
            xattrs: &facts.xattrs,
        };
        self.writer.entry(&entry).map_err(writing)?;
        self.entries += 1;
        if let Body::File(_) = body {
            changed.read(&mut |bytes| self.writer.content(bytes).map_err(writing))?;
        }
        if let Some(number) = number {
            self.named.entry(number).or_insert_with(|| path.to_vec());
        }
        Ok(())
    }
}

pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn writing(source: io::Error) -> Error {
    Error::Fault { doing: "writing the layer".to_owned(), source: Box::new(source) }
}
