//! Mounts over the layers of a world: by the kernel's overlayfs, and by plyfs as a program is run. Where we may mount.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plyfs::layer::Kind;

use crate::support::world::{Shown, World};

/// Kind, permissions and content by path.
pub type Seen = BTreeMap<String, (Kind, u16, Vec<u8>)>;

/// What a program can learn of a path, and what has to outlast a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub kind: Kind,
    pub permissions: u16,
    pub owner: u32,
    /// Of what is no directory.
    pub links: Option<u64>,
    /// `None` if it was changed since the test began.
    pub modified: Option<i64>,
    pub note: Option<Vec<u8>>,
    pub number: u64,
    pub data: Vec<u8>,
}

pub type Tree = BTreeMap<String, Facts>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Kernel,
    Plyfs,
}

pub struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

/// The world's own upper, by the kernel; `None` for who may not mount.
pub fn mount(world: &World, layers: usize) -> Option<Mounted> {
    mount_with(world, layers, "")
}

/// With more options.
pub fn mount_with(world: &World, layers: usize, options: &str) -> Option<Mounted> {
    mount_at(By::Kernel, world, layers, "", options)
}

/// The upper in a folder of the world.
pub fn mount_at(by: By, world: &World, layers: usize, folder: &str, options: &str) -> Option<Mounted> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let folder = world.path(folder);
    for name in ["upper", "work", "mounted"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let target = folder.join("mounted");
    let lower: Vec<String> =
        (0..layers).rev().map(|number| world.path(&number.to_string()).display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},{options}",
        lower.join(":"),
        folder.join("upper").display(),
        folder.join("work").display()
    );
    let mut command = match by {
        By::Kernel => Command::new("mount"),
        By::Plyfs => Command::new(env!("CARGO_BIN_EXE_plyfs")),
    };
    if by == By::Kernel {
        command.args(["-t", "overlay", "overlay"]);
    }
    command.args(["-o", &options]).arg(&target).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()).then_some(Mounted(target))
}

pub fn as_seen(tree: &BTreeMap<String, Shown>) -> Seen {
    let seen = |shown: &Shown| (shown.kind, shown.permissions, shown.data.clone());
    tree.iter().map(|(path, shown)| (path.clone(), seen(shown))).collect()
}

/// What a union itself can be held against.
pub fn seen(facts: &Tree) -> Seen {
    let seen = |facts: &Facts| (facts.kind, facts.permissions, facts.data.clone());
    facts.iter().map(|(path, facts)| (path.clone(), seen(facts))).collect()
}

/// With numbers that another file system can have: the same where and only where they were the same.
pub fn renumbered(mut facts: Tree) -> Tree {
    let mut known = HashMap::new();
    for facts in facts.values_mut() {
        let next = known.len() as u64;
        facts.number = *known.entry(facts.number).or_insert(next);
    }
    facts
}

impl Mounted {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn tree(&self) -> Seen {
        seen(&self.facts(i64::MAX))
    }

    /// What was changed at `since` or later has no time.
    pub fn facts(&self, since: i64) -> Tree {
        let mut found = BTreeMap::new();
        walk(&self.0, "", since, &mut found);
        found
    }
}

fn walk(directory: &Path, prefix: &str, since: i64, found: &mut Tree) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        let facts = facts(&entry.path(), since);
        assert_eq!(
            std::os::unix::fs::DirEntryExt::ino(&entry),
            facts.number,
            "{path}: the listing and stat disagree"
        );
        if facts.kind == Kind::Directory {
            walk(&entry.path(), &format!("{path}/"), since, found);
        }
        found.insert(path, facts);
    }
}

fn facts(path: &Path, since: i64) -> Facts {
    let metadata = fs::symlink_metadata(path).unwrap();
    let (kind, data) = match metadata.file_type() {
        kind if kind.is_dir() => (Kind::Directory, Vec::new()),
        kind if kind.is_symlink() => {
            (Kind::Symlink, fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec())
        }
        kind if kind.is_file() => (Kind::File, fs::read(path).unwrap()),
        other => panic!("{path:?} is a {other:?}"),
    };
    let mut note = vec![0; 64];
    let note = rustix::fs::lgetxattr(path, "user.note", &mut note).ok().map(|length| note[..length].to_vec());
    Facts {
        kind,
        permissions: (metadata.permissions().mode() & 0o7777) as u16,
        owner: metadata.uid(),
        links: (kind != Kind::Directory).then(|| metadata.nlink()),
        modified: (metadata.mtime() < since).then(|| metadata.mtime()),
        note,
        number: metadata.ino(),
        data,
    }
}
