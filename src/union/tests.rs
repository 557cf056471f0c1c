use std::ops::ControlFlow;

use super::*;
use crate::layer::tree::{Attributes as Described, Body, Node};
use crate::layer::{ChunkCache, Contents, Extent, Identity, Kind, Seek, Time, Tree};
use crate::lower::{Number, Stat};
use crate::oci::Digest;

const OWNED: Described =
    Described { mode: 0o4751, uid: 1000, gid: 100, mtime: Time { seconds: -1, nanoseconds: 500_000_000 } };

type Xattrs<'a> = &'a [(&'a [u8], &'a [u8])];

fn add(tree: &mut Tree, directory: Node, name: &[u8], xattrs: Xattrs<'_>, body: Body<'_>) -> Node {
    let node = tree.make(&OWNED, xattrs, body).unwrap();
    tree.link(directory, name, node).unwrap();
    node
}

fn file(size: u64) -> Body<'static> {
    Body::File { offset: 512, size, extents: None, digest: [0; 32] }
}

fn union_of(tree: Tree, ids: IdMap) -> Union {
    let key = Digest::of(b"a chain");
    let bytes = tree.into_index(&Identity::of_merged(key), &Seek::default());
    let index = Index::from_bytes(bytes, &key).unwrap();
    let contents = Contents::new(Vec::new(), Arc::new(ChunkCache::new(0)), None);
    Union::new(Arc::new(Lower::new(index, contents)), ids)
}

/// `/etc/{hosts, passwd}`, where passwd has two names, `/link`, `/null`.
fn small() -> Tree {
    let mut tree = Tree::new();
    let etc = add(&mut tree, Node::ROOT, b"etc", &[], Body::Directory);
    add(&mut tree, etc, b"hosts", &[], file(600));
    let passwd = add(&mut tree, etc, b"passwd", &[], file(0));
    tree.link(Node::ROOT, b"passwd", passwd).unwrap();
    add(&mut tree, Node::ROOT, b"link", &[], Body::Symlink(b"etc/passwd"));
    add(&mut tree, Node::ROOT, b"null", &[], Body::CharDevice(1, 3));
    tree
}

fn find(union: &Union, path: &[u8]) -> NodeId {
    path.split(|&byte| byte == b'/').fold(NodeId::ROOT, |node, name| union.lookup(node, name).unwrap())
}

fn answer<T: std::fmt::Debug>(result: Result<T>) -> Errno {
    match result.unwrap_err() {
        Error::Answer(errno) => errno,
        fault => panic!("{fault}"),
    }
}

/// `name kind` of every entry from a cookie on, and the cookie after each.
fn names(union: &Union, node: NodeId, cookie: u64) -> Vec<(String, Kind, u64, u64)> {
    let mut found = Vec::new();
    let listed = union.read_directory(node, cookie, |entry| {
        let name = String::from_utf8_lossy(entry.name).into_owned();
        found.push((name, entry.kind, entry.node.number(), entry.next));
        ControlFlow::Continue(())
    });
    listed.unwrap();
    found
}

#[test]
fn a_name_is_found_and_dots_lead_to_itself_and_up() {
    let union = union_of(small(), IdMap::default());
    let etc = find(&union, b"etc");
    assert_eq!(find(&union, b"etc/."), etc);
    assert_eq!(find(&union, b"etc/.."), NodeId::ROOT);
    assert_eq!(find(&union, b".."), NodeId::ROOT);
    assert_eq!(find(&union, b"etc/passwd"), find(&union, b"passwd"));
}

#[test]
fn a_lookup_that_fails_says_why() {
    let union = union_of(small(), IdMap::default());
    assert_eq!(answer(union.lookup(NodeId::ROOT, b"nothing")), Errno::NOENT);
    assert_eq!(answer(union.lookup(NodeId::ROOT, &[b'x'; 256])), Errno::NAMETOOLONG);
    assert_eq!(answer(union.lookup(find(&union, b"passwd"), b"x")), Errno::NOTDIR);
    for number in [0, 7, u64::MAX] {
        assert_eq!(answer(union.lookup(NodeId::new(number), b"etc")), Errno::STALE);
    }
}

#[test]
fn attributes_are_those_of_the_image() {
    let union = union_of(small(), IdMap::default());
    let hosts = find(&union, b"etc/hosts");
    let expected = Stat {
        number: Number { file_system: Number::IMAGE, inode: hosts.number() },
        kind: Kind::File,
        permissions: 0o4751,
        links: 1,
        user: 1000,
        group: 100,
        size: 600,
        blocks: 2,
        accessed: OWNED.mtime,
        modified: OWNED.mtime,
        changed: OWNED.mtime,
        device: (0, 0),
    };
    assert_eq!(union.attributes(hosts).unwrap(), Attributes { node: hosts, stat: expected });
    let of = |path: &[u8]| {
        let found = union.attributes(find(&union, path)).unwrap().stat;
        (found.kind, found.links, found.size, found.blocks, found.device)
    };
    assert_eq!(of(b"etc"), (Kind::Directory, 1, 4096, 0, (0, 0)));
    assert_eq!(of(b"passwd"), (Kind::File, 2, 0, 0, (0, 0)));
    assert_eq!(of(b"link"), (Kind::Symlink, 1, 10, 0, (0, 0)));
    assert_eq!(of(b"null"), (Kind::CharDevice, 1, 0, 0, (1, 3)));
}

#[test]
fn owners_can_all_be_shown_as_one() {
    let union = union_of(small(), IdMap { users: Ids::All(0), groups: Ids::AsStored });
    let found = union.attributes(find(&union, b"passwd")).unwrap().stat;
    assert_eq!((found.user, found.group), (0, 100));
}

