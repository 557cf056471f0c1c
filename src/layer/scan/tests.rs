use super::*;
use crate::layer::tarball::{Entry, Tarball};
use crate::layer::{Extent, Id, Identity, Index, Seek};
use crate::oci::Digest;

fn scan(tar: &[u8]) -> Result<Index, Error> {
    let mut scan = Scan::new();
    scan.push(tar)?;
    let key = Digest::of(tar);
    let bytes = scan.finish()?.into_index(&Identity::of_merged(key), &Seek::default());
    Ok(Index::from_bytes(bytes, &key).unwrap())
}

fn fault(tar: Tarball) -> String {
    scan(&tar.end()).unwrap_err().to_string()
}

/// All of a tree, in order of paths: `path kind flags`, with the size of a file, the target of a link, the names of an
/// inode that has several.
fn listing(tar: Tarball) -> Vec<String> {
    let index = scan(&tar.end()).unwrap();
    let mut lines = vec![line(&index, "/", Kind::Directory, 0)];
    let mut directories = vec![(0, String::new())];
    while let Some((id, path)) = directories.pop() {
        for entry in index.children(id).iter() {
            let path = format!("{path}/{}", shown(entry.name));
            lines.push(line(&index, &path, entry.kind, entry.id));
            if entry.kind == Kind::Directory {
                directories.push((entry.id, path));
            }
        }
    }
    lines.sort();
    // The root is not what most tests are about.
    if lines[0] == "/ Directory implicit" {
        lines.remove(0);
    }
    lines
}

fn line(index: &Index, path: &str, kind: Kind, id: Id) -> String {
    let mut line = format!("{path} {kind:?}");
    if kind == Kind::Whiteout {
        return line;
    }
    let inode = index.inode(id);
    let flags = [
        (inode.is_opaque(), " opaque"),
        (inode.is_implicit(), " implicit"),
        (inode.is_marker_only(), " marker-only"),
    ];
    flags.iter().filter(|(is_set, _)| *is_set).for_each(|(_, name)| line.push_str(name));
    match kind {
        Kind::File => line.push_str(&format!(" {}", inode.size())),
        Kind::Symlink | Kind::LowerLink => {
            line.push_str(&format!(" -> {}", shown(index.target(id).unwrap())))
        }
        _ => {}
    }
    if kind != Kind::Directory && inode.nlink() > 1 {
        line.push_str(&format!(" inode {id} of {}", inode.nlink()));
    }
    line
}

fn tar() -> Tarball {
    Tarball::new()
}

#[test]
fn the_last_entry_of_a_path_wins() {
    assert_eq!(listing(tar().file("f", "1").file("f", "22")), ["/f File 2"]);
    assert_eq!(
        listing(tar().directory("d/").file("d/f", "").of(b'5', "d", "")),
        ["/d Directory", "/d/f File 0"],
        "a directory over a directory keeps what is in it"
    );
    assert_eq!(listing(tar().directory("d/").file("d/f", "").file("d", "")), ["/d File 0"]);
    assert_eq!(
        listing(tar().file("d", "").directory("d/").file("d/f", "")),
        ["/d Directory opaque", "/d/f File 0"]
    );
}

#[test]
fn a_directory_that_no_entry_describes_is_implicit() {
    assert_eq!(
        listing(tar().file("a/b/c", "")),
        ["/a Directory implicit", "/a/b Directory implicit", "/a/b/c File 0"]
    );
    assert_eq!(listing(tar().file("a/b", "").directory("a")), ["/a Directory", "/a/b File 0"]);
    assert_eq!(listing(tar().directory("./").file("f", "")), ["/ Directory", "/f File 0"]);
    assert_eq!(listing(tar()), [""; 0]);
}

#[test]
fn paths_are_cleaned() {
    let names = tar().file("./a/./b//c", "").file("/d", "").file("x/../e", "").directory("g/.");
    let dirs = ["/a Directory implicit", "/a/b Directory implicit", "/a/b/c File 0"];
    assert_eq!(listing(names), [&dirs[..], &["/d File 0", "/e File 0", "/g Directory"]].concat());
    for path in ["..", "../x", "a/../../x", "/../x"] {
        let expected = format!("entry \"{path}\": the path leaves the root");
        assert_eq!(fault(tar().file(path, "")), expected);
    }
}

