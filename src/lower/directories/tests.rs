use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use super::*;
use crate::layer::Kind;

/// Layers `0` (the top), `1`, ... from lines: `0/a/b` makes a file that holds its layer's number, `0/a/` a directory.
fn layers(count: usize, paths: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let place = tempfile::tempdir().unwrap();
    let roots: Vec<PathBuf> = (0..count).map(|number| place.path().join(number.to_string())).collect();
    for root in &roots {
        fs::create_dir(root).unwrap();
    }
    for path in paths {
        let full = place.path().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        match path.ends_with('/') {
            true => fs::create_dir_all(&full).unwrap(),
            false if path.contains("/.wh.") => fs::write(&full, "").unwrap(),
            false => fs::write(&full, &path[..1]).unwrap(),
        }
    }
    (place, roots)
}

fn mark(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn listed(object: &Below, path: &str, into: &mut Vec<String>) {
    let mut children = object.children().unwrap();
    children.sort_by(|one, other| one.name.cmp(&other.name));
    for child in children {
        let path = format!("{path}{}", String::from_utf8_lossy(&child.name));
        let found =
            object.lookup(&child.name).unwrap().unwrap_or_else(|| panic!("{path} is listed and not there"));
        let stat = found.stat().unwrap();
        assert_eq!((stat.kind, stat.number), (child.kind, child.number), "{path}");
        match stat.kind {
            Kind::Directory => {
                into.push(format!("{path}/"));
                listed(&found, &format!("{path}/"), into);
            }
            Kind::File => found
                .read(0, 100, &mut |bytes| into.push(format!("{path}={}", String::from_utf8_lossy(bytes))))
                .unwrap(),
            kind => into.push(format!("{path} {kind:?}")),
        }
    }
}

fn tree(roots: &[PathBuf]) -> Vec<String> {
    let root = directories(roots, Namespace::User, None).unwrap();
    let mut found = Vec::new();
    listed(&root, "", &mut found);
    found
}

#[test]
fn directories_are_merged_and_the_topmost_file_shows() {
    let (_place, roots) = layers(3, &["0/a/x", "1/a/x", "1/a/y", "2/a/z", "2/b", "1/b/in", "0/c/", "2/c"]);
    assert_eq!(tree(&roots), ["a/", "a/x=0", "a/y=1", "a/z=2", "b/", "b/in=1", "c/"]);
}

#[test]
fn markers_hide_what_is_below_them_and_are_not_seen() {
    let (_place, roots) = layers(
        3,
        &["0/a/.wh.x", "1/a/x", "2/a/x", "2/a/y", "1/a/.wh.y", "0/b/.wh..wh..opq", "0/b/n", "1/b/o", "2/b/p"],
    );
    assert_eq!(tree(&roots), ["a/", "b/", "b/n=0"]);
}

#[test]
fn a_directory_beside_its_own_marker_hides_the_lower_ones() {
    let (_place, roots) = layers(2, &["0/.wh.d", "0/d/new", "1/d/old", "0/.wh.f", "0/f", "1/f"]);
    assert_eq!(tree(&roots), ["d/", "d/new=0", "f=0"]);
}

#[test]
fn a_marker_that_says_it_is_none_shows() {
    let (_place, roots) = layers(2, &["0/.wh.x", "1/x", "0/.wh.d/"]);
    mark(&roots[0].join(".wh.x"), "user.overlay.plyfs.literal", b"y");
    assert_eq!(tree(&roots), [".wh.d/", ".wh.x=", "x=1"]);
}

#[test]
fn attributes_make_whiteouts_and_opaque_directories() {
    let (_place, roots) = layers(2, &["0/a/n", "1/a/o", "0/b/n", "1/b/o", "0/c/gone", "1/c/gone", "1/c/o"]);
    mark(&roots[0].join("a"), "user.overlay.opaque", b"y");
    mark(&roots[0].join("b"), "user.fuseoverlayfs.opaque", b"y");
    mark(&roots[0].join("c"), "user.overlay.opaque", b"x");
    fs::write(roots[0].join("c/gone"), "").unwrap();
    mark(&roots[0].join("c/gone"), "user.overlay.whiteout", b"");
    assert_eq!(tree(&roots), ["a/", "a/n=0", "b/", "b/n=0", "c/", "c/o=1"]);
}

#[test]
fn a_device_of_no_number_is_a_whiteout() {
    let (_place, roots) = layers(2, &["1/x", "1/y"]);
    let made = mknodat(CWD, roots[0].join("x"), FileType::CharacterDevice, Mode::empty(), makedev(0, 0));
    if made.is_ok() {
        assert_eq!(tree(&roots), ["y=1"]);
    }
}

#[test]
fn a_directory_that_is_only_implied_has_the_attributes_of_the_one_below() {
    let (_place, roots) = layers(2, &["0/a/n", "1/a/o"]);
    mark(&roots[0].join("a"), "user.overlay.plyfs.implicit", b"y");
    mark(&roots[0].join("a"), "user.top", b"");
    mark(&roots[1].join("a"), "user.below", b"1");
    let a = directories(&roots, Namespace::User, None).unwrap().lookup(b"a").unwrap().unwrap();
    assert_eq!(a.xattrs().unwrap(), [(b"user.below".to_vec(), b"1".to_vec())]);
}

#[test]
fn what_leads_elsewhere_is_refused() {
    let (_place, roots) = layers(2, &["0/a/", "0/f", "1/b/x"]);
    mark(&roots[0].join("a"), "user.overlay.redirect", b"b");
    mark(&roots[0].join("f"), "user.overlay.metacopy", b"");
    let root = directories(&roots, Namespace::User, None).unwrap();
    for name in [b"a", b"f"] {
        let refused = root.lookup(name).map(drop).unwrap_err();
        assert!(matches!(refused, Error::Read { source: Errno::PERM, .. }), "{refused}");
    }
}

#[test]
fn marks_are_not_seen_and_escaped_names_are_shown_as_they_were() {
    let (_place, roots) = layers(1, &["0/f"]);
    for name in ["user.a", "user.overlay.origin", "user.overlay.overlay.own", "user.fuseoverlayfs.x"] {
        mark(&roots[0].join("f"), name, b"v");
    }
    let file = directories(&roots, Namespace::User, None).unwrap().lookup(b"f").unwrap().unwrap();
    let mut names: Vec<Vec<u8>> = file.xattrs().unwrap().into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, [b"user.a".to_vec(), b"user.overlay.own".to_vec()]);
}

