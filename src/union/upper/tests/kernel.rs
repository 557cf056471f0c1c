//! Kernel overlayfs reads what we wrote over a lower directory, and we read what it wrote.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Once;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::*;

/// A mounted overlay, for as long as it is held.
pub(super) struct Merged(PathBuf);

static TOLD: Once = Once::new();

impl Merged {
    /// `None` where this process may not mount one.
    pub fn mount(directory: &Path, namespace: Namespace) -> Option<Merged> {
        let target = directory.join("merged");
        std::fs::create_dir_all(&target).unwrap();
        let at = |name: &str| directory.join(name).display().to_string();
        let form = match namespace {
            Namespace::User => "userxattr",
            Namespace::Trusted if directory.join("work/plyfs/plyfs-unfilled").exists() => {
                "index=off,redirect_dir=on,metacopy=on"
            }
            Namespace::Trusted => "index=off,redirect_dir=off,metacopy=off",
        };
        let (lower, upper, work) = (at("lower"), at("upper"), at("work"));
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work},{form}");
        let options = std::ffi::CString::new(options).unwrap();
        match rustix::mount::mount("overlay", &target, "overlay", MountFlags::empty(), options.as_c_str()) {
            Ok(()) => Some(Merged(target)),
            Err(errno) => {
                TOLD.call_once(|| skipped(&format!("no overlay can be mounted: {errno}")));
                None
            }
        }
    }

    pub fn tree(&self) -> Vec<String> {
        let mut lines = Vec::new();
        walk(&self.0, "", &mut lines);
        lines.sort();
        lines
    }
}