#[test]
fn a_root_that_is_no_directory_is_skipped() {
    assert_eq!(
        listing(tar().file(".", "a").file("/", "b").symlink("./", "/etc").file("f", "")),
        ["/ Directory", "/f File 0"]
    );
}

#[test]
fn a_regular_entry_with_a_slash_is_a_directory() {
    assert_eq!(listing(tar().file("d/", "").file("d/f", "")), ["/d Directory", "/d/f File 0"]);
}

#[test]
fn names_are_bytes_and_end_at_255() {
    let long = "n".repeat(255);
    let named = |name: &str| tar().pax(&[("path", name.as_bytes())]).file("x", "");
    assert_eq!(
        listing(named(&long)),
        [format!("/{} File 0", shown(long.as_bytes()))].map(|_| format!(
            "/{}...{} File 0",
            &long[..60],
            &long[..60]
        ))
    );
    assert!(fault(named(&format!("{long}n"))).ends_with("a name has 256 bytes, and the limit is 255"));
    assert!(fault(named(&format!("{long}n/f"))).ends_with("a name has 256 bytes, and the limit is 255"));
    let whiteout = listing(named(&format!(".wh.{long}")));
    assert_eq!(whiteout, [format!("/{}...{} Whiteout", &long[..60], &long[..60])]);
    assert!(fault(named(&format!(".wh.{long}n"))).ends_with("256 bytes, and the limit is 255"));
    let sparse =
        [("GNU.sparse.map", &b"0,0"[..]), ("GNU.sparse.numblocks", b"1"), ("GNU.sparse.name", b"a\0b")];
    assert!(fault(tar().pax(&sparse).file("x", "")).ends_with("a name holds a NUL"));
    let raw = tar().entry(&Entry { path: b"\xff\n", ..Entry::default() });
    assert_eq!(listing(raw), ["/\\xff\\n File 0"]);
}

#[test]
fn a_whiteout_is_an_entry_of_its_directory() {
    assert_eq!(listing(tar().directory("d/").file("d/.wh.a", "")), ["/d Directory", "/d/a Whiteout"]);
    assert_eq!(
        listing(
            tar()
                .file("d/.wh.a", "")
                .directory("d/.wh.b")
                .symlink("d/.wh.c", "/etc")
                .hardlink("d/.wh.d", "x")
        ),
        [
            "/d Directory implicit marker-only",
            "/d/a Whiteout",
            "/d/b Whiteout",
            "/d/c Whiteout",
            "/d/d Whiteout"
        ],
        "whatever its type"
    );
    assert_eq!(
        listing(tar().file("d/e/.wh.a", "").file("d/f", "")),
        ["/d Directory implicit", "/d/e Directory implicit marker-only", "/d/e/a Whiteout", "/d/f File 0"]
    );
}

#[test]
fn what_a_layer_hides_and_has_replaces_the_lower_one() {
    let both_ways = |marker: &str, add: fn(Tarball) -> Tarball| {
        let (before, after) = (listing(add(tar().file(marker, ""))), listing(add(tar()).file(marker, "")));
        assert_eq!(before, after);
        before
    };
    assert_eq!(both_ways(".wh.a", |tar| tar.file("a", "1")), ["/a File 1"]);
    assert_eq!(both_ways(".wh.a", |tar| tar.directory("a/")), ["/a Directory opaque"]);
    assert_eq!(both_ways(".wh.a", |tar| tar.file("a/new", "")), ["/a Directory opaque", "/a/new File 0"]);
    assert_eq!(both_ways(".wh.a", |tar| tar.file("a/.wh.b", "")), ["/a Whiteout"]);
    assert_eq!(both_ways(".wh.a", |tar| tar.file("a/.wh..wh..opq", "")), ["/a Whiteout"]);
}

