//! Each test runs on every file system there is to try, as whoever runs the tests.

mod copying;
mod crash;
mod kernel;
mod making;
mod moving;
mod opening;
mod removing;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::layer::Kind;

use super::*;
use crate::layer::Time;

/// ext4 or what else the machine has, and tmpfs.
const PLACES: [&str; 2] = ["/var/tmp", "/dev/shm"];

pub(super) struct Place {
    directory: PathBuf,
    /// Removes the directory in the end.
    kept: Option<tempfile::TempDir>,
    pub upper: Upper,
}

impl Place {
    pub fn new(directory: &str) -> Place {
        Place::with(directory, &Options::default())
    }

    pub fn with(directory: &str, options: &Options) -> Place {
        let directory = tempfile::tempdir_in(directory).unwrap();
        for name in ["upper", "work"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Place::of(directory, options)
    }

    pub fn of(directory: tempfile::TempDir, options: &Options) -> Place {
        let place = Place::at(directory.path(), options);
        Place { kept: Some(directory), ..place }
    }

    /// Of a directory that others keep.
    pub fn at(directory: &Path, options: &Options) -> Place {
        let upper = open(directory, options).unwrap();
        Place { directory: directory.to_owned(), kept: None, upper }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Closes the upper and opens it again.
    pub fn again(self) -> Place {
        Place::of(self.closed(), &Options::default())
    }

    pub fn closed(self) -> tempfile::TempDir {
        self.kept.unwrap()
    }

    /// Everything in the upper, by path, each in a few words.
    pub fn tree(&self) -> Vec<String> {
        let mut lines = Vec::new();
        describe(&self.upper, &self.upper.root(), "", &mut lines);
        lines.sort();
        lines
    }

    /// What is left in the work directory besides the one shared whiteout.
    pub fn staged(&self) -> Vec<String> {
        let names = self.upper.work.names().unwrap();
        let kept = names.iter().filter(|name| {
            let stat = self.upper.work.stat(name).unwrap();
            !stat.is_whiteout()
        });
        kept.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}

pub(super) fn open(directory: &Path, options: &Options) -> Result<Upper> {
    Upper::open(&directory.join("upper"), &directory.join("work"), options)
}

fn describe(upper: &Upper, directory: &Dir, path: &str, lines: &mut Vec<String>) {
    for entry in upper.list(directory).unwrap() {
        let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
        match upper.entry(directory, &entry.name).unwrap() {
            Entry::Absent => panic!("{path} is listed and absent"),
            Entry::Whiteout => {
                assert_eq!(entry.shown, Shown::Whiteout);
                lines.push(format!("{path} whiteout"));
            }
            Entry::Object(object) => {
                let stat = &object.stat;
                let (kind, number) = (stat.kind, object.number.clone());
                assert_eq!(entry.shown, Shown::Object { kind, number }, "{path}");
                lines.push(format!("{path} {}", words(upper, directory, &entry.name, &object)));
                if kind == Kind::Directory {
                    describe(upper, &upper.open_dir(directory, &entry.name).unwrap(), &path, lines);
                }
            }
        }
    }
}

fn words(upper: &Upper, directory: &Dir, name: &[u8], object: &Object) -> String {
    let stat = &object.stat;
    let own = format!("{:o}", stat.permissions);
    let what = match stat.kind {
        Kind::Directory => if object.opaque { "opaque" } else { "dir" }.to_owned(),
        Kind::File => {
            let file = upper.open_file(directory, name, Access::Read).unwrap();
            format!("file {:?}", std::io::read_to_string(file).unwrap())
        }
        Kind::Symlink => {
            let target = upper.read_link(directory, name).unwrap();
            return format!("link {}", String::from_utf8_lossy(&target));
        }
        other => format!("{other:?} {:?}", stat.device),
    };
    format!("{what} {own}")
}

/// Told although the test passes.
pub(super) fn skipped(why: &str) {
    writeln!(std::io::stderr(), "skipped: {why}").unwrap();
}

pub(super) fn everywhere(test: impl Fn(Place)) {
    for directory in PLACES {
        test(Place::new(directory));
    }
}

pub(super) fn new(what: What<'_>, permissions: u16, over: Over) -> New<'_> {
    let (user, group) = me();
    New { what, permissions, user, group, xattrs: &[], over }
}

pub(super) fn me() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

pub(super) const WHEN: Time = Time { seconds: 1_000_000_000, nanoseconds: 0 };

pub(super) fn original<'a>(what: What<'a>, data: Data<'a>) -> Original<'a> {
    let (user, group) = me();
    let permissions = if what == What::Directory { 0o755 } else { 0o644 };
    let origin = Origin { file_system: 1, inode: 77, object: None };
    Original { what, data, permissions, user, group, accessed: WHEN, modified: WHEN, xattrs: &[], origin }
}

/// A directory of the lower tree, copied up.
pub(super) fn copy_dir(upper: &Upper, parent: &Dir, name: &str) -> Dir {
    upper.copy_up(parent, name.as_bytes(), &original(What::Directory, Data::Empty)).unwrap();
    upper.open_dir(parent, name.as_bytes()).unwrap()
}

pub(super) fn copy_file(upper: &Upper, parent: &Dir, name: &str, text: &str) {
    let read = |at: u64, length: u32, give: &mut dyn FnMut(&[u8])| {
        let end = text.len().min(at as usize + length as usize);
        give(&text.as_bytes()[at as usize..end]);
        Ok(())
    };
    let data = Data::Read(Reader { size: text.len() as u64, extents: None, read: &read });
    upper.copy_up(parent, name.as_bytes(), &original(What::File, data)).unwrap();
}

pub(super) fn make_file(upper: &Upper, parent: &Dir, name: &str, text: &str) {
    let (_, file) = upper.create(parent, name.as_bytes(), &new(What::File, 0o644, Over::Nothing)).unwrap();
    crate::sys::copy::write_at(file.unwrap().as_fd(), text.as_bytes(), 0).unwrap();
}

pub(super) fn make_dir(upper: &Upper, parent: &Dir, name: &str, over: Over) -> Dir {
    upper.create(parent, name.as_bytes(), &new(What::Directory, 0o755, over)).unwrap();
    upper.open_dir(parent, name.as_bytes()).unwrap()
}

/// The private attributes of a file of the upper, without the namespace.
pub(super) fn marks(place: &Place, path: &str) -> BTreeMap<String, Vec<u8>> {
    let (parent, name) = (place.upper.root(), path.as_bytes());
    let stored = crate::sys::xattr::list(parent.place(name)).unwrap();
    let names = stored.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let private = names.filter(|name| place.upper.namespace().unescape(name).is_none());
    private
        .map(|stored| {
            let value = crate::sys::xattr::get(parent.place(name), stored).unwrap().unwrap();
            let text = String::from_utf8_lossy(stored);
            (text.rsplit("overlay.").next().unwrap().to_owned(), value)
        })
        .collect()
}

/// Root of the whole machine, and not of a user namespace.
pub(super) fn is_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}
