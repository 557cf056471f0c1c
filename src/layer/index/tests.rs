use zerocopy::IntoBytes;

use super::format::Header;
use super::*;
use crate::layer::tree::{Attributes, Body, Node, Tree};
use crate::layer::{CHUNK, Seek};

fn key() -> Digest {
    Digest::of(b"a blob")
}

fn identity() -> Identity {
    let diff_id = DiffId(Digest::of(b"a tar"));
    Identity { digest: key(), size: 77, diff_id, uncompressed: CHUNK * 2, codec: Codec::Gzip }
}

fn seek() -> Seek {
    let checkpoint = |output, window_at| Checkpoint {
        output,
        window_at,
        input: 9.into(),
        window_len: 3.into(),
        bits: 5,
        ..Checkpoint::default()
    };
    Seek {
        chunks: vec![[1; 32], [2; 32]],
        checkpoints: vec![checkpoint(0.into(), 0.into()), checkpoint(4096.into(), 3.into())],
        windows: b"onetwo".to_vec(),
    }
}

/// An index that has one of everything.
fn sample() -> Vec<u8> {
    let mut tree = Tree::new();
    let extents =
        [Extent { offset: 0.into(), length: 1.into() }, Extent { offset: 9.into(), length: 1.into() }];
    let bodies = [
        (&b"directory"[..], Body::Directory),
        (b"file", Body::File { offset: 512, size: 100, extents: None, digest: [3; 32] }),
        (b"sparse", Body::File { offset: 1024, size: 10, extents: Some(&extents), digest: [4; 32] }),
        (b"symlink", Body::Symlink(b"target")),
        (b"lower", Body::LowerLink(b"below")),
        (b"fifo", Body::Fifo),
        (b"null", Body::CharDevice(1, 3)),
        (b"sda", Body::BlockDevice(8, 0)),
    ];
    for (name, body) in bodies {
        let node = tree.make(&Attributes::IMPLICIT, &[(b"user.a", b"1"), (b"user.b", b"")], body).unwrap();
        tree.link(Node::ROOT, name, node).unwrap();
        if body == Body::Directory {
            tree.whiteout(node, b"gone").unwrap();
            let empty = tree.make(&Attributes::IMPLICIT, &[], Body::Directory).unwrap();
            tree.link(node, b"empty", empty).unwrap();
        }
        if name == b"file" {
            tree.link(Node::ROOT, b"other", node).unwrap();
        }
    }
    tree.into_index(&identity(), &seek())
}

/// Everything that an index says, as text.
fn everything(bytes: Vec<u8>) -> Result<String, Error> {
    use std::fmt::Write;
    let index = Index::from_bytes(bytes, &key())?;
    let mut all = format!("{:?} {}\n", index.identity(), index.has_xattrs());
    for id in 0..index.len() {
        let inode = index.inode(id);
        let numbers = (inode.mode(), inode.uid(), inode.gid(), inode.nlink(), inode.size(), inode.mtime());
        let place = (inode.rdev(), inode.layer(), inode.origin(), inode.parent(), inode.is_opaque());
        let entries: Vec<Entry<'_>> = index.children(id).iter().collect();
        for entry in &entries {
            assert_eq!(index.lookup(id, entry.name), Some(*entry));
        }
        let xattrs: Vec<_> = index.xattrs(id)?.collect();
        let (target, content) = (index.target(id)?, index.content(id)?);
        writeln!(
            all,
            "{:?} {numbers:?} {place:?} {entries:?} {xattrs:?} {target:?} {content:?}",
            inode.kind()
        )
        .unwrap();
    }
    for checkpoint in index.checkpoints() {
        writeln!(all, "{checkpoint:?} {:?}", index.window(checkpoint)?).unwrap();
    }
    for number in 0..index.chunk_count() {
        writeln!(all, "{:?}", index.chunk_digest(number)?).unwrap();
    }
    index.intact()?;
    Ok(all)
}

/// Makes the digests of an index right again, as only who writes it can.
fn seal(bytes: &mut [u8], body_len: usize) {
    let (front, table) = bytes.split_at_mut(size_of::<Header>() + body_len);
    let (header, body) = Header::mut_from_prefix(front).unwrap();
    table.copy_from_slice(&page_table(body));
    header.root = header.root(table);
}

fn body_len(bytes: &[u8]) -> usize {
    let (header, _) = Header::ref_from_prefix(bytes).unwrap();
    header.sections.iter().map(|length| usize::try_from(length.get()).unwrap()).sum()
}

#[test]
fn an_index_opens_from_a_file_as_from_memory() {
    use std::io::Write;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&sample()).unwrap();
    let index = Index::open(&file, &key()).unwrap();
    assert_eq!((index.len(), *index.identity()), (10, identity()));
    assert_eq!(index.checkpoints(), seek().checkpoints);
    assert_eq!(index.window(&index.checkpoints()[1]).unwrap(), b"two");
    assert_eq!(index.chunk_digest(1).unwrap(), &[2; 32]);
    assert!(index.chunk_digest(2).is_err());
    assert!(Index::open(&file, &Digest::of(b"another")).is_err());
    file.set_len(0).unwrap();
    assert!(Index::open(&file, &key()).is_err());
}