#[test]
fn an_opaque_marker_may_stand_anywhere() {
    let first = tar().file("d/.wh..wh..opq", "").directory("d/").file("d/f", "").file("d/.wh.x", "");
    let last = tar().directory("d/").file("d/f", "").file("d/.wh.x", "").file("d/.wh..wh..opq", "");
    let expected = ["/d Directory opaque", "/d/f File 0"];
    assert_eq!(listing(first), expected);
    assert_eq!(listing(last), expected);
    assert_eq!(listing(tar().file("d/.wh..wh..opq", "")), ["/d Directory opaque implicit marker-only"]);
    assert_eq!(
        listing(tar().file(".wh..wh..opq", "").file("f", "")),
        ["/ Directory opaque implicit", "/f File 0"]
    );
}

#[test]
fn a_whiteout_of_nothing_is_refused() {
    for name in [".wh.", "d/.wh..", "d/.wh..."] {
        assert!(fault(tar().file(name, "")).ends_with("is a whiteout of nothing"), "{name}");
    }
}

#[test]
fn a_marker_below_what_is_no_directory_here_has_no_effect() {
    assert_eq!(
        listing(tar().symlink("l", "d").file("l/.wh.a", "").file("l/.wh..wh..opq", "")),
        ["/l Symlink -> d"]
    );
    assert_eq!(listing(tar().file("f", "").file("f/.wh.a", "")), ["/f File 0"]);
    assert_eq!(listing(tar().file("l/.wh.a", "").symlink("l", "d")), ["/l Symlink -> d"]);
}

#[test]
fn aufs_metadata_is_not_shown_and_can_be_linked_to() {
    let aufs = tar()
        .directory(".wh..wh.plnk/")
        .file(".wh..wh.aufs", "")
        .file(".wh..wh.plnk/12.34", "12345")
        .hardlink(".wh..wh.plnk/56.78", ".wh..wh.plnk/12.34")
        .hardlink("a", ".wh..wh.plnk/12.34")
        .hardlink("b", "/.wh..wh.plnk/56.78")
        .file(".wh..wh.plnk/.wh.a", "");
    assert_eq!(listing(aufs), ["/a File 5 inode 1 of 2", "/b File 5 inode 1 of 2"]);
    assert_eq!(listing(tar().file("d/.wh.x/f", "123").hardlink("g", "d/.wh.x/f")), ["/g File 3"]);
}

#[test]
fn symlinked_parents_are_followed_inside_the_root() {
    assert_eq!(
        listing(tar().directory("usr/").symlink("sbin", "usr/sbin").file("sbin/tool", "1")),
        [
            "/sbin Symlink -> usr/sbin",
            "/usr Directory",
            "/usr/sbin Directory implicit",
            "/usr/sbin/tool File 1"
        ]
    );
    assert_eq!(
        listing(tar().symlink("a/up", "../../../b").symlink("c", "/a/up/./d").file("c/f", "")),
        [
            "/a Directory implicit",
            "/a/up Symlink -> ../../../b",
            "/b Directory implicit",
            "/b/d Directory implicit",
            "/b/d/f File 0",
            "/c Symlink -> /a/up/./d"
        ]
    );
    assert_eq!(
        listing(tar().symlink("l", "d").file("l", "")),
        ["/l File 0"],
        "the last name is never followed"
    );
    assert!(fault(tar().symlink("a", "b").symlink("b", "a").file("a/x", "")).ends_with("too many symlinks"));
    assert!(fault(tar().file("f", "").file("f/x", "")).ends_with("\"f\" in its path is no directory"));
}

#[test]
fn a_hard_link_shares_the_inode_and_leaves_its_attributes() {
    let link =
        Entry { flag: b'1', path: b"b", link: b"./d/a", mode: 0o777, owner: (9, 9), ..Entry::default() };
    let index = scan(&tar().file("d/a", "123").entry(&link).end()).unwrap();
    let inode = index.inode(index.lookup(0, b"b").unwrap().id);
    assert_eq!((inode.nlink(), inode.mode(), inode.uid(), inode.size()), (2, 0o644, 0, 3));
    assert_eq!(
        listing(tar().symlink("s", "nowhere").hardlink("t", "s")),
        ["/s Symlink -> nowhere inode 1 of 2", "/t Symlink -> nowhere inode 1 of 2"],
        "a symlink is linked, not followed"
    );
    assert_eq!(listing(tar().file("a", "1").hardlink("b", "a").file("a", "22")), ["/a File 2", "/b File 1"]);
    assert_eq!(listing(tar().file("h/t", "1").hardlink("h", "h/t")), ["/h File 1"]);
}

