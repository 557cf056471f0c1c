use super::*;
use crate::layer::{Identity, Seek};
use crate::oci::Digest;

fn key() -> Digest {
    Digest::of(b"a layer")
}

fn index(tree: Tree) -> Index {
    Index::from_bytes(tree.into_index(&Identity::of_merged(key()), &Seek::default()), &key()).unwrap()
}

fn file(tree: &mut Tree, size: u64) -> Node {
    let body = Body::File { offset: 512, size, extents: None, digest: [7; 32] };
    tree.make(&Attributes::IMPLICIT, &[], body).unwrap()
}

fn directory(tree: &mut Tree) -> Node {
    tree.make(&Attributes::IMPLICIT, &[], Body::Directory).unwrap()
}

/// One line a name, breadth first: `path kind inode nlink`.
fn listing(index: &Index) -> Vec<String> {
    let mut lines = Vec::new();
    let mut directories = std::collections::VecDeque::from([(0, String::new())]);
    while let Some((id, path)) = directories.pop_front() {
        for entry in index.children(id).iter() {
            let path = format!("{path}/{}", entry.name.escape_ascii());
            let nlink = if entry.kind == Kind::Whiteout { 0 } else { index.inode(entry.id).nlink() };
            lines.push(format!("{path} {:?} {} {nlink}", entry.kind, entry.id));
            if entry.kind == Kind::Directory {
                directories.push_back((entry.id, path));
            }
        }
    }
    lines
}

#[test]
fn an_index_shows_the_tree_it_was_made_of() {
    let mut tree = Tree::new();
    let (etc, sub, passwd) = (directory(&mut tree), directory(&mut tree), file(&mut tree, 3));
    tree.link(Node::ROOT, b"etc", etc).unwrap();
    tree.link(etc, b"sub", sub).unwrap();
    tree.link(sub, b"shadow", passwd).unwrap();
    tree.link(etc, b"passwd", passwd).unwrap();
    tree.whiteout(etc, b"group").unwrap();
    let link = tree.make(
        &Attributes::IMPLICIT,
        &[(b"user.b", b"2"), (b"user.a", b"")],
        Body::Symlink(b"etc/passwd"),
    );
    tree.link(Node::ROOT, b"link", link.unwrap()).unwrap();
    let index = index(tree);
    assert_eq!(
        listing(&index),
        [
            "/etc Directory 1 3",
            "/link Symlink 2 1",
            "/etc/group Whiteout 0 0",
            "/etc/passwd File 3 2",
            "/etc/sub Directory 4 2",
            "/etc/sub/shadow File 3 2",
        ]
    );
    assert_eq!(index.target(2).unwrap(), b"etc/passwd");
    assert_eq!(index.xattrs(2).unwrap().collect::<Vec<_>>(), [(&b"user.a"[..], &b""[..]), (b"user.b", b"2")]);
    assert_eq!((index.inode(4).parent(), index.inode(1).parent()), (1, 0));
    let content = index.content(3).unwrap();
    assert_eq!((content.offset, content.size, content.extents, content.digest), (512, 3, None, [7; 32]));
}

#[test]
fn what_replaces_a_directory_drops_all_below_it() {
    let mut tree = Tree::new();
    let (top, sub, kept, gone) =
        (directory(&mut tree), directory(&mut tree), file(&mut tree, 1), file(&mut tree, 2));
    tree.link(Node::ROOT, b"top", top).unwrap();
    tree.link(top, b"sub", sub).unwrap();
    tree.link(sub, b"kept", kept).unwrap();
    tree.link(sub, b"gone", gone).unwrap();
    tree.link(Node::ROOT, b"top", kept).unwrap();
    let other = file(&mut tree, 4);
    tree.link(Node::ROOT, b"other", other).unwrap();
    let index = index(tree);
    assert_eq!(listing(&index), ["/other File 1 1", "/top File 2 1"]);
    assert_eq!((index.inode(1).size(), index.inode(2).size()), (4, 1));
}

#[test]
fn an_adopted_inode_remembers_its_layer_and_its_content() {
    let mut below = Tree::new();
    let extents = [Extent { offset: 4096.into(), length: 10.into() }];
    let body = Body::File { offset: 1024, size: 8192, extents: Some(&extents), digest: [9; 32] };
    let attributes = Attributes { mode: 0o4755, uid: 1, gid: 2, mtime: Time { seconds: -1, nanoseconds: 5 } };
    let sparse = below.make(&attributes, &[(b"user.x", b"y")], body).unwrap();
    below.link(Node::ROOT, b"a", sparse).unwrap();
    let below = index(below);
    let mut merged = Tree::new();
    let adopted = merged.adopt(&below, 1, 12).unwrap();
    merged.link(Node::ROOT, b"z", adopted).unwrap();
    let merged = index(merged);
    let inode = merged.inode(1);
    assert_eq!(
        (inode.layer(), inode.origin(), inode.mode(), inode.uid(), inode.gid()),
        (12, 1, 0o4755, 1, 2)
    );
    assert_eq!(inode.mtime(), Time { seconds: -1, nanoseconds: 5 });
    assert_eq!(merged.content(1).unwrap(), below.content(1).unwrap());
    assert_eq!(merged.xattrs(1).unwrap().collect::<Vec<_>>(), [(&b"user.x"[..], &b"y"[..])]);
}
