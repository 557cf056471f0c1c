//! What an upper changes of an image: its tree on disk, held against the image's, in the order of paths. Nothing is
//! locked, so that it can be asked of an upper that is being written to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context as _;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};

use crate::layer::{Id, Index, Kind};
use crate::sys::xattr::{self, Place};
use crate::union::upper::Namespace;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Changed,
    Deleted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Below the root.
    pub path: Vec<u8>,
    pub change: Change,
    pub kind: Kind,
    pub permissions: u16,
    pub size: u64,
}

/// What one name of a directory is about.
enum Found {
    Object(Stat),
    Deleted(Id),
}

/// A directory being looked through.
struct Level {
    directory: OwnedFd,
    path: Vec<u8>,
    lower: Option<Id>,
    /// The last name first.
    todo: Vec<(Vec<u8>, Found)>,
}

struct Comparison<'a> {
    tree: &'a Index,
    namespace: Namespace,
    changed: Vec<Changed>,
    /// Where in `changed` a directory stands that differs in nothing itself.
    unsure: Vec<usize>,
}

pub fn changes(tree: &Index, upper: &Path, namespace: Namespace) -> anyhow::Result<Vec<Changed>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = fs::open(upper, flags, Mode::empty()).with_context(|| upper.display().to_string())?;
    let mut comparison = Comparison { tree, namespace, changed: Vec::new(), unsure: Vec::new() };
    let mut levels = vec![comparison.level(root, Vec::new(), Some(0))?];
    while let Some(level) = levels.last_mut() {
        match level.todo.pop() {
            Some((name, found)) => {
                let deeper = comparison.entry(level, &name, found);
                levels.extend(
                    deeper.with_context(|| upper.join(OsStr::from_bytes(&name)).display().to_string())?,
                );
            }
            None => drop(levels.pop()),
        }
    }
    Ok(comparison.finish())
}

