//! Files that were copied up without their content, which then stays in the lower file: the kernel's `metacopy`, with
//! `redirect` for the path, where the kernel is to follow it; else `plyfs.unfilled`, whose value is the lower file's number
//! and that path: one mark, since an inode has room for little more. A file of the latter may be filled in part: where it
//! has data, the data counts, and its holes are the lower file's.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, XattrFlags};
use rustix::io::Errno;

use super::journal::{INCOMPATIBLE, let_kernel_mount, make_directory};
use super::private::Mark;
use super::recovery::UNFILLED;
use super::{
    At, Data, Dir, Marks, Namespace, Number, Origin, Policy, Reader, Result, Times, Upper, View, origin,
};
use crate::layer::Kind;
use crate::sys::{order, xattr};
use crate::union::NAME_MAX;

/// Where on the lower side something is that the upper only tells of: a file's content, or what a directory shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// At this path below the lower root.
    Path(Vec<u8>),
    /// Under this name, in the lower directories of its own.
    Name(Vec<u8>),
    /// In a form that is not followed.
    Unknown,
}

/// What is known to be said outside of the files.
#[derive(Default)]
pub(super) struct Known {
    /// There are unfilled files.
    noted: bool,
    /// Some are in our form, so that the kernel must not mount the upper.
    barred: bool,
}

/// The kernel follows no longer path.
const LONGEST_REDIRECT: usize = 255;
/// A longer path might not fit into an attribute of the file system.
const LONGEST_PATH: usize = 1024;

impl Elsewhere {
    /// As it is stored.
    pub(super) fn parse(target: Vec<u8>) -> Self {
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && name.len() <= NAME_MAX;
        match target.strip_prefix(b"/") {
            Some(path) if path.split(|&byte| byte == b'/').all(is_name) => Self::Path(path.to_vec()),
            None if is_name(&target) && !target.contains(&b'/') => Self::Name(target),
            _ => Self::Unknown,
        }
    }
}

fn target(path: &[u8]) -> Vec<u8> {
    [&b"/"[..], path].concat()
}

/// The value of our own mark.
fn own(origin: &Origin<'_>, path: &[u8]) -> Vec<u8> {
    [&origin::encode_number(origin)[..], &target(path)].concat()
}

impl View {
    /// With the number that our own mark tells.
    pub(super) fn unfilled(
        &self,
        parent: &Dir,
        name: &[u8],
        marks: &Marks,
    ) -> Result<Option<(Elsewhere, Option<Number>)>> {
        let value = |mark| self.mark(parent, name, mark);
        let unknown = Ok(Some((Elsewhere::Unknown, None)));
        let found = match (marks.has(Mark::Unfilled), marks.has(Mark::Metacopy)) {
            (false, false) => return Ok(None),
            (true, _) => {
                let value = value(Mark::Unfilled)?.unwrap_or_default();
                let Some((number, target)) = value.split_at_checked(origin::NUMBER) else { return unknown };
                return Ok(Some((Elsewhere::parse(target.to_vec()), origin::number(number))));
            }
            // As the kernel has it: anyone could have set it, to be shown what only others may see.
            (false, true) if self.namespace == Namespace::User => return unknown,
            // A value is a digest that the content would have to be held against.
            (false, true) if value(Mark::Metacopy)?.is_some_and(|value| !value.is_empty()) => return unknown,
            (false, true) => value(Mark::Redirect)?.unwrap_or_else(|| name.to_vec()),
        };
        Ok(Some((Elsewhere::parse(found), None)))
    }
}

impl Upper {
    /// Whether an object can be copied up with [`Data::Later`].
    pub fn can_wait(&self, path: &[u8]) -> bool {
        path.len() < LONGEST_PATH
    }

    /// Whether what is written to an unfilled file can be told from what is not.
    pub fn tells_holes(&self) -> bool {
        self.abilities.holes
    }

    /// The marks of an object without content, besides those of any copy. It is noted that there are some before there
    /// are.
    pub(super) fn wait(
        &self,
        origin: &Origin<'_>,
        copied: Vec<(Mark, Vec<u8>)>,
        path: &[u8],
    ) -> Result<Vec<(Mark, Vec<u8>)>> {
        let target = target(path);
        if self.namespace == Namespace::Trusted && !self.kept && target.len() <= LONGEST_REDIRECT {
            self.note_unfilled(&mut self.unfilled_known.lock())?;
            return Ok([copied, vec![(Mark::Redirect, target), (Mark::Metacopy, Vec::new())]].concat());
        }
        self.bar_kernel()?;
        Ok(vec![(Mark::Unfilled, own(origin, path))])
    }

