use super::*;
use crate::layer::tarball::{Entry, Tarball, header, sign};

/// An entry and its data.
type Read = (Header, Vec<u8>);

fn read_in_pieces(tar: &[u8], piece: usize) -> (Vec<Read>, Result<(), Error>) {
    let mut parser = Parser::new();
    let mut entries: Vec<Read> = Vec::new();
    for mut input in tar.chunks(piece) {
        loop {
            match parser.next(&mut input) {
                Ok(Some(Event::Entry(header))) => entries.push((*header, Vec::new())),
                Ok(Some(Event::Data(data))) => entries.last_mut().unwrap().1.extend_from_slice(data),
                Ok(None) => break,
                Err(error) => return (entries, Err(error)),
            }
        }
    }
    (entries, parser.finish())
}

fn read(tar: &[u8]) -> Result<Vec<Read>, Error> {
    let (entries, end) = read_in_pieces(tar, usize::MAX);
    end.map(|()| entries)
}

/// `type path size data`, one line an entry.
fn listing(tar: &[u8]) -> Vec<String> {
    let line = |(header, data): &Read| {
        let (path, data) = (shown(&header.path), shown(data));
        format!("{:?} {path} {} {data}", header.kind, header.size)
    };
    read(tar).unwrap().iter().map(line).collect()
}

fn fault(tar: &[u8]) -> Fault {
    read(tar).unwrap_err().fault
}

#[test]
fn entries_are_the_same_however_the_stream_is_cut() {
    let tar = Tarball::new()
        .directory("d/")
        .pax(&[("path", b"d/long"), ("mtime", b"1.5")])
        .file("short", "data of the file")
        .special(b'L', b"d/gnu\0")
        .symlink("short", "target")
        .file("empty", "")
        .end();
    let whole = read(&tar).unwrap();
    assert_eq!(whole.len(), 4);
    for piece in [1, 7, 511, 512, 513, 1000] {
        assert_eq!(read_in_pieces(&tar, piece), (whole.clone(), Ok(())), "{piece}");
    }
}

#[test]
fn a_stream_may_end_at_any_block_but_within_no_entry() {
    let tar = Tarball::new().file("a", "data").file("b", "data").end();
    let whole = listing(&tar);
    assert_eq!(listing(&[]), [""; 0]);
    assert_eq!(listing(&tar[..2048]), whole, "no end marker");
    assert_eq!(listing(&tar[..2560]), whole, "half an end marker");
    assert_eq!(listing(&tar[..1540]), whole, "no last padding");
    for cut in [1, 511, 513, 515, 1025, 1537, 2049, 3000] {
        assert_eq!(fault(&tar[..cut]), Fault::Truncated, "{cut}");
    }
    assert_eq!(listing(&[&tar[..], &[7; 700]].concat()), whole, "what follows the end marker is nothing");
}

#[test]
fn a_body_follows_only_entries_that_have_one() {
    let link = |flag| Entry { flag, path: b"l", link: b"t", size: 1024, ..Entry::default() };
    for flag in b'1'..=b'6' {
        let tar = Tarball::new().entry(&link(flag)).file("after", "A").end();
        assert_eq!(listing(&tar)[1..], ["File after 1 A"], "{}", char::from(flag));
    }
    let old_directory = Entry { flag: 0, path: b"d/", size: 1024, ..Entry::default() };
    let tar = Tarball::new().entry(&old_directory).file("after", "A").end();
    assert_eq!(listing(&tar), ["Directory d/ 0 ", "File after 1 A"]);
    for flag in [b'0', b'D', b'?'] {
        let with_body = Entry { flag, path: b"d/", size: 3, body: b"abc", ..Entry::default() };
        let tar = Tarball::new().entry(&with_body).file("after", "A").end();
        assert_eq!(listing(&tar)[1..], ["File after 1 A"], "{}", char::from(flag));
    }
}

