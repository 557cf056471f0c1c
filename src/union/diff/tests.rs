use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use tempfile::TempDir;

use super::*;
use crate::layer::tree::{Attributes, Body, Node};
use crate::layer::write::Writer;
use crate::layer::{ChunkCache, Contents, Identity, Index, Seek, Time, Tree};
use crate::lower::{self, Lower};
use crate::oci::Digest;
use crate::union::upper::Namespace;

/// Two directories: what is below, and the upper.
struct Pair {
    place: TempDir,
    namespace: Namespace,
}

impl Pair {
    fn new(namespace: Namespace) -> Self {
        let place = tempfile::tempdir().unwrap();
        for side in ["l", "u"] {
            fs::create_dir(place.path().join(side)).unwrap();
        }
        Self { place, namespace }
    }

    /// With marks that everybody may make.
    fn of_user() -> Self {
        Self::new(Namespace::User)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn mark(&self, path: &str, name: &str, value: &[u8]) {
        rustix::fs::lsetxattr(self.path(path), name, value, XattrFlags::empty()).unwrap();
    }

    fn diff(&self) -> Diff {
        self.set_times(&self.path("l"));
        self.set_times(&self.path("u"));
        let namespace = match self.namespace {
            Namespace::User => lower::Namespace::User,
            Namespace::Trusted => lower::Namespace::Trusted,
        };
        let below = lower::directories(&[self.path("l")], namespace, None).unwrap();
        self.diff_over(below, Owners::AsStored)
    }

    fn diff_over(&self, below: Below, owners: Owners) -> Diff {
        let upper = View::open(&self.path("u"), self.namespace).unwrap();
        let follows = self.namespace == Namespace::Trusted;
        let sides = Sides::Upper { upper, below: Some(below), follows, against: Against::Below };
        Diff { sides, owners, opaque: Opaque::Listed, latest: None }
    }

    /// The same everywhere, but for what is called `touched`.
    fn set_times(&self, path: &Path) {
        if path.is_dir() && !path.is_symlink() {
            fs::read_dir(path).unwrap().for_each(|entry| self.set_times(&entry.unwrap().path()));
        }
        let seconds = if path.ends_with("touched") { 8 } else { 7 };
        let time = Timespec { tv_sec: seconds, tv_nsec: 9 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn told(diff: &Diff) -> Vec<String> {
    let mut told = Vec::new();
    let print = |change: &Change<'_>| {
        let word = match change.what {
            What::Deleted(_) => "D",
            What::Emptied => "E",
            What::Added(_) => "A",
            What::Changed(_) => "C",
        };
        told.push(format!("{word} {}", String::from_utf8_lossy(change.path)));
        Ok(())
    };
    let mut print = print;
    diff.walk(&mut print).unwrap();
    told
}

/// The layer's entries, a line each: the path, what it is a link to, and a file's text.
fn layer(diff: &Diff, unnameable: Unnameable) -> std::result::Result<Vec<String>, String> {
    let mut writer = Writer::new(Vec::new());
    export(diff, &mut writer, unnameable, Place::Root).map_err(|error| error.to_string())?;
    let bytes = writer.finish().unwrap();
    let mut archive = tar::Archive::new(&bytes[..]);
    let lines = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut line = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if let Some(link) = entry.link_name_bytes() {
            line.push_str(&format!(" -> {}", String::from_utf8_lossy(&link)));
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        if text.is_empty() { line } else { format!("{line}: {text}") }
    });
    Ok(lines.collect())
}

#[test]
fn what_is_added_changed_and_deleted_is_told_with_the_directories_above() {
    let pair = Pair::of_user();
    for path in ["l/etc/a", "l/etc/b", "l/same/deep"] {
        pair.write(path, "below");
    }
    pair.write("u/etc/a", "mine");
    pair.write("u/etc/.wh.b", "");
    pair.write("u/etc/.wh.never", "");
    pair.write("u/etc/new/file", "bytes");
    pair.write("u/same/deep", "below");
    let expected = ["C etc", "D etc/b", "C etc/a", "A etc/new", "A etc/new/file"];
    assert_eq!(told(&pair.diff()), expected);
    let layer = layer(&pair.diff(), Unnameable::Refused).unwrap();
    assert_eq!(layer, ["etc/", "etc/.wh.b", "etc/a: mine", "etc/new/", "etc/new/file: bytes"]);
}

#[test]
fn what_was_copied_up_and_is_as_before_is_not_told() {
    let pair = Pair::of_user();
    pair.write("l/same/deep", "below");
    pair.write("u/same/deep", "below");
    assert_eq!(told(&pair.diff()), [""; 0]);
    pair.write("u/same/touched", "");
    pair.write("l/same/touched", "");
    assert_eq!(told(&pair.diff()), [""; 0]);
    fs::set_permissions(pair.path("u/same"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(told(&pair.diff()), ["C same"]);
}

#[test]
fn other_bytes_of_the_same_size_and_time_are_told() {
    let pair = Pair::of_user();
    pair.write("l/d/file", "below");
    pair.write("u/d/file", "BELOW");
    assert_eq!(told(&pair.diff()), ["C d", "C d/file"]);
}

#[test]
fn an_opaque_directory_hides_all_that_is_below_it_to_any_depth() {
    let pair = Pair::of_user();
    for path in ["l/d/file", "l/d/kept", "l/d/in/x", "l/d/in/y", "l/d/out/z"] {
        pair.write(path, "below");
    }
    pair.write("u/d/kept", "below");
    pair.write("u/d/in/y", "mine");
    pair.mark("u/d", "user.overlay.opaque", b"y");
    let expected = ["C d", "D d/file", "D d/out", "C d/in", "D d/in/x", "C d/in/y"];
    assert_eq!(told(&pair.diff()), expected);
    let marker = Diff { opaque: Opaque::Marker, ..pair.diff() };
    assert_eq!(told(&marker), ["C d", "E d", "A d/in", "A d/in/y", "A d/kept"]);
}

#[test]
fn names_of_one_file_stay_together() {
    let pair = Pair::of_user();
    pair.write("l/a", "below");
    pair.write("u/a", "below");
    fs::hard_link(pair.path("u/a"), pair.path("u/b")).unwrap();
    let layer = layer(&pair.diff(), Unnameable::Refused).unwrap();
    assert_eq!(layer, ["a: below", "b -> a"]);
}

#[test]
fn a_socket_is_left_out_and_names_that_no_layer_has_are_refused_or_left_out() {
    let pair = Pair::of_user();
    pair.write("u/.wh.mine", "");
    pair.mark("u/.wh.mine", "user.overlay.plyfs.literal", b"");
    pair.write("u/d/.wh.more", "text");
    let _socket = UnixListener::bind(pair.path("u/socket")).unwrap();
    let refused = "a layer has no form for these names: /.wh.mine, /d/.wh.more";
    assert_eq!(layer(&pair.diff(), Unnameable::Refused), Err(refused.to_owned()));
    assert_eq!(layer(&pair.diff(), Unnameable::Skipped).unwrap(), ["d/"]);
}

#[test]
fn a_write_between_two_walks_is_noticed() {
    let pair = Pair::of_user();
    pair.write("u/d/file", "text");
    let diff = pair.diff();
    let print = |diff: &Diff| diff.walk(&mut |_| Ok(())).unwrap();
    let before = print(&diff);
    assert_eq!(print(&diff), before);
    pair.write("u/d/file", "TEXT");
    pair.set_times(&pair.path("u"));
    assert_ne!(print(&diff), before);
}

/// `/etc/{a,b}` of the user 3 and the group 4.
fn image() -> Below {
    let mtime = Time { seconds: 7, nanoseconds: 9 };
    let owned = Attributes { mode: 0o755, uid: 3, gid: 4, mtime };
    let mut tree = Tree::new();
    let etc = tree.make(&owned, &[], Body::Directory).unwrap();
    tree.link(Node::ROOT, b"etc", etc).unwrap();
    for name in [b"a", b"b"] {
        let link = tree.make(&owned, &[], Body::Symlink(b"image")).unwrap();
        tree.link(etc, name, link).unwrap();
    }
    let key = Digest::of(b"a chain");
    let bytes = tree.into_index(&Identity::of_merged(key), &Seek::default());
    let contents = Contents::new(Vec::new(), Arc::new(ChunkCache::new(1 << 20)), None);
    lower::image(Arc::new(Lower::new(Index::from_bytes(bytes, &key).unwrap(), contents)))
}

#[test]
fn where_owners_were_lost_what_replaces_something_has_its_owner_and_what_is_new_is_roots() {
    let pair = Pair::of_user();
    fs::create_dir_all(pair.path("u/etc")).unwrap();
    for (name, target) in [("a", "mine"), ("b", "image"), ("c", "new")] {
        symlink(target, pair.path("u/etc").join(name)).unwrap();
    }
    fs::set_permissions(pair.path("u/etc"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    pair.set_times(&pair.path("u"));
    let own = fs::metadata(pair.path("u")).unwrap().uid();
    let mut owners = Vec::new();
    let mut note = |change: &Change<'_>| {
        if let What::Added(changed) | What::Changed(changed) = change.what {
            let facts = changed.facts;
            owners.push((String::from_utf8_lossy(change.path).into_owned(), facts.user, facts.group));
        }
        Ok(())
    };
    pair.diff_over(image(), Owners::Lost(own)).walk(&mut note).unwrap();
    let expected = [("", 0, 0), ("etc", 3, 4), ("etc/a", 3, 4), ("etc/c", 0, 0)];
    assert_eq!(owners, expected.map(|(path, user, group)| (path.to_owned(), user, group)));
    let foreign = pair.diff_over(image(), Owners::Lost(own + 1)).walk(&mut |_| Ok(()));
    assert!(foreign.unwrap_err().to_string().contains("`plyfs unshare`"));
}

#[test]
fn what_the_kernel_only_redirects_or_describes_is_told_whole() {
    if !rustix::process::geteuid().is_root() {
        return writeln!(std::io::stderr(), "skipped: only root may set trusted attributes").unwrap();
    }
    let pair = Pair::new(Namespace::Trusted);
    for path in ["l/old/x", "l/old/deep/y", "l/data"] {
        pair.write(path, "below");
    }
    pair.write("u/new/touched", "mine");
    pair.mark("u/new", "trusted.overlay.redirect", b"/old");
    rustix::fs::mknodat(CWD, pair.path("u/old"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    rustix::fs::mknodat(CWD, pair.path("u/new/x"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    File::create(pair.path("u/data")).unwrap().set_len(5).unwrap();
    pair.mark("u/data", "trusted.overlay.metacopy", b"");
    fs::set_permissions(pair.path("u/data"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let expected = [".wh.old", "data: below", "new/", "new/deep/", "new/deep/y: below", "new/touched: mine"];
    assert_eq!(layer(&pair.diff(), Unnameable::Refused).unwrap(), expected);
}

#[test]
fn a_directory_that_is_as_below_becomes_as_the_upper_shows_it() {
    let pair = Pair::of_user();
    for side in ["l", "t"] {
        for path in ["etc/a", "etc/b", "dir/x", "file", "kept"] {
            pair.write(&format!("{side}/{path}"), "below");
        }
    }
    pair.write("u/etc/a", "mine");
    pair.write("u/etc/.wh.b", "");
    pair.write("u/dir", "a file now");
    pair.write("u/file/in", "a directory now");
    fs::hard_link(pair.path("u/etc/a"), pair.path("u/etc/linked")).unwrap();
    symlink("a", pair.path("u/etc/link")).unwrap();
    let diff = pair.diff();
    // What was cut short is done again.
    for _ in 0..2 {
        apply(&diff, &pair.path("t"), Making::Callers).unwrap();
    }
    let path = |name: &str| pair.path("t").join(name);
    let text = |name: &str| fs::read_to_string(path(name)).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(path("etc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "link", "linked"]);
    assert_eq!(
        [text("etc/link"), text("dir"), text("file/in"), text("kept")],
        ["mine", "a file now", "a directory now", "below"]
    );
    let found = |name: &str| fs::metadata(path(name)).unwrap();
    assert_eq!(found("etc/a").ino(), found("etc/linked").ino());
    assert_eq!([found("etc").mtime(), found("etc/a").mtime_nsec()], [7, 9]);
}