#[test]
fn a_hard_link_to_what_the_layer_does_not_have_is_left_to_the_merge() {
    assert_eq!(
        listing(tar().hardlink("a", "/x/../low/f").file("low/f", "")),
        ["/a LowerLink -> low/f", "/low Directory implicit", "/low/f File 0"]
    );
    assert_eq!(
        listing(tar().symlink("l", "/low/./dir").hardlink("a", "l/s/f").hardlink("b", "a")),
        [
            "/a LowerLink -> low/dir/s/f inode 1 of 2",
            "/b LowerLink -> low/dir/s/f inode 1 of 2",
            "/l Symlink -> /low/./dir"
        ]
    );
    assert_eq!(
        listing(tar().file(".wh.f", "").hardlink("a", "f").file("d/.wh.x", "").hardlink("b", "d")),
        [
            "/a LowerLink -> f",
            "/b LowerLink -> d",
            "/d Directory implicit marker-only",
            "/d/x Whiteout",
            "/f Whiteout"
        ]
    );
}

#[test]
fn a_hard_link_to_a_directory_itself_or_outside_is_refused() {
    assert!(
        fault(tar().directory("d/").hardlink("h", "d"))
            .ends_with("it is a hard link to \"d\", which is a directory")
    );
    assert!(fault(tar().hardlink("h", "/")).ends_with("which is a directory"));
    assert!(fault(tar().file("a", "").hardlink("./a", "b/../a")).ends_with("it is a hard link to itself"));
    assert!(fault(tar().hardlink("a", "a")).ends_with("it is a hard link to itself"));
    assert!(fault(tar().symlink("l", "d").file("d/a", "").hardlink("l/a", "d/a")).ends_with("to itself"));
    assert!(
        fault(tar().hardlink("a", "../../etc/passwd"))
            .ends_with("\"../../etc/passwd\", which leaves the root")
    );
    assert!(fault(tar().file("f", "").hardlink("a", "f/x")).ends_with("\"f\" in its path is no directory"));
}

#[test]
fn attributes_are_those_of_the_header() {
    let device = Entry {
        flag: b'3',
        path: b"null",
        mode: 0o10_7666,
        owner: (1, 2),
        mtime: 77,
        device: (1, 3),
        ..Entry::default()
    };
    let index = scan(&tar().pax(&[("uid", b"70000"), ("mtime", b"-1.5")]).entry(&device).end()).unwrap();
    let inode = index.inode(1);
    assert_eq!((inode.kind(), inode.mode(), inode.uid(), inode.gid()), (Kind::CharDevice, 0o7666, 70000, 2));
    assert_eq!((inode.rdev(), inode.mtime().seconds, inode.mtime().nanoseconds), ((1, 3), -2, 500_000_000));
    let zero = Entry { device: (0, 0), ..device };
    assert_eq!(listing(tar().entry(&zero)), ["/null CharDevice"], "a device 0/0 is one, and no whiteout");
    assert!(fault(tar().pax(&[("uid", b"-1")]).file("f", "")).ends_with("its uid -1 is out of range"));
    assert!(
        fault(tar().entry(&Entry { device: (4096, 0), ..zero }))
            .ends_with("its device major 4096 is out of range")
    );
    assert!(
        fault(tar().symlink("l", ""))
            .ends_with("the symlink has a target of 0 bytes, and can have 1 to 4095")
    );
    assert!(fault(tar().of(b'V', "v", "")).ends_with("its type 'V' is unknown"));
}

