use std::io::{self, Read};

use super::merge;
use crate::layer::index::{Id, Identity, Index, Kind};
use crate::layer::{Scan, Seek};
use crate::oci::Digest;

/// A layer's tar from lines: `dir a`, `file a/b`, `link a/c -> /t`, `hard h => a/b`, `wh a/d`, `opaque a`. Parents that
/// no line names are implied. The mode of each is its line's number.
fn tar(lines: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (number, line) in lines.split(';').map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let (verb, rest) = line.split_once(' ').unwrap();
        let (path, target) = rest.split_once(" -> ").or(rest.split_once(" => ")).unwrap_or((rest, ""));
        let (dir, name) =
            path.rsplit_once('/').map_or((String::new(), path), |(dir, name)| (format!("{dir}/"), name));
        let (path, kind) = match verb {
            "wh" => (format!("{dir}.wh.{name}"), tar::EntryType::Regular),
            "opaque" => (format!("{path}/.wh..wh..opq"), tar::EntryType::Regular),
            "dir" => (path.to_owned(), tar::EntryType::Directory),
            "file" => (path.to_owned(), tar::EntryType::Regular),
            "link" => (path.to_owned(), tar::EntryType::Symlink),
            "hard" => (path.to_owned(), tar::EntryType::Link),
            _ => panic!("{verb}"),
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o700 + u32::try_from(number).unwrap());
        header.set_size(0);
        match target {
            "" => tar.append_data(&mut header, path, io::empty()).unwrap(),
            target => tar.append_link(&mut header, path, target).unwrap(),
        }
    }
    tar.into_inner().unwrap()
}

fn index(tar: &[u8]) -> Index {
    let mut scan = Scan::new();
    scan.push(tar).unwrap();
    let key = Digest::of(tar);
    let bytes = scan.finish().unwrap().into_index(&Identity::of_merged(key), &Seek::default());
    Index::from_bytes(bytes, &key).unwrap()
}

/// What the layers show: a line for each path, its kind, its layer, and its other names.
fn shown(layers: &[&str]) -> String {
    try_shown(layers).unwrap()
}

fn try_shown(layers: &[&str]) -> super::Result<String> {
    let tars: Vec<Vec<u8>> = layers.iter().map(|lines| tar(lines)).collect();
    let layers: Vec<Index> = tars.iter().map(|tar| index(tar)).collect();
    let key = Digest::of(b"tree");
    let open = |number: u16| Box::new(&tars[usize::from(number)][..]) as Box<dyn Read>;
    let tree = Index::from_bytes(merge(&layers.iter().collect::<Vec<_>>(), &open, key)?, &key)?;
    let mut lines = Vec::new();
    list(&tree, 0, "", &mut lines);
    Ok(lines.join("\n"))
}

fn list(tree: &Index, dir: Id, path: &str, lines: &mut Vec<String>) {
    for entry in tree.children(dir).iter() {
        let path = format!("{path}/{}", String::from_utf8_lossy(entry.name));
        let inode = tree.inode(entry.id);
        let nlink = if entry.kind == Kind::Directory { 1 } else { inode.nlink() };
        let links = if nlink > 1 { format!(" x{nlink}") } else { String::new() };
        let kind = format!("{:?}", entry.kind).to_lowercase();
        lines.push(format!("{path} {kind} {}:{:o}{links}", inode.layer(), inode.mode()));
        if entry.kind == Kind::Directory {
            list(tree, entry.id, &path, lines);
        }
    }
}

fn lines(text: &[&str]) -> String {
    text.join("\n")
}

#[test]
fn an_upper_layer_adds_replaces_and_removes() {
    let shown = shown(&["dir a; file a/old; file a/gone; file keep", "file a/new; wh a/gone; file a/old"]);
    let expected = ["/a directory 0:700", "/a/new file 1:700", "/a/old file 1:702", "/keep file 0:703"];
    assert_eq!(shown, lines(&expected));
}

#[test]
fn a_directory_that_a_layer_only_implies_keeps_its_attributes_from_below() {
    assert_eq!(
        shown(&["dir a; file b", "file a/x; file b/x"]),
        lines(&["/a directory 0:700", "/a/x file 1:700", "/b directory 0:755", "/b/x file 1:701",])
    );
}

#[test]
fn an_opaque_directory_hides_what_is_below_and_keeps_its_attributes_from_there() {
    let shown = shown(&["dir a; dir a/sub; file a/sub/x; file a/y", "opaque a; file a/sub/z"]);
    let expected = ["/a directory 0:700", "/a/sub directory 0:755", "/a/sub/z file 1:701"];
    assert_eq!(shown, lines(&expected));
}

#[test]
fn markers_alone_make_nothing() {
    assert_eq!(
        shown(&["file keep; file f", "opaque new; wh other/x; opaque f; wh f/x; wh none"]),
        lines(&["/f file 0:701", "/keep file 0:700",])
    );
    assert_eq!(shown(&["dir d; file d/x", "opaque d"]), "/d directory 0:700");
}

#[test]
fn anything_but_a_directory_replaces_all_that_is_below() {
    let shown = shown(&["dir d; file d/x; file f", "link d -> /t; dir f", "dir d"]);
    assert_eq!(shown, lines(&["/d directory 2:700", "/f directory 1:701"]));
}