impl Comparison<'_> {
    fn level(&self, directory: OwnedFd, path: Vec<u8>, lower: Option<Id>) -> anyhow::Result<Level> {
        let mut names = BTreeMap::new();
        let mut opaque = self.is_opaque(&directory)?;
        let mut hidden = Vec::new();
        for name in list(&directory)? {
            let stat = fs::statat(&directory, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW)?;
            match self.whiteout(&directory, &name, &stat)? {
                Some(Whiteout::Of(name)) => hidden.push(name.to_vec()),
                Some(Whiteout::Opaque) => opaque = true,
                None => drop(names.insert(name, Found::Object(stat))),
            }
        }
        let children = lower.map(|lower| self.tree.children(lower));
        for child in children.iter().flat_map(|children| children.iter()) {
            if (opaque || hidden.iter().any(|name| name == child.name)) && !names.contains_key(child.name) {
                names.insert(child.name.to_vec(), Found::Deleted(child.id));
            }
        }
        Ok(Level { directory, path, lower, todo: names.into_iter().rev().collect() })
    }

    fn is_opaque(&self, directory: &OwnedFd) -> anyhow::Result<bool> {
        let value = xattr::get(Place::Open(directory.as_fd()), &self.mark("opaque"))?;
        Ok(value.as_deref() == Some(b"y"))
    }

    /// The name of a private attribute.
    fn mark(&self, word: &str) -> Vec<u8> {
        let namespace = match self.namespace {
            Namespace::User => "user",
            Namespace::Trusted => "trusted",
        };
        format!("{namespace}.overlay.{word}").into_bytes()
    }

    /// A device of number 0, or, where no device can be made, an empty file by its name.
    fn whiteout<'n>(
        &self,
        directory: &OwnedFd,
        name: &'n [u8],
        stat: &Stat,
    ) -> anyhow::Result<Option<Whiteout<'n>>> {
        let hidden = match (FileType::from_raw_mode(stat.st_mode), name.strip_prefix(b".wh.")) {
            (FileType::CharacterDevice, _) if stat.st_rdev == 0 => return Ok(Some(Whiteout::Of(name))),
            (FileType::RegularFile, Some(hidden)) if stat.st_size == 0 => hidden,
            _ => return Ok(None),
        };
        let literal = xattr::get(Place::Name(directory.as_fd(), name), &self.mark("plyfs.literal"))?;
        Ok(match (literal, hidden) {
            (Some(_), _) => None,
            (None, b".wh..opq") => Some(Whiteout::Opaque),
            (None, hidden) => Some(Whiteout::Of(hidden)),
        })
    }

    /// Notes one name; a directory is to be looked through next.
    fn entry(&mut self, level: &Level, name: &[u8], found: Found) -> anyhow::Result<Option<Level>> {
        let mut path = level.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let stat = match found {
            Found::Deleted(id) => {
                self.deleted(path, id);
                return Ok(None);
            }
            Found::Object(stat) => stat,
        };
        let lower = level.lower.and_then(|lower| self.tree.lookup(lower, name)).map(|entry| entry.id);
        let target = || fs::readlinkat(&level.directory, OsStr::from_bytes(name), Vec::new());
        let differs = match lower {
            Some(id) => self.differs(id, &stat, || Ok(target()?.into_bytes()))?,
            None => true,
        };
        let kind = kind(&stat);
        if lower.is_some() && !differs && kind == Kind::Directory {
            self.unsure.push(self.changed.len());
        }
        if differs || kind == Kind::Directory {
            let change = if lower.is_some() { Change::Changed } else { Change::Added };
            let permissions = (stat.st_mode & 0o7777) as u16;
            self.changed.push(Changed {
                path: path.clone(),
                change,
                kind,
                permissions,
                size: stat.st_size as u64,
            });
        }
        if kind != Kind::Directory {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = fs::openat(&level.directory, OsStr::from_bytes(name), flags, Mode::empty())?;
        let lower = lower.filter(|&id| self.tree.inode(id).kind() == Kind::Directory);
        self.level(directory, path, lower).map(Some)
    }

    fn deleted(&mut self, path: Vec<u8>, id: Id) {
        let inode = self.tree.inode(id);
        let (kind, permissions, size) = (inode.kind(), inode.mode(), inode.size());
        self.changed.push(Changed { path, change: Change::Deleted, kind, permissions, size });
    }

    /// Whether an object is another than the image's. A file of the same size and time has the same bytes.
    fn differs(
        &self,
        id: Id,
        stat: &Stat,
        target: impl FnOnce() -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<bool> {
        let inode = self.tree.inode(id);
        let kind = kind(stat);
        let mtime = inode.mtime();
        let same = inode.kind() == kind
            && (kind == Kind::Symlink || u32::from(inode.mode()) == stat.st_mode & 0o7777)
            && (inode.uid(), inode.gid()) == (stat.st_uid, stat.st_gid)
            && (mtime.seconds, u64::from(mtime.nanoseconds)) == (stat.st_mtime, stat.st_mtime_nsec);
        Ok(!same
            || match kind {
                Kind::File => inode.size() != stat.st_size as u64,
                Kind::Symlink => self.tree.target(id)? != target()?,
                Kind::CharDevice | Kind::BlockDevice => {
                    inode.rdev() != (fs::major(stat.st_rdev), fs::minor(stat.st_rdev))
                }
                _ => false,
            })
    }

    /// A directory that differs in nothing itself is changed by what is noted below it, or not at all.
    fn finish(self) -> Vec<Changed> {
        let mut unsure = self.unsure.into_iter().rev().peekable();
        let mut kept: Vec<Changed> = Vec::new();
        for (at, changed) in self.changed.into_iter().enumerate().rev() {
            let is_unsure = unsure.next_if_eq(&at).is_some();
            let holds_last = |last: &Changed| {
                last.path.strip_prefix(changed.path.as_slice()).is_some_and(|rest| rest.starts_with(b"/"))
            };
            if !is_unsure || kept.last().is_some_and(holds_last) {
                kept.push(changed);
            }
        }
        kept.reverse();
        kept
    }
}

enum Whiteout<'a> {
    Of(&'a [u8]),
    Opaque,
}

fn list(directory: &OwnedFd) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        _ => Kind::File,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::layer::tree::{Attributes, Body, Node};
    use crate::layer::{Identity, Seek, Time, Tree};
    use crate::oci::Digest;

    /// `/etc/{a,b}`, `/gone/{x,y}`, `/same/deep`, owned by whoever runs the test.
    fn image(upper: &Path) -> Index {
        let owner = std::fs::metadata(upper).unwrap();
        let mtime = Time { seconds: 7, nanoseconds: 9 };
        let owned = Attributes { mode: 0o755, uid: owner.uid(), gid: owner.gid(), mtime };
        let mut tree = Tree::new();
        for (directory, names) in [("etc", ["a", "b"]), ("gone", ["x", "y"]), ("same", ["deep", "other"])] {
            let node = tree.make(&owned, &[], Body::Directory).unwrap();
            tree.link(Node::ROOT, directory.as_bytes(), node).unwrap();
            for name in names {
                let file = tree.make(&owned, &[], Body::Symlink(b"image")).unwrap();
                tree.link(node, name.as_bytes(), file).unwrap();
            }
        }
        let key = Digest::of(b"a chain");
        let bytes = tree.into_index(&Identity::of_merged(key), &Seek::default());
        Index::from_bytes(bytes, &key).unwrap()
    }

    fn as_in_image(path: &Path) {
        let time = fs::Timespec { tv_sec: 7, tv_nsec: 9 };
        let times = fs::Timestamps { last_access: time, last_modification: time };
        fs::utimensat(fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    fn listing(tree: &Index, upper: &Path) -> Vec<String> {
        let changed = changes(tree, upper, Namespace::User).unwrap();
        let line = |one: &Changed| format!("{:?} {}", one.change, String::from_utf8_lossy(&one.path));
        changed.iter().map(line).collect()
    }

    #[test]
    fn what_is_added_changed_and_deleted_is_told_with_the_directories_above() {
        let upper = tempfile::tempdir().unwrap();
        let path = |name: &str| upper.path().join(name);
        let tree = image(upper.path());
        std::fs::create_dir_all(path("etc/new")).unwrap();
        symlink("mine", path("etc/a")).unwrap();
        std::fs::write(path("etc/.wh.b"), "").unwrap();
        std::fs::write(path("etc/new/file"), "bytes").unwrap();
        std::fs::create_dir(path("gone")).unwrap();
        std::fs::write(path("gone/.wh..wh..opq"), "").unwrap();
        symlink("image", path("gone/y")).unwrap();
        as_in_image(&path("gone/y"));
        let expected =
            ["Changed etc", "Changed etc/a", "Deleted etc/b", "Added etc/new", "Added etc/new/file"];
        let deleted = ["Changed gone", "Deleted gone/x"];
        assert_eq!(listing(&tree, upper.path()), [&expected[..], &deleted[..]].concat());
    }

    #[test]
    fn what_was_copied_up_and_is_as_before_is_not_told() {
        let upper = tempfile::tempdir().unwrap();
        let path = |name: &str| upper.path().join(name);
        let tree = image(upper.path());
        std::fs::create_dir(path("same")).unwrap();
        symlink("image", path("same/deep")).unwrap();
        as_in_image(&path("same/deep"));
        as_in_image(&path("same"));
        assert_eq!(listing(&tree, upper.path()), [""; 0]);
        std::fs::write(path("same/.wh.other"), "").unwrap();
        as_in_image(&path("same"));
        assert_eq!(listing(&tree, upper.path()), ["Changed same", "Deleted same/other"]);
    }
}