#[test]
fn the_size_of_a_pax_record_is_the_size() {
    let hidden = Tarball::new().file("smuggled", "").cut();
    let outer = Entry { path: b"outer", body: &hidden, ..Entry::default() };
    let tar = Tarball::new().pax(&[("size", b"512")]).entry(&outer).file("after", "A").end();
    assert_eq!(
        read(&tar).unwrap().iter().map(|entry| &entry.0.path[..]).collect::<Vec<_>>(),
        [&b"outer"[..], b"after"]
    );
    let tar =
        Tarball::new().pax(&[("size", b"512"), ("size", b"0")]).entry(&Entry { size: 99, ..outer }).end();
    assert_eq!(listing(&tar)[1], "File smuggled 0 ");
}

#[test]
fn a_negative_or_absurd_size_is_refused() {
    let sized = |size: &[u8]| Tarball::new().pax(&[("size", size)]).file("a", "").end();
    assert_eq!(fault(&sized(b"-1")), Fault::Negative(-1));
    assert_eq!(fault(&sized(b"9223372036854775808")), Fault::Record("size=9223372036854775808".into()));
    assert_eq!(fault(&sized(b"4611686018427387904")), Fault::Truncated);
    let long = Entry { flag: b'L', size: 1 << 21, ..Entry::default() };
    assert_eq!(fault(&Tarball::new().entry(&long).end()), Fault::TooLong(1 << 21));
}

#[test]
fn times_before_the_epoch_count_their_fraction_backwards() {
    let time = |text: &[u8]| {
        let tar = Tarball::new().pax(&[("mtime", text)]).file("a", "").end();
        read(&tar).map(|entries| (entries[0].0.mtime.seconds, entries[0].0.mtime.nanoseconds)).ok()
    };
    assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
    assert_eq!(time(b"-0.5"), Some((-1, 500_000_000)));
    assert_eq!(time(b"-7"), Some((-7, 0)));
    assert_eq!(time(b"8589934592.1234567899"), Some((8_589_934_592, 123_456_789)));
    assert_eq!(time(b"1."), Some((1, 0)));
    for wrong in [&b"99999999999999999999"[..], b"x", b"1.2x", b".5", b"1e3"] {
        assert_eq!(time(wrong), None, "{}", shown(wrong));
    }
}

#[test]
fn malformed_pax_records_are_refused() {
    for body in
        [&b"x"[..], b"6 a=b", b"5 a=b\n", b"3 =\n", b"7 =abc\n", b"99 a=b\n", b"0 a=b\n", b"9 path=\0\n\n"]
    {
        let tar = Tarball::new().special(b'x', body).file("a", "").end();
        assert!(matches!(fault(&tar), Fault::Record(_)), "{}", shown(body));
    }
}

#[test]
fn an_xattr_may_hold_any_bytes() {
    let value = b"two\nlines\0=";
    let tar = Tarball::new()
        .pax(&[("SCHILY.xattr.user.a", b"old"), ("SCHILY.xattr.user.e", b""), ("SCHILY.xattr.user.a", value)])
        .file("a", "")
        .end();
    assert_eq!(read(&tar).unwrap()[0].0.xattrs, [(b"user.a".to_vec(), value.to_vec())]);
}

#[test]
fn a_global_header_says_nothing_of_the_next_entry() {
    let tar = Tarball::new().special(b'g', b"11 path=no\n").special(b'g', b"9 size=9\n").file("a", "A").end();
    assert_eq!(listing(&tar), ["File a 1 A"]);
}

fn extents(tar: &[u8]) -> Result<Vec<(u64, u64)>, Fault> {
    let entries = read(tar).map_err(|error| error.fault)?;
    let map = entries[0].0.extents.clone().unwrap();
    Ok(map.iter().map(|extent| (extent.offset.get(), extent.length.get())).collect())
}