#[test]
fn a_whiteout_between_two_directories_keeps_them_apart() {
    assert_eq!(
        shown(&["dir d; file d/old", "wh d", "dir d; file d/new"]),
        lines(&["/d directory 2:700", "/d/new file 2:701",])
    );
}

#[test]
fn names_below_a_lower_symlink_go_where_it_leads() {
    let below =
        "dir usr; dir usr/lib; link lib -> usr/lib; link abs -> /usr; link up -> ../../usr/../usr/lib";
    assert_eq!(
        shown(&[below, "file lib/a; file abs/lib/b; file up/new/c; wh lib/none"]),
        lines(&[
            "/abs symlink 0:703",
            "/lib symlink 0:702",
            "/up symlink 0:704",
            "/usr directory 0:700",
            "/usr/lib directory 0:701",
            "/usr/lib/a file 1:700",
            "/usr/lib/b file 1:701",
            "/usr/lib/new directory 0:755",
            "/usr/lib/new/c file 1:702",
        ])
    );
}

#[test]
fn a_whiteout_below_a_lower_symlink_removes_where_it_leads() {
    let below = "dir real; file real/x; file real/y; link way -> real";
    assert_eq!(
        shown(&[below, "wh way/x"]),
        lines(&["/real directory 0:700", "/real/y file 0:702", "/way symlink 0:703",])
    );
}

#[test]
fn a_directory_entry_replaces_a_lower_symlink() {
    assert_eq!(
        shown(&["dir real; file real/x; link way -> real", "dir way; file way/y"]),
        lines(&["/real directory 0:700", "/real/x file 0:701", "/way directory 1:700", "/way/y file 1:701",])
    );
}

#[test]
fn a_hard_link_into_a_lower_layer_is_the_same_inode() {
    let below = "dir a; file a/f; link way -> a";
    assert_eq!(
        shown(&[below, "hard h => way/f; hard a/g => a/f", "wh a/f; hard i => h"]),
        lines(&[
            "/a directory 0:700",
            "/a/g file 0:701 x3",
            "/h file 0:701 x3",
            "/i file 0:701 x3",
            "/way symlink 0:702",
        ])
    );
}

#[test]
fn a_hard_link_to_what_is_not_there_or_is_a_directory_is_refused() {
    for target in ["none", "d"] {
        let error = try_shown(&["dir d", &format!("hard h => {target}")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("layer 1: a hard link to {target:?}, which no lower layer has as a file")
        );
    }
}

#[test]
fn a_hard_link_through_a_loop_of_symlinks_is_refused() {
    let error = try_shown(&["link loop -> loop", "hard h => loop/x"]).unwrap_err();
    let expected = "layer 1, upon those below it: entry \"h\": its path goes through too many symlinks";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_way_through_a_loop_of_symlinks_is_refused() {
    let error = try_shown(&["link a -> b; link b -> a", "file a/x"]).unwrap_err();
    let expected = "layer 1, upon those below it: entry \"a/x\": its path goes through too many symlinks";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn no_layers_make_an_empty_root() {
    assert_eq!(shown(&[]), "");
}

#[test]
fn a_kept_tree_that_is_damaged_shows_nothing_wrong_and_is_made_again() {
    use std::io::{Seek as _, SeekFrom, Write};
    let directory = tempfile::tempdir().unwrap();
    let store = crate::store::Store::open(directory.path()).unwrap();
    let key = Digest::of(b"");
    let tree = shown_tree(&store);
    assert_eq!(tree.tree().children(0).len(), 0);
    drop(tree);
    let path = directory.path().join("plyfs/trees").join(key.hex());
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(length - 32)).unwrap();
    file.write_all(&[0x55; 32]).unwrap();
    // Seen when it is opened, and made again at once.
    assert_eq!(shown_tree(&store).tree().children(0).len(), 0);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    assert!(shown_tree(&store).tree().intact().is_ok());
}

fn shown_tree(store: &crate::store::Store) -> super::Lower {
    super::Lower::open(store, Vec::new()).unwrap()
}

#[test]
fn of_a_name_reached_directly_and_through_a_lower_symlink_the_last_entry_counts() {
    let below = "dir usr; dir usr/lib; link lib -> usr/lib";
    assert_eq!(
        shown(&[below, "file lib/a; file usr/lib/a; file usr/lib/b; file lib/b; hard h => lib/a"]),
        lines(&[
            "/h file 1:701 x2",
            "/lib symlink 0:702",
            "/usr directory 0:700",
            "/usr/lib directory 0:701",
            "/usr/lib/a file 1:701 x2",
            "/usr/lib/b file 1:703",
        ])
    );
}

#[test]
fn a_file_written_through_a_symlink_that_the_layer_then_replaces_stays_where_it_went() {
    let below = "dir usr; dir usr/lib; link lib -> usr/lib";
    for (replacement, shown_as) in [
        ("dir lib; file lib/b", "/lib directory 1:701\n/lib/b file 1:702"),
        ("file lib", "/lib file 1:701"),
        ("link lib -> new", "/lib symlink 1:701"),
    ] {
        assert_eq!(
            shown(&[below, &format!("file lib/a; {replacement}")]),
            lines(&[shown_as, "/usr directory 0:700", "/usr/lib directory 0:701", "/usr/lib/a file 1:700",])
        );
    }
}
