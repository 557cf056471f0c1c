//! The header of an entry: ustar, with a pax header before it where that can't say all.

use super::{Body, Entry};
use crate::layer::index::Time;

pub(super) const BLOCK: usize = 512;
const NAME: usize = 100;
/// What seven and what eleven octal digits can say.
const MOST_SHORT: u64 = 0o777_7777;
const MOST_LONG: u64 = 0o777_7777_7777;

/// All blocks that come before an entry's content.
pub(super) fn header(entry: &Entry<'_>) -> Vec<u8> {
    let path = shown_path(entry);
    let records = records(entry, &path);
    let mut bytes = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let name = [b"PaxHeaders.0/", base_name(entry.path)].concat();
        let fields = Fields { path: &name, mode: 0o644, size: records.len() as u64, ..Fields::of_type(b'x') };
        bytes.extend_from_slice(&fields.block());
        bytes.extend_from_slice(&records);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend_from_slice(&fields(entry, &path).block());
    bytes
}

/// As it stands in the archive: a directory ends in a slash.
fn shown_path(entry: &Entry<'_>) -> Vec<u8> {
    match entry.body {
        Body::Directory if entry.path.is_empty() => b"./".to_vec(),
        Body::Directory => [entry.path, b"/"].concat(),
        _ => entry.path.to_vec(),
    }
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

fn link(body: Body<'_>) -> &[u8] {
    match body {
        Body::Symlink(target) | Body::HardLink(target) => target,
        _ => b"",
    }
}

fn size(body: Body<'_>) -> u64 {
    match body {
        Body::File(size) => size,
        _ => 0,
    }
}

/// What the header has no room for.
fn records(entry: &Entry<'_>, path: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let mut put = |key: &[u8], value: &[u8]| records.extend_from_slice(&record(key, value));
    if path.len() > NAME {
        put(b"path", path);
    }
    if link(entry.body).len() > NAME {
        put(b"linkpath", link(entry.body));
    }
    for (key, number, most) in [
        (&b"size"[..], size(entry.body), MOST_LONG),
        (b"uid", entry.user.into(), MOST_SHORT),
        (b"gid", entry.group.into(), MOST_SHORT),
    ] {
        if number > most {
            put(key, number.to_string().as_bytes());
        }
    }
    let Time { seconds, nanoseconds } = entry.modified;
    if nanoseconds != 0 || plain_time(seconds).is_none() {
        put(b"mtime", decimal(entry.modified).as_bytes());
    }
    for (name, value) in entry.xattrs {
        put(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = |length: usize| length.to_string().len();
    let mut length = rest + digits(rest);
    length = rest + digits(length);
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

fn plain_time(seconds: i64) -> Option<u64> {
    u64::try_from(seconds).ok().filter(|seconds| *seconds <= MOST_LONG)
}

/// Pax counts from zero outwards; our fraction counts forward.
fn decimal(time: Time) -> String {
    let Time { seconds, nanoseconds } = time;
    let text = match (seconds, nanoseconds) {
        (_, 0) => return seconds.to_string(),
        (0.., _) => format!("{seconds}.{nanoseconds:09}"),
        _ => format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
    };
    text.trim_end_matches('0').to_owned()
}

struct Fields<'a> {
    flag: u8,
    path: &'a [u8],
    link: &'a [u8],
    mode: u16,
    user: u32,
    group: u32,
    size: u64,
    modified: u64,
    device: (u32, u32),
}

impl Fields<'_> {
    fn of_type(flag: u8) -> Self {
        Self { flag, path: b"", link: b"", mode: 0, user: 0, group: 0, size: 0, modified: 0, device: (0, 0) }
    }

    /// What does not fit is cut here, and whole in the pax header.
    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        let short = |number: u64| format!("{:07o}", number.min(MOST_SHORT));
        let long = |number: u64| format!("{:011o}", number.min(MOST_LONG));
        put(0, &self.path[..self.path.len().min(NAME)]);
        put(100, short(self.mode.into()).as_bytes());
        put(108, short(self.user.into()).as_bytes());
        put(116, short(self.group.into()).as_bytes());
        put(124, long(self.size).as_bytes());
        put(136, long(self.modified).as_bytes());
        put(148, b"        ");
        put(156, &[self.flag]);
        put(157, &self.link[..self.link.len().min(NAME)]);
        put(257, b"ustar\x0000");
        put(329, short(self.device.0.into()).as_bytes());
        put(337, short(self.device.1.into()).as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

fn fields<'a>(entry: &Entry<'a>, path: &'a [u8]) -> Fields<'a> {
    let (flag, device) = match entry.body {
        Body::File(_) => (b'0', (0, 0)),
        Body::HardLink(_) => (b'1', (0, 0)),
        Body::Symlink(_) => (b'2', (0, 0)),
        Body::CharDevice(major, minor) => (b'3', (major, minor)),
        Body::BlockDevice(major, minor) => (b'4', (major, minor)),
        Body::Directory => (b'5', (0, 0)),
        Body::Fifo => (b'6', (0, 0)),
    };
    Fields {
        path,
        link: link(entry.body),
        mode: entry.mode,
        user: entry.user,
        group: entry.group,
        size: size(entry.body),
        modified: plain_time(entry.modified.seconds).unwrap_or(0),
        device,
        ..Fields::of_type(flag)
    }
}