impl Drop for Merged {
    fn drop(&mut self) {
        // Another test that starts a process holds our descriptors, until that has begun.
        for _ in 0..500 {
            if rustix::mount::unmount(&self.0, UnmountFlags::empty()) != Err(Errno::BUSY) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Every listed name has to be there: one that is not is the ghost of a whiteout.
fn walk(directory: &Path, path: &str, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{path}/{}", entry.file_name().into_string().unwrap());
        let found = entry.path().symlink_metadata().unwrap_or_else(|error| panic!("{path}: {error}"));
        if found.is_dir() {
            lines.push(format!("{path} dir {:o}", found.permissions().mode() & 0o7777));
            walk(&entry.path(), &path, lines);
        } else if found.is_symlink() {
            lines.push(format!("{path} link {}", entry.path().read_link().unwrap().display()));
        } else {
            lines.push(format!("{path} file {:?}", std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// Directories end with a slash; a file holds its own path.
pub(super) fn make_lower(directory: &Path, paths: &[&str]) {
    for path in paths {
        let at = directory.join("lower").join(path);
        match path.ends_with('/') {
            true => std::fs::create_dir_all(at).unwrap(),
            false => std::fs::write(at, path).unwrap(),
        }
    }
}

pub(super) const LOWER: [&str; 15] = [
    "kept",
    "changed",
    "gone",
    "dir/",
    "dir/a",
    "dir/b",
    "dir/sub/",
    "dir/sub/x",
    "moved/",
    "moved/1",
    "moved/deep/",
    "moved/deep/3",
    "replaced/",
    "replaced/old",
    "hard",
];

fn each_namespace(test: impl Fn(Place, Namespace)) {
    for directory in PLACES {
        let namespaces =
            if is_root() { &[Namespace::Trusted, Namespace::User][..] } else { &[Namespace::User] };
        for &namespace in namespaces {
            let place = Place::with(directory, &Options { namespace: Some(namespace), ..Options::default() });
            std::fs::create_dir(place.path("lower")).unwrap();
            make_lower(&place.path("."), &LOWER);
            std::fs::hard_link(place.path("lower/hard"), place.path("lower/dir/link")).unwrap();
            test(place, namespace);
        }
    }
}

/// As a lower directory's object, with what the kernel needs to find it again.
pub(super) fn copy(place: &Place, parent: &Dir, name: &str, path: &str) {
    let lower = lock::open(&place.path("lower")).unwrap();
    let root = lower.readable().unwrap();
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW;
    let object = rustix::fs::openat(&lower, path, flags, rustix::fs::Mode::empty()).unwrap();
    let stat = lower.stat(path.as_bytes()).unwrap();
    let located =
        crate::sys::handle::file_system_uuid(root).map(|uuid| Located { object: object.as_fd(), uuid });
    let origin = Origin { file_system: 1, inode: stat.number.inode, object: located.ok() };
    let open = (stat.kind == Kind::File).then(|| std::fs::File::open(place.path("lower").join(path)));
    let open = open.map(|file| file.unwrap());
    let (what, data) = match &open {
        Some(file) => (What::File, Data::File(file.as_fd())),
        None => (What::Directory, Data::Empty),
    };
    let original = Original {
        permissions: stat.permissions,
        accessed: stat.accessed,
        modified: stat.modified,
        origin,
        ..original(what, data)
    };
    place.upper.copy_up(parent, name.as_bytes(), &original).unwrap();
}

fn work_through(place: &Place) {
    let upper = &place.upper;
    let root = upper.root();
    let dir = |parent: &Dir, name: &str, path: &str| {
        copy(place, parent, name, path);
        upper.open_dir(parent, name.as_bytes()).unwrap()
    };
    copy(place, &root, "changed", "changed");
    let changed = upper.open_file(&root, b"changed", Access::Write).unwrap();
    crate::sys::copy::write_at(changed, b"CHANGED", 0).unwrap();
    upper.unlink(&root, b"gone", Below::Something).unwrap();
    let inner = dir(&root, "dir", "dir");
    upper.unlink(&inner, b"a", Below::Something).unwrap();
    upper.remove_directory(&inner, b"sub", Below::Something).unwrap();
    make_dir(upper, &inner, "new", Over::Nothing);
    let moved = dir(&root, "moved", "moved");
    copy(place, &moved, "1", "moved/1");
    let deep = dir(&moved, "deep", "moved/deep");
    upper.unlink(&deep, b"3", Below::Something).unwrap();
    for (parent, name) in [(&moved, "deep"), (&root, "moved")] {
        upper.set_opaque(parent, name.as_bytes(), Moved::Materialised).unwrap();
    }
    let from = Source { parent: &root, name: b"moved", below: Below::Something, moved: Moved::Materialised };
    upper.rename(&Rename { from, to: (&inner, b"sub"), target: Target::Whiteout }).unwrap();
    let replaced = dir(&root, "replaced", "replaced");
    upper.unlink(&replaced, b"old", Below::Something).unwrap();
    upper.remove_directory(&root, b"replaced", Below::Something).unwrap();
    let replaced = make_dir(upper, &root, "replaced", Over::Whiteout);
    make_file(upper, &replaced, "young", "young");
    let hard = std::fs::File::open(place.path("lower/hard")).unwrap();
    let aliases = [Alias { parent: &root, name: b"hard" }, Alias { parent: &inner, name: b"link" }];
    upper.copy_up_links(&aliases, &original(What::File, Data::File(hard.as_fd()))).unwrap();
    let pure = make_dir(upper, &root, "pure", Over::Nothing);
    let pure_child = make_dir(upper, &pure, "child", Over::Nothing);
    make_file(upper, &pure_child, "f", "pure");
    let from = Source { parent: &pure, name: b"child", below: Below::Nothing, moved: Moved::OpaqueDirectory };
    upper.rename(&Rename { from, to: (&inner, b"a"), target: Target::Whiteout }).unwrap();
}

const EXPECTED: [&str; 14] = [
    "/changed file \"CHANGED\"",
    "/dir dir 755",
    "/dir/a dir 755",
    "/dir/a/f file \"pure\"",
    "/dir/b file \"dir/b\"",
    "/dir/link file \"hard\"",
    "/dir/new dir 755",
    "/dir/sub dir 755",
    "/dir/sub/1 file \"moved/1\"",
    "/dir/sub/deep dir 755",
    "/hard file \"hard\"",
    "/kept file \"kept\"",
    "/pure dir 755",
    "/replaced dir 755",
];

#[test]
fn the_kernel_shows_the_tree_that_we_made() {
    each_namespace(|place, namespace| {
        work_through(&place);
        assert_eq!(place.staged(), [""; 0]);
        let directory = place.closed();
        let Some(merged) = Merged::mount(directory.path(), namespace) else { return };
        let mut expected = EXPECTED.map(str::to_owned).to_vec();
        expected.push("/replaced/young file \"young\"".to_owned());
        assert_eq!(merged.tree(), expected);
        let inode = |path: &Path| path.metadata().unwrap().ino();
        let lower = directory.path().join("lower");
        // In a user namespace the kernel follows no file handle.
        if is_root() {
            assert_eq!(inode(&merged.0.join("changed")), inode(&lower.join("changed")));
        }
        assert_eq!(inode(&merged.0.join("hard")), inode(&merged.0.join("dir/link")));
    });
}

#[test]
fn an_upper_that_the_kernel_has_mounted_is_refused() {
    each_namespace(|place, namespace| {
        let directory = place.closed();
        let Some(_merged) = Merged::mount(directory.path(), namespace) else { return };
        let refused = open(directory.path(), &Options::default()).err().unwrap();
        assert_eq!(refused.errno().raw_os_error(), libc::EBUSY);
    });
}

#[test]
fn we_show_the_tree_that_the_kernel_made() {
    each_namespace(|place, namespace| {
        let directory = place.closed();
        let Some(merged) = Merged::mount(directory.path(), namespace) else { return };
        let at = |path: &str| merged.0.join(path);
        std::fs::write(at("changed"), "CHANGED").unwrap();
        std::fs::remove_file(at("gone")).unwrap();
        std::fs::remove_file(at("dir/a")).unwrap();
        std::fs::remove_dir_all(at("replaced")).unwrap();
        std::fs::create_dir(at("replaced")).unwrap();
        std::fs::rename(at("dir/b"), at("replaced/b")).unwrap();
        drop(merged);
        let options = Options { namespace: Some(namespace), ..Options::default() };
        let place = Place::of(directory, &options);
        assert_eq!(
            place.tree(),
            [
                "/changed file \"CHANGED\" 644",
                "/dir dir 755",
                "/dir/a whiteout",
                "/dir/b whiteout",
                "/gone whiteout",
                "/replaced opaque 755",
                "/replaced/b file \"dir/b\" 644",
            ]
        );
        let Entry::Object(changed) = place.upper.entry(&place.upper.root(), b"changed").unwrap() else {
            panic!()
        };
        let lower = place.path("lower/changed").metadata().unwrap().ino();
        let has_origin = matches!(changed.number, Number::Handle { inode, .. } if inode == lower);
        assert!(has_origin || !is_root(), "{changed:?}");
    });
}
