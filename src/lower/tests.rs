use super::merge;
use crate::layer::Seek;
use crate::layer::index::{Id, Identity, Index, Kind};
use crate::layer::tree::{Attributes, Body, Child, Mark, Node, Tree};
use crate::oci::Digest;

/// A layer from lines: `dir a`, `file a/b`, `link a/c -> /t`, `hard h => a/b`, `wh a/d`, `opaque a`. Parents that no
/// line names are implied.
fn layer(lines: &str) -> Index {
    let mut tree = Tree::new();
    for (number, line) in lines.split(';').map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let (verb, rest) = line.split_once(' ').unwrap();
        let (path, target) = rest.split_once(" -> ").or(rest.split_once(" => ")).unwrap_or((rest, ""));
        let parent = parents(&mut tree, path, matches!(verb, "wh" | "opaque"));
        let name = path.rsplit('/').next().unwrap().as_bytes();
        let attributes = Attributes { mode: 0o700 + u16::try_from(number).unwrap(), ..Attributes::IMPLICIT };
        let body = match verb {
            "wh" => {
                tree.whiteout(parent, name).unwrap();
                continue;
            }
            "opaque" => {
                let node = parents(&mut tree, &format!("{path}/."), true);
                tree.mark(node, Mark::Opaque);
                continue;
            }
            "dir" => Body::Directory,
            "file" => Body::File { offset: number as u64, size: 1, extents: None, digest: [0; 32] },
            "link" => Body::Symlink(target.as_bytes()),
            "hard" => Body::LowerLink(target.as_bytes()),
            _ => panic!("{verb}"),
        };
        let node = tree.make(&attributes, &[], body).unwrap();
        match tree.child(parent, name) {
            Some(Child::Inode(there, Kind::Directory)) if verb == "dir" => {
                tree.replace_attributes(there, node)
            }
            _ => tree.link(parent, name, node).unwrap(),
        }
    }
    let key = Digest::of(lines.as_bytes());
    let bytes = tree.into_index(&Identity::of_merged(key), &Seek::default());
    Index::from_bytes(bytes, &key).unwrap()
}

fn parents(tree: &mut Tree, path: &str, marker: bool) -> Node {
    let (dirs, _) = path.rsplit_once('/').unwrap_or(("", path));
    dirs.split('/').filter(|name| !name.is_empty()).fold(Node::ROOT, |parent, name| {
        let child = tree.child(parent, name.as_bytes());
        let node = if let Some(Child::Inode(node, _)) = child {
            node
        } else {
            let node = tree.make(&Attributes::IMPLICIT, &[], Body::Directory).unwrap();
            tree.mark(node, Mark::Implicit);
            tree.mark(node, Mark::MarkerOnly);
            tree.link(parent, name.as_bytes(), node).unwrap();
            node
        };
        if !marker {
            tree.unmark(node, Mark::MarkerOnly);
        }
        node
    })
}

/// What the layers show: a line for each path, its kind, its layer, and its other names.
fn shown(layers: &[&str]) -> String {
    try_shown(layers).unwrap()
}

fn try_shown(layers: &[&str]) -> super::Result<String> {
    let layers: Vec<Index> = layers.iter().map(|lines| layer(lines)).collect();
    let key = Digest::of(b"tree");
    let tree = Index::from_bytes(merge(&layers.iter().collect::<Vec<_>>(), key)?, &key)?;
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
    for target in ["none", "d", "loop/x", "d/../none"] {
        let error = try_shown(&["dir d; link loop -> loop", &format!("hard h => {target}")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("layer 1: a hard link to {target:?}, which no lower layer has as a file")
        );
    }
}

#[test]
fn a_way_through_a_loop_of_symlinks_is_refused() {
    let error = try_shown(&["link a -> b; link b -> a", "file a/x"]).unwrap_err();
    assert!(error.to_string().ends_with("leads through too many symlinks"), "{error}");
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