#[test]
fn only_xattrs_that_are_the_images_own_are_kept() {
    let names = [
        "user.a",
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "user.overlay.opaque",
        "trusted.overlay.opaque",
        "trusted.a",
        "security.selinux",
        "security.ima",
        "user.fuseoverlayfs.opaque",
        "user.containers.override_stat",
        "user.",
        "x",
    ];
    let keys: Vec<String> = names.iter().map(|name| format!("SCHILY.xattr.{name}")).collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (&key[..], &b"\0v"[..])).collect();
    let index = scan(&tar().pax(&records).file("f", "").end()).unwrap();
    let kept: Vec<_> = index.xattrs(1).unwrap().map(|(name, value)| (shown(name), value.to_vec())).collect();
    let expected = ["security.capability", "system.posix_acl_access", "system.posix_acl_default", "user.a"];
    assert_eq!(kept, expected.map(|name| (name.to_owned(), b"\0v".to_vec())));
    let twice = tar().pax(&records).directory("d/").directory("d/").end();
    assert!(!scan(&twice).unwrap().inode(1).has_xattrs(), "a later entry has the last word on them");
}

#[test]
fn a_file_knows_where_its_bytes_are_and_what_they_are() {
    let tar = tar().file("a", "hello").file("b", "").end();
    let mut scan = Scan::new();
    tar.chunks(100).for_each(|piece| scan.push(piece).unwrap());
    let key = Digest::of(b"");
    let index = scan.finish().unwrap().into_index(&Identity::of_merged(key), &Seek::default());
    let index = Index::from_bytes(index, &key).unwrap();
    let content = index.content(1).unwrap();
    assert_eq!((content.offset, content.size, content.digest), (512, 5, *blake3::hash(b"hello").as_bytes()));
    assert_eq!(index.content(2).unwrap().digest, *blake3::hash(b"").as_bytes());
}

#[test]
fn holes_are_a_map_and_not_bytes() {
    let records = [
        ("GNU.sparse.major", &b"0"[..]),
        ("GNU.sparse.minor", b"1"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.size", b"8796093022208"),
        ("GNU.sparse.numblocks", b"1"),
        ("GNU.sparse.map", b"1048576,3"),
    ];
    let index = scan(&tar().pax(&records).file("x", "abc").end()).unwrap();
    let id = index.lookup(0, b"s").unwrap().id;
    let content = index.content(id).unwrap();
    let extents = [Extent { offset: (1 << 20).into(), length: 3.into() }];
    assert_eq!((content.size, content.extents, content.stored()), (1 << 43, Some(&extents[..]), 3));
    let mut hasher = Content::hasher(1 << 43, Some(&extents));
    assert_eq!(content.digest, *hasher.update(b"abc").finalize().as_bytes());
}

#[test]
fn a_deep_path_is_no_deeper_recursion() {
    let path = "d/".repeat(100_000);
    let tar = tar().pax(&[("path", path.as_bytes())]).file("x", "").file("d", "");
    assert_eq!(listing(tar), ["/d File 0"]);
}

mod hostile {
    use super::*;

    /// The cases that some layer has to be refused for, and the layers that are refused although a case may be shown.
    #[test]
    fn hostile_layers_are_shown_or_refused_as_the_manifest_says() {
        let Some(shared) = std::env::var_os("PLYFS_SHARED") else { return };
        let hostile = std::path::Path::new(&shared).join("hostile");
        let manifest = std::fs::read(hostile.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        for case in manifest["layer_cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            // Those are the decoders' to refuse.
            if name.starts_with("gz-") || name.starts_with("zstd-") {
                continue;
            }
            let layers = case["layers"].as_array().unwrap().iter();
            let read =
                |layer: &serde_json::Value| std::fs::read(hostile.join(layer.as_str().unwrap())).unwrap();
            let faults: Vec<_> = layers.filter_map(|layer| scan(&read(layer)).err()).collect();
            match case["policy"].as_str().unwrap() {
                "show" => assert_eq!(faults, [], "{name}"),
                "reject" => assert_eq!(faults.len(), 1, "{name}"),
                _ => {}
            }
        }
    }
}