    /// Makes what is written to an unfilled file count, block by block. `path` is the lower file's.
    pub fn fill_by_blocks(&self, file: BorrowedFd<'_>, origin: &Origin<'_>, path: &[u8]) -> Result<()> {
        let (place, name) = (At::Open(file).place(), self.namespace.name(Mark::Unfilled));
        if xattr::get(place, &name)?.is_none() {
            self.bar_kernel()?;
            xattr::set(place, &name, &own(origin, path), XattrFlags::empty())?;
        }
        Ok(())
    }

    /// The kernel knows nothing of our form, and would show holes.
    fn bar_kernel(&self) -> Result<()> {
        let mut known = self.unfilled_known.lock();
        if !known.barred {
            self.note_unfilled(&mut known)?;
            make_directory(&self.work, INCOMPATIBLE)?;
            make_directory(&self.work.open(INCOMPATIBLE)?, UNFILLED)?;
            known.barred = true;
        }
        Ok(())
    }

    fn note_unfilled(&self, known: &mut Known) -> Result<()> {
        if !known.noted {
            make_directory(&self.own, UNFILLED)?;
            known.noted = true;
        }
        Ok(())
    }

    /// Gives an unfilled file what it lacks; everything else stays. `file` is open for reading and writing.
    pub fn fill(&self, file: BorrowedFd<'_>, lacking: &Reader<'_>, origin: &Origin<'_>) -> Result<()> {
        self.pour(file, lacking)?;
        // What has no name does not outlive a power cut anyway.
        if self.policy != Policy::Volatile && self.stat(At::Open(file))?.links > 0 {
            order::before_name(file)?;
        }
        self.filled(file, origin)
    }

    /// As [`Upper::fill`], for who syncs and says [`Upper::filled`] later.
    pub fn pour(&self, file: BorrowedFd<'_>, lacking: &Reader<'_>) -> Result<()> {
        self.keeping_attributes(file, || lacking.copy_to(file))
    }

    /// Says that all content is there, in an order in which the kernel may see any part of it.
    pub fn filled(&self, file: BorrowedFd<'_>, origin: &Origin<'_>) -> Result<()> {
        let (at, kind) = (At::Open(file), Kind::File);
        self.set_mark(at, kind, Mark::Number, &origin::encode_number(origin))?;
        if self.stat(at)?.links < 2 {
            self.set_mark(at, kind, Mark::Origin, &origin::encode(origin))?;
        }
        for mark in [Mark::Metacopy, Mark::Redirect, Mark::Unfilled] {
            match xattr::remove(At::Open(file).place(), &self.namespace.name(mark)) {
                Err(Errno::NODATA) => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Gives a file that has no name its content.
    pub fn fill_nameless(&self, file: BorrowedFd<'_>, data: &Data<'_>) -> Result<()> {
        self.keeping_attributes(file, || self.write(file, data).map(drop))
    }

    /// Writing takes set-id bits and capabilities away, and makes a file younger.
    fn keeping_attributes(&self, file: BorrowedFd<'_>, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let at = At::Open(file);
        let before = self.stat(at)?;
        let capability = xattr::get(at.place(), b"security.capability")?;
        act()?;
        if let Some(value) = capability {
            xattr::set(at.place(), b"security.capability", &value, XattrFlags::empty())?;
        }
        if self.stat(at)?.permissions != before.permissions {
            self.set_mode(at, before.permissions)?;
        }
        self.set_times(at, Times::Set(before.accessed), Times::Set(before.modified))
    }

    /// Whether all files have their content, so that the kernel can mount the upper.
    pub fn is_sealed(&self) -> Result<bool> {
        Ok(self.own.find(UNFILLED)?.is_none())
    }

    /// Has all that was written on disk.
    pub fn sync_all(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(self.root.readable()?)?)
    }

    /// To be called when no file lacks anything any more.
    pub fn seal(&self) -> Result<()> {
        self.sync_all()?;
        let mut known = self.unfilled_known.lock();
        match self.work.open(INCOMPATIBLE).and_then(|bars| remove_directory(&bars, UNFILLED)) {
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
        let_kernel_mount(&self.work)?;
        remove_directory(&self.own, UNFILLED)?;
        *known = Known::default();
        Ok(())
    }
}

fn remove_directory(parent: &Dir, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_clean_is_not_followed() {
        let parse = |target: &[u8]| Elsewhere::parse(target.to_vec());
        assert_eq!(parse(b"/a/b c"), Elsewhere::Path(b"a/b c".to_vec()));
        assert_eq!(parse(b"name"), Elsewhere::Name(b"name".to_vec()));
        for target in [&b""[..], b"/", b"..", "/a/../b".as_bytes(), b"/a//b", b"a/b", b"/a/", &[b'x'; 256]] {
            assert_eq!(parse(target), Elsewhere::Unknown, "{}", target.escape_ascii());
        }
    }
}
