//! Kernel overlayfs over the same layers and the same upper, where we may mount.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plyfs::layer::Kind;

use crate::support::world::{Shown, World};

/// Kind, permissions and content by path.
pub type Seen = BTreeMap<String, (Kind, u16, Vec<u8>)>;

pub struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

/// `None` for who may not mount.
pub fn mount(world: &World, layers: usize) -> Option<Mounted> {
    mount_with(world, layers, "")
}

/// With more options.
pub fn mount_with(world: &World, layers: usize, more: &str) -> Option<Mounted> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let target = world.path("kernel");
    fs::create_dir(&target).unwrap();
    let lower: Vec<String> =
        (0..layers).rev().map(|number| world.path(&number.to_string()).display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},{more}",
        lower.join(":"),
        world.path("upper").display(),
        world.path("work").display()
    );
    let mut command = Command::new("mount");
    command.args(["-t", "overlay", "overlay", "-o", &options]).arg(&target).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()).then_some(Mounted(target))
}

pub fn as_seen(tree: &BTreeMap<String, Shown>) -> Seen {
    let seen = |shown: &Shown| (shown.kind, shown.permissions, shown.data.clone());
    tree.iter().map(|(path, shown)| (path.clone(), seen(shown))).collect()
}

impl Mounted {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn tree(&self) -> Seen {
        let mut seen = Seen::new();
        walk(&self.0, "", &mut seen);
        seen
    }
}

fn walk(directory: &Path, prefix: &str, seen: &mut Seen) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (full, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let path = format!("{prefix}{name}");
        let metadata = fs::symlink_metadata(&full).unwrap();
        let (kind, data) = match metadata.file_type() {
            kind if kind.is_dir() => (Kind::Directory, Vec::new()),
            kind if kind.is_symlink() => {
                (Kind::Symlink, fs::read_link(&full).unwrap().as_os_str().as_bytes().to_vec())
            }
            kind if kind.is_file() => (Kind::File, fs::read(&full).unwrap()),
            other => panic!("{path} is a {other:?}"),
        };
        let permissions = (metadata.permissions().mode() & 0o7777) as u16;
        if kind == Kind::Directory {
            walk(&full, &format!("{path}/"), seen);
        }
        seen.insert(path, (kind, permissions, data));
    }
}