#[test]
fn symlinks_are_shown_and_never_followed() {
    let (_place, roots) = layers(2, &["1/d/x"]);
    symlink("/etc", roots[0].join("d")).unwrap();
    assert_eq!(tree(&roots), ["d Symlink"]);
    let d = directories(&roots, Namespace::User, None).unwrap().lookup(b"d").unwrap().unwrap();
    assert_eq!(d.target().unwrap(), b"/etc");
    assert!(d.lookup(b"passwd").unwrap().is_none());
}

#[test]
fn numbers_are_those_of_the_disk_and_tell_file_systems_apart() {
    let (_place, roots) = layers(1, &["0/f"]);
    let real = fs::metadata(roots[0].join("f")).unwrap();
    let number = |upper| {
        let file = directories(&roots, Namespace::User, upper).unwrap().lookup(b"f").unwrap().unwrap();
        let number = file.stat().unwrap().number;
        (number.file_system, number.inode)
    };
    assert_eq!(number(Some(real.dev())), (0, real.ino()));
    assert_eq!(number(None), (0, real.ino()));
    assert_eq!(number(Some(real.dev() + 1)), (1, real.ino()));
}

#[test]
fn through_a_read_only_mount_nothing_can_be_written() {
    let (_place, roots) = layers(1, &["0/f"]);
    let Ok(root) = detached::read_only(&roots[0]) else { return };
    let opened = rustix::fs::openat(&root, "f", OFlags::WRONLY, Mode::empty());
    assert_eq!(opened.map(drop), Err(Errno::ROFS));
}
