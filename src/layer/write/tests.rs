use std::io::Read;

use super::*;
use crate::layer::tree::Attributes;
use crate::layer::{Identity, Index, Kind, Scan, Seek};
use crate::oci::Digest;
use proptest::prelude::*;

const PLAIN: Entry<'_> = Entry {
    path: b"f",
    body: Body::File(0),
    mode: 0o644,
    user: 0,
    group: 0,
    modified: Time { seconds: 0, nanoseconds: 0 },
    xattrs: &[],
};

fn tar(entries: &[(Entry<'_>, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        writer.entry(entry).unwrap();
        writer.content(content).unwrap();
    }
    writer.finish().unwrap()
}

fn scanned(tar: &[u8]) -> Index {
    let mut scan = Scan::new();
    scan.push(tar).unwrap();
    let key = Digest::of(b"a layer");
    Index::from_bytes(scan.finish().unwrap().into_index(&Identity::of_merged(key), &Seek::default()), &key)
        .unwrap()
}

fn find(index: &Index, path: &[u8]) -> u32 {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
    names.fold(0, |id, name| index.lookup(id, name).unwrap().id)
}

fn attributes(index: &Index, id: u32) -> Attributes {
    let inode = index.inode(id);
    Attributes { mode: inode.mode(), uid: inode.uid(), gid: inode.gid(), mtime: inode.mtime() }
}

fn body() -> impl Strategy<Value = (Kind, Vec<u8>, (u32, u32))> {
    let text = proptest::collection::vec(1_u8.., 1..300);
    prop_oneof![
        text.prop_map(|text| (Kind::File, text, (0, 0))),
        proptest::collection::vec(1_u8.., 1..300).prop_map(|text| (Kind::Symlink, text, (0, 0))),
        (0..0xfff_u32, 0..0xf_ffff_u32).prop_map(|device| (Kind::CharDevice, vec![], device)),
        (0..0xfff_u32, 0..0xf_ffff_u32).prop_map(|device| (Kind::BlockDevice, vec![], device)),
        Just((Kind::Fifo, vec![], (0, 0))),
        Just((Kind::Directory, vec![], (0, 0))),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_scanned(
        (kind, text, device) in body(),
        names in proptest::collection::vec("[^/\0]{1,80}", 1..5),
        mode in 0_u16..0o10000,
        (user, group) in any::<(u32, u32)>(),
        (seconds, nanoseconds) in (any::<i32>(), 0..1_000_000_000_u32),
        xattr in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let path = names.join("/");
        prop_assume!(names.iter().all(|name| !matches!(name.as_str(), "." | "..") && !name.starts_with(".wh.")));
        let modified = Time { seconds: i64::from(seconds) * 16, nanoseconds };
        let xattrs = [(b"user.x".to_vec(), xattr.clone())];
        let body = match kind {
            Kind::File => Body::File(text.len() as u64),
            Kind::Symlink => Body::Symlink(&text),
            Kind::CharDevice => Body::CharDevice(device.0, device.1),
            Kind::BlockDevice => Body::BlockDevice(device.0, device.1),
            Kind::Fifo => Body::Fifo,
            _ => Body::Directory,
        };
        let entry = Entry { path: path.as_bytes(), body, mode, user, group, modified, xattrs: &xattrs };
        let content: &[u8] = if kind == Kind::File { &text } else { b"" };
        let index = scanned(&tar(&[(entry, content)]));
        let id = find(&index, path.as_bytes());
        prop_assert_eq!(attributes(&index, id), Attributes { mode, uid: user, gid: group, mtime: modified });
        prop_assert_eq!((index.inode(id).kind(), index.inode(id).rdev()), (kind, device));
        let kept: Vec<_> = index.xattrs(id).unwrap().collect();
        prop_assert_eq!(kept, [(&b"user.x"[..], &xattr[..])]);
        if kind == Kind::Symlink {
            prop_assert_eq!(index.target(id).unwrap(), &text);
        }
    }

    #[test]
    fn what_is_compressed_comes_back_and_is_always_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let whole = bytes.repeat(1000);
            let once = stream(compression, &whole);
            prop_assert_eq!(&once, &stream(compression, &whole));
            prop_assert_eq!(plain(compression, &once), whole);
        }
    }
}

fn stream(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let write = |mut stream: Stream| stream.write_all(bytes).and_then(|()| stream.flush());
    let (written, read) = compressed(compression, write, |stream| {
        let mut read = Vec::new();
        stream.read_to_end(&mut read).map(|_| read)
    });
    written.unwrap().unwrap();
    read.unwrap()
}

fn plain(compression: Compression, mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    match compression {
        Compression::None => whole.extend_from_slice(bytes),
        Compression::Gzip => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut whole).unwrap()),
        Compression::Zstd => zstd::stream::copy_decode(&mut bytes, &mut whole).unwrap(),
    }
    whole
}

#[test]
fn other_readers_see_the_same() {
    let long = [b'n'; 150];
    let file = Entry { path: &long, body: Body::File(3), mode: 0o4755, ..PLAIN };
    let link = Entry { path: b"link", body: Body::HardLink(&long), ..PLAIN };
    let mut archive = ::tar::Archive::new(&*tar(&[(file, b"abc"), (link, b"")]).leak());
    let seen: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name_bytes().map(|link| link.to_vec());
            (entry.path_bytes().to_vec(), entry.header().mode().unwrap(), entry.size(), link)
        })
        .collect();
    let expected = [(long.to_vec(), 0o4755, 3, None), (b"link".to_vec(), 0o644, 0, Some(long.to_vec()))];
    assert_eq!(seen, expected);
}

#[test]
fn what_is_hidden_hides() {
    let mut writer = Writer::new(Vec::new());
    writer.hide(b"a", Hidden::Name(b"gone")).unwrap();
    writer.hide(b"b", Hidden::Everything).unwrap();
    let index = scanned(&writer.finish().unwrap());
    assert_eq!(index.lookup(find(&index, b"a"), b"gone").unwrap().kind, Kind::Whiteout);
    assert!(index.inode(find(&index, b"b")).is_opaque());
}

#[test]
fn a_file_of_another_length_than_was_said_is_refused() {
    let mut writer = Writer::new(Vec::new());
    writer.entry(&Entry { body: Body::File(3), ..PLAIN }).unwrap();
    writer.content(b"ab").unwrap();
    assert!(writer.content(b"cd").is_err());
    assert!(writer.entry(&PLAIN).is_err());
    assert!(writer.finish().is_err());
}