#[test]
fn the_same_steps_make_the_same_bytes() {
    assert_eq!(sample(), sample());
}

#[test]
fn no_flipped_byte_goes_unseen() {
    let bytes = sample();
    assert!(everything(bytes.clone()).is_ok());
    for position in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[position] ^= 0x10;
        assert!(matches!(everything(bytes), Err(Error::Damaged { .. })), "byte {position}");
    }
}

#[test]
fn no_cut_goes_unseen() {
    let bytes = sample();
    for length in 0..bytes.len() {
        assert!(everything(bytes[..length].to_vec()).is_err(), "{length}");
    }
    assert!(everything([&bytes[..], b"more"].concat()).is_err());
}

#[test]
fn an_index_that_lies_under_right_digests_never_panics() {
    let bytes = sample();
    let body_len = body_len(&bytes);
    for position in 0..size_of::<Header>() + body_len {
        for value in [0, 1, 2, 6, 0x2f, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[position] = value;
            seal(&mut bytes, body_len);
            // Shown or refused: the walk itself is what must end.
            drop(everything(bytes));
        }
    }
}

/// The records of a sample, changed and sealed again.
fn forged(change: impl FnOnce(&mut [EntryRecord], &mut [u8], &mut [InodeRecord])) -> Result<String, Error> {
    let mut bytes = sample();
    let length = body_len(&bytes);
    let (header, rest) = Header::mut_from_prefix(&mut bytes).unwrap();
    let length_of = |section: Section| usize::try_from(header.sections[section as usize].get()).unwrap();
    let (entries, rest) = rest.split_at_mut(length_of(Section::Entries));
    let (names, rest) = rest.split_at_mut(length_of(Section::Names));
    let (inodes, _) = rest.split_at_mut(length_of(Section::Inodes));
    change(
        <[EntryRecord]>::mut_from_bytes(entries).unwrap(),
        names,
        <[InodeRecord]>::mut_from_bytes(inodes).unwrap(),
    );
    seal(&mut bytes, length);
    everything(bytes)
}

fn fault(change: impl FnOnce(&mut [EntryRecord], &mut [u8], &mut [InodeRecord])) -> &'static str {
    match forged(change) {
        Err(Error::Damaged { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_forged_tree_is_refused() {
    assert!(forged(|_, _, _| {}).is_ok());
    assert_eq!(fault(|_, names, _| names[0] = b'/'), "a name holds a slash or a NUL");
    assert_eq!(fault(|_, names, _| names[3] = 0), "a name holds a slash or a NUL");
    assert_eq!(fault(|_, names, _| names[0] = b'z'), "names are not sorted");
    assert_eq!(fault(|entries, _, _| entries[0].inode = 0.into()), "a directory has two parents");
    assert_eq!(fault(|entries, _, _| entries[0].inode = 99.into()), "an inode lies outside the table");
    assert_eq!(fault(|entries, _, _| entries[1].inode = 1.into()), "an entry's kind is not its inode's");
    assert_eq!(fault(|entries, _, _| entries[0].name_at = 1.into()), "a name is another's");
    assert_eq!(fault(|_, _, inodes| inodes[1].second = 1.into()), "a directory has two parents");
    assert_eq!(fault(|_, _, inodes| inodes[0].kind = Kind::Fifo as u8), "its root is not a directory");
    assert_eq!(fault(|_, _, inodes| inodes[0].flags = 0x80), "an inode has unknown flags");
    assert_eq!(
        fault(|_, _, inodes| {
            let symlink = inodes.iter_mut().find(|inode| inode.kind() == Kind::Symlink).unwrap();
            symlink.first = u64::MAX.into();
        }),
        "a target lies outside the heap"
    );
}

#[test]
fn a_name_that_cannot_be_shown_is_refused() {
    for name in [&b"."[..], b".."] {
        let mut tree = Tree::new();
        let node = tree.make(&Attributes::IMPLICIT, &[], Body::Fifo).unwrap();
        tree.link(Node::ROOT, name, node).unwrap();
        let bytes = tree.into_index(&identity(), &Seek::default());
        assert!(matches!(everything(bytes), Err(Error::Damaged { fault: "a name cannot be shown", .. })));
    }
}

#[test]
fn windows_are_verified_when_they_are_used() {
    let mut seek = seek();
    seek.windows = vec![b'w'; 200_000];
    let last = Checkpoint { window_at: 199_990.into(), window_len: 10.into(), ..Checkpoint::default() };
    seek.checkpoints.push(last);
    let mut bytes = Tree::new().into_index(&identity(), &seek);
    let end = size_of::<Header>() + body_len(&bytes);
    bytes[end - 1] ^= 1;
    let index = Index::from_bytes(bytes, &key()).unwrap();
    assert_eq!(index.window(&seek.checkpoints[0]).unwrap(), b"www");
    assert!(index.window(&last).is_err());
    assert!(index.window(&last).is_err(), "and each time");
    assert_eq!(index.checkpoints().as_bytes(), seek.checkpoints.as_bytes());
}
