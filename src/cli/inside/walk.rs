//! Ways through an image's tree with no mount: a path to its inode, with symlinks followed as in the mounted image,
//! never out of it.

use crate::cli::output::printable;
use crate::layer::{Id, Index, Kind, index};

const MOST_LINKS: u32 = 40;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}: no such file or directory")]
    Missing(String),
    #[error("{0}: not a directory")]
    NotADirectory(String),
    #[error("{0}: too many symbolic links")]
    TooManyLinks(String),
    #[error(transparent)]
    Index(#[from] index::Error),
}

/// What happens to a symlink at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    Followed,
    Kept,
}

/// The inode at `path`, which starts at the root with or without a slash. A slash at its end asks for a directory.
pub fn find(tree: &Index, path: &[u8], last: Last) -> Result<Id, Error> {
    let mut walk = Walk { tree, path, at: vec![0], links: 0 };
    let mut todo = components(path);
    while let Some(name) = todo.pop() {
        let keep = last == Last::Kept && todo.is_empty();
        if let Some(target) = walk.step(&name, keep)? {
            todo.extend(target);
        }
    }
    Ok(walk.here())
}

struct Walk<'a> {
    tree: &'a Index,
    path: &'a [u8],
    /// The directories passed, from the root; the last is where the walk is, and may be no directory.
    at: Vec<Id>,
    links: u32,
}

impl Walk<'_> {
    fn here(&self) -> Id {
        self.at.last().copied().unwrap_or(0)
    }

    /// One name further. A symlink gives the names to go on with, last first.
    fn step(&mut self, name: &[u8], keep: bool) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let here = self.here();
        if self.tree.inode(here).kind() != Kind::Directory {
            return Err(Error::NotADirectory(printable(self.path)));
        }
        match name {
            b"." => {}
            b".." if self.at.len() > 1 => {
                self.at.pop();
            }
            b".." => {}
            _ => {
                let entry = self.tree.lookup(here, name).filter(|entry| entry.kind != Kind::Whiteout);
                let id = entry.ok_or_else(|| Error::Missing(printable(self.path)))?.id;
                if self.tree.inode(id).kind() == Kind::Symlink && !keep {
                    return self.follow(id).map(Some);
                }
                self.at.push(id);
            }
        }
        Ok(None)
    }

    fn follow(&mut self, link: Id) -> Result<Vec<Vec<u8>>, Error> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Error::TooManyLinks(printable(self.path)));
        }
        let target = self.tree.target(link)?;
        if target.starts_with(b"/") {
            self.at.truncate(1);
        }
        Ok(components(target))
    }
}

/// The names of a path, last first; one that ends in a slash ends in `.`.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> =
        path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    if path.ends_with(b"/") {
        names.push(b".".to_vec());
    }
    names.reverse();
    names
}

/// The last name of a path that a copy of it gets; none for the root and for what ends in a dot.
pub fn last_name(path: &[u8]) -> Option<&[u8]> {
    let name = path.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty())?;
    (name != b"." && name != b"..").then_some(name)
}

/// `directory/name`, with one slash.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