fn sparse_1_0(size: &[u8], map: &str, data: &str) -> Vec<u8> {
    let mut body = map.as_bytes().to_vec();
    body.resize(body.len().next_multiple_of(512), 0);
    body.extend_from_slice(data.as_bytes());
    let body = std::str::from_utf8(&body).unwrap();
    let records =
        [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", size)];
    Tarball::new().pax(&records).file("s", body).file("after", "A").end()
}

#[test]
fn a_sparse_file_has_extents_and_its_holes_cost_nothing() {
    let tar = sparse_1_0(b"8796093022208", "2\n4096\n3\n8796093022208\n0\n", "abc");
    let entries = read(&tar).unwrap();
    assert_eq!(extents(&tar), Ok(vec![(4096, 3)]));
    assert_eq!((entries[0].0.size, entries[0].0.stored, &entries[0].1[..]), (1 << 43, 3, &b"abc"[..]));
    assert_eq!(entries[0].0.data_at, 4 * 512);
    assert_eq!(entries[1].0.path, b"after");
}

#[test]
fn a_sparse_map_that_does_not_fit_is_refused() {
    for (map, data) in [
        ("2\n0\n2\n1\n1\n", "abc"),
        ("2\n8\n1\n1\n2\n", "abc"),
        ("1\n8\n3\n", "abc"),
        ("1\n-1\n3\n", "abc"),
        ("1\n0\n2\n", "abc"),
        ("1\n0\n4\n", "abc"),
        ("x\n", ""),
        ("9223372036854775807\n", ""),
    ] {
        assert!(extents(&sparse_1_0(b"10", map, data)).is_err(), "{map:?}");
    }
    let endless = "9".repeat(3 << 20);
    assert_eq!(extents(&sparse_1_0(b"10", &endless, "")), Err(Fault::Sparse("is too long")));
}

#[test]
fn an_old_sparse_map_goes_on_in_blocks_of_its_own() {
    let mut block = header(&Entry { flag: b'S', path: b"old", size: 5, ..Entry::default() });
    block[257..265].copy_from_slice(b"ustar  \0");
    block[345..369].fill(0);
    block[386..410].copy_from_slice(b"00000000000\x0000000000002\0");
    block[482] = 1;
    block[483..495].copy_from_slice(b"00000010000\0");
    sign(&mut block);
    let mut more = [0; 512];
    more[..24].copy_from_slice(b"00000000010\x0000000000003\0");
    let tar = Tarball::new().body(&block).body(&more).body(b"abcde").file("after", "A").end();
    assert_eq!(extents(&tar), Ok(vec![(0, 2), (8, 3)]));
    assert_eq!(listing(&tar), ["File old 4096 abcde", "File after 1 A"]);
}

#[test]
fn numbers_are_octal_or_binary() {
    let number = |field: &[u8]| header::number(field, "size").ok();
    assert_eq!(number(b"  644 \0"), Some(0o644));
    assert_eq!(number(b"\0\0\0"), Some(0));
    assert_eq!(number(b"8"), None);
    assert_eq!(number(b"-1"), None);
    assert_eq!(number(b"\x80\0\0\x01\0"), Some(256));
    assert_eq!(number(b"\xff\xff\xff\xfe"), Some(-2));
    assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Some(-1));
    assert_eq!(number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i64::MAX));
    assert_eq!(number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
}

mod corpus {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    fn directory() -> Option<PathBuf> {
        std::env::var_os("PLYFS_SHARED").map(|shared| Path::new(&shared).join("images/tar-corpus"))
    }