#[test]
fn a_listing_goes_on_after_any_entry() {
    let union = union_of(small(), IdMap::default());
    let number = |path: &[u8]| find(&union, path).number();
    let whole = [
        (".".to_owned(), Kind::Directory, 1, 1),
        ("..".to_owned(), Kind::Directory, 1, 2),
        ("etc".to_owned(), Kind::Directory, number(b"etc"), 3),
        ("link".to_owned(), Kind::Symlink, number(b"link"), 4),
        ("null".to_owned(), Kind::CharDevice, number(b"null"), 5),
        ("passwd".to_owned(), Kind::File, number(b"passwd"), 6),
    ];
    for cookie in 0..=whole.len() {
        assert_eq!(names(&union, NodeId::ROOT, cookie as u64), whole[cookie..]);
    }
    assert_eq!(names(&union, NodeId::ROOT, u64::MAX), []);
    let file = find(&union, b"passwd");
    assert_eq!(answer(union.read_directory(file, 0, |_| ControlFlow::Continue(()))), Errno::NOTDIR);
}

#[test]
fn only_a_symlink_is_read_as_one() {
    let union = union_of(small(), IdMap::default());
    assert_eq!(union.read_link(find(&union, b"link")).unwrap(), b"etc/passwd");
    assert_eq!(answer(union.read_link(find(&union, b"passwd"))), Errno::INVAL);
}

#[test]
fn an_image_without_attributes_says_so_once_and_for_all() {
    let union = union_of(small(), IdMap::default());
    assert_eq!(answer(union.xattr(NodeId::ROOT, b"user.a")), Errno::NOSYS);
    assert_eq!(answer(union.list_xattr(NodeId::ROOT)), Errno::NOSYS);
    assert!(!union.has_access_lists());
}

#[test]
fn attributes_are_got_and_listed() {
    let mut tree = small();
    let pairs: Xattrs<'_> = &[(b"security.capability", b"\x01\0"), (b"user.empty", b"")];
    add(&mut tree, Node::ROOT, b"ping", pairs, file(1));
    let union = union_of(tree, IdMap::default());
    let ping = find(&union, b"ping");
    assert_eq!(union.xattr(ping, b"security.capability").unwrap(), b"\x01\0");
    assert_eq!(union.xattr(ping, b"user.empty").unwrap(), b"");
    assert_eq!(answer(union.xattr(ping, b"user.other")), Errno::NODATA);
    assert_eq!(union.list_xattr(ping).unwrap(), b"security.capability\0user.empty\0");
    assert_eq!(union.list_xattr(NodeId::ROOT).unwrap(), b"");
    assert!(!union.has_access_lists());
}

#[test]
fn a_symlink_shows_no_attributes_that_only_files_can_have() {
    let mut tree = small();
    let pairs: Xattrs<'_> = &[(b"security.x", b"1"), (b"user.a", b"2")];
    add(&mut tree, Node::ROOT, b"marked", pairs, Body::Symlink(b"etc"));
    let union = union_of(tree, IdMap::default());
    let marked = find(&union, b"marked");
    assert_eq!(union.list_xattr(marked).unwrap(), b"security.x\0");
    assert_eq!(answer(union.xattr(marked, b"user.a")), Errno::NODATA);
}

#[test]
fn access_lists_are_noticed() {
    let mut tree = small();
    add(&mut tree, Node::ROOT, b"shared", &[(b"system.posix_acl_default", b"x")], Body::Directory);
    assert!(union_of(tree, IdMap::default()).has_access_lists());
}

#[test]
fn data_and_holes_are_found() {
    let extents = [(100, 50), (150, 50), (400, 0), (500, 100)]
        .map(|(offset, length)| Extent { offset: u64::into(offset), length: u64::into(length) });
    let mut tree = small();
    let body = Body::File { offset: 512, size: 1000, extents: Some(&extents), digest: [0; 32] };
    add(&mut tree, Node::ROOT, b"sparse", &[], body);
    let union = union_of(tree, IdMap::default());
    let sparse = find(&union, b"sparse");
    let seek = |node, offset| {
        [Whence::Data, Whence::Hole]
            .map(|whence| union.seek(node, offset, whence).map_err(|error| error.errno()))
    };
    assert_eq!(seek(sparse, 0), [Ok(100), Ok(0)]);
    assert_eq!(seek(sparse, 120), [Ok(120), Ok(200)]);
    assert_eq!(seek(sparse, 200), [Ok(500), Ok(200)]);
    assert_eq!(seek(sparse, 599), [Ok(599), Ok(600)]);
    assert_eq!(seek(sparse, 600), [Err(Errno::NXIO), Ok(600)]);
    assert_eq!(seek(sparse, 1000), [Err(Errno::NXIO), Err(Errno::NXIO)]);
    assert_eq!(seek(find(&union, b"etc/hosts"), 5), [Ok(5), Ok(600)]);
    assert_eq!(union.attributes(sparse).unwrap().stat.blocks, 1);
}

#[test]
fn what_is_no_file_is_not_read() {
    let union = union_of(small(), IdMap::default());
    let read = |path: &[u8]| answer(union.read(find(&union, path), 0, 1, |_| ()));
    assert_eq!([read(b"etc"), read(b"link"), read(b"null")], [Errno::ISDIR, Errno::INVAL, Errno::INVAL]);
}

#[test]
fn statistics_count_every_inode_once() {
    let union = union_of(small(), IdMap::default());
    assert_eq!(union.statistics(), Statistics { bytes: 600, files: 6 });
}
