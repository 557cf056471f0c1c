//! What has a name in a directory of the upper.

use super::private::{FOREIGN_OPAQUE, Mark};
use super::whiteout::OPAQUE_MARKER;
use super::{At, Dir, Elsewhere, Result, View, origin};
use crate::layer::Kind;
use crate::lower::Stat;
use crate::sys::xattr;
use rustix::io::Errno;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Absent,
    /// Hides the lower object of this name.
    Whiteout,
    Object(Object),
}

/// A visible object and what its private attributes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub stat: Stat,
    pub number: Number,
    /// A directory that hides the lower ones of its name.
    pub opaque: bool,
    /// A directory that exists only as a parent; its attributes are those of the one below.
    pub implicit: bool,
    /// Where the lower object of a moved one is; to be followed only as section 2 of the semantics allows.
    pub redirect: Option<Box<Elsewhere>>,
    /// The content, or part of it, is still in a lower file.
    pub unfilled: Option<Elsewhere>,
}

/// The inode number that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// Its own.
    Upper(u64),
    /// Of the lower object it was copied from.
    Lower { file_system: u32, inode: u64 },
    /// The same as the kernel records it: by the file system's UUID.
    Handle { uuid: [u8; 16], inode: u64 },
}

impl View {
    pub fn entry(&self, parent: &Dir, name: &[u8]) -> Result<Entry> {
        let Some(stat) = parent.find(name)? else {
            return Ok(match self.is_marked(parent, name)? {
                true => Entry::Whiteout,
                false => Entry::Absent,
            });
        };
        if stat.is_whiteout() {
            return Ok(Entry::Whiteout);
        }
        if self.is_marker(parent, name, &stat)? {
            return Ok(Entry::Absent);
        }
        self.object(parent, name, stat)
    }

    /// What the private attributes of an object with this `stat` say.
    fn object(&self, parent: &Dir, name: &[u8], stat: Stat) -> Result<Entry> {
        let listed = self.marks(At::Name(parent, name))?;
        if listed.has(Mark::Whiteout) && stat.kind == Kind::File && stat.size == 0 {
            return Ok(Entry::Whiteout);
        }
        let value = |mark| listed.has(mark).then(|| self.mark(parent, name, mark)).transpose();
        let opaque = match stat.kind {
            Kind::Directory => {
                value(Mark::Opaque)?.flatten().as_deref() == Some(b"y")
                    || listed.foreign_opaque && self.is_foreign_opaque(parent, name)?
                    || self.is_marked(parent, name)?
                    || has_opaque_marker(parent, name)?
            }
            _ => false,
        };
        let unfilled = match stat.kind {
            Kind::File => self.unfilled(parent, name, &listed)?,
            _ => None,
        };
        let (unfilled, told) = unfilled.map_or((None, None), |(unfilled, number)| (Some(unfilled), number));
        let stored =
            || Ok::<_, super::Error>(value(Mark::Number)?.flatten().as_deref().and_then(origin::number));
        let number = match told.map_or_else(stored, |number| Ok(Some(number)))? {
            Some(number) => number,
            None => {
                let handle = value(Mark::Origin)?.flatten();
                handle.as_deref().and_then(origin::parse).unwrap_or(Number::Upper(stat.number.inode))
            }
        };
        Ok(Entry::Object(Object {
            number,
            opaque,
            implicit: listed.has(Mark::Implicit),
            redirect: match stat.kind {
                Kind::Directory => {
                    value(Mark::Redirect)?.flatten().map(|target| Box::new(Elsewhere::parse(target)))
                }
                _ => None,
            },
            unfilled,
            stat,
        }))
    }

    pub(super) fn mark(&self, parent: &Dir, name: &[u8], mark: Mark) -> Result<Option<Vec<u8>>> {
        Ok(xattr::get(parent.place(name), &self.namespace.name(mark))?)
    }

    fn is_foreign_opaque(&self, parent: &Dir, name: &[u8]) -> Result<bool> {
        Ok(xattr::get(parent.place(name), FOREIGN_OPAQUE)?.as_deref() == Some(b"y"))
    }

    /// Which private attributes there are, in one call.
    pub(super) fn marks(&self, at: At<'_>) -> Result<Marks> {
        let names = match xattr::list(at.place()) {
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Vec::new(),
            names => names?,
        };
        let mut marks = Marks::default();
        for name in names.split(|&byte| byte == 0) {
            if let Some(mark) = self.namespace.mark(name) {
                marks.found.push(mark);
            }
            marks.foreign_opaque |= self.namespace == super::Namespace::User && name == FOREIGN_OPAQUE;
        }
        Ok(marks)
    }
}

/// Who may not look into a directory sees nothing that is hidden in it either.
fn has_opaque_marker(parent: &Dir, name: &[u8]) -> Result<bool> {
    match parent.find(&[name, b"/", OPAQUE_MARKER].concat()) {
        Err(Errno::ACCESS) => Ok(false),
        found => Ok(found?.is_some()),
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    found: Vec<Mark>,
    foreign_opaque: bool,
}

impl Marks {
    pub(super) fn has(&self, mark: Mark) -> bool {
        self.found.contains(&mark)
    }
}