    fn rows(file: &Path) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// What the listing of Go's reader says, without what no layer keeps.
    fn expected(row: &[String]) -> Vec<String> {
        let flag = match &row[2][..] {
            "S" | "7" => "0",
            "D" => "5",
            flag => flag,
        };
        let mode = u32::from_str_radix(&row[4], 8).unwrap() & 0o7777;
        let is_file = flag == "0";
        let size = if is_file { row[7].clone() } else { "-".into() };
        let is_device = flag == "3" || flag == "4";
        let device = if is_device { row[10].clone() } else { "-".into() };
        let digest = if is_file && !row[11].starts_with('!') { row[11].clone() } else { "-".into() };
        let mut xattrs: Vec<&str> = row[12].split(';').collect();
        xattrs.sort_unstable();
        let mode = format!("{mode:o}");
        vec![
            flag.into(),
            row[3].clone(),
            mode,
            row[5].clone(),
            row[6].clone(),
            size,
            row[8].clone(),
            row[9].clone(),
            device,
            digest,
            xattrs.join(";"),
        ]
    }

    fn found((header, data): &Read) -> Vec<String> {
        let flag = match header.kind {
            Type::File => "0",
            Type::HardLink => "1",
            Type::Symlink => "2",
            Type::CharDevice => "3",
            Type::BlockDevice => "4",
            Type::Directory => "5",
            Type::Fifo => "6",
            Type::Other(_) => "?",
        };
        let is_file = flag == "0";
        let size = if is_file { header.size.to_string() } else { "-".into() };
        let is_device = flag == "3" || flag == "4";
        let device = if is_device { format!("{},{}", header.major, header.minor) } else { "-".into() };
        let digest = if is_file && header.size < 10_000_000_000 { sha256(header, data) } else { "-".into() };
        let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut xattrs: Vec<_> =
            header.xattrs.iter().map(|(name, value)| format!("{}={}", shown(name), hex(value))).collect();
        xattrs.sort_unstable();
        let xattrs = if xattrs.is_empty() { "-".into() } else { xattrs.join(";") };
        let mode = format!("{:o}", header.mode);
        vec![
            flag.into(),
            raw(&header.path),
            mode,
            header.uid.to_string(),
            header.gid.to_string(),
            size,
            time(header.mtime),
            raw(&header.link),
            device,
            digest,
            xattrs,
        ]
    }

    fn raw(bytes: &[u8]) -> String {
        bytes
            .utf8_chunks()
            .map(|chunk| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii()))
            .collect()
    }

    fn time(time: Time) -> String {
        let fraction = format!("{:09}", time.nanoseconds);
        format!("{}.{}", time.seconds, fraction.trim_end_matches('0')).trim_end_matches('.').to_owned()
    }

    fn sha256(header: &Header, data: &[u8]) -> String {
        let mut hasher = Sha256::new();
        let (mut end, mut rest) = (0, data);
        let zeros = vec![0; 1 << 20];
        let hole = |hasher: &mut Sha256, mut length: u64| {
            while length > 0 {
                let piece = length.min(zeros.len() as u64);
                hasher.update(&zeros[..usize::try_from(piece).unwrap()]);
                length -= piece;
            }
        };
        for extent in header.extents.iter().flatten() {
            hole(&mut hasher, extent.offset.get() - end);
            let (piece, after) = rest.split_at(usize::try_from(extent.length.get()).unwrap());
            hasher.update(piece);
            rest = after;
            end = extent.offset.get() + extent.length.get();
        }
        hasher.update(rest);
        if header.extents.is_some() {
            hole(&mut hasher, header.size - end);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_file_of_the_corpus_reads_as_go_reads_it() {
        let Some(directory) = directory() else { return };
        let mut entries: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
        for row in rows(&directory.join("entries.tsv")).iter().filter(|row| row[2] != "g") {
            entries.entry(row[0].clone()).or_default().push(expected(row));
        }
        for row in rows(&directory.join("readers.tsv")) {
            let (name, go) = (&row[0], &row[3]);
            let (read, end) = read_in_pieces(&std::fs::read(directory.join(name)).unwrap(), 100);
            let found: Vec<_> = read.iter().map(found).collect();
            assert_eq!(found, entries.remove(name).unwrap_or_default(), "{name}");
            assert_eq!(end.is_err(), go.contains("error"), "{name}: {go}: {end:?}");
        }
        assert!(entries.is_empty());
    }
}
