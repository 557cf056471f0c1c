//! The records of a pax header.

use std::collections::BTreeMap;
use std::ops::Range;

use super::sparse::Map;
use super::{Fault, shown};
use crate::layer::index::Time;

/// The records that say something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Path,
    LinkPath,
    Size,
    Uid,
    Gid,
    Mtime,
    Atime,
    Ctime,
    SparseMajor,
    SparseMinor,
    SparseName,
    SparseSize,
    SparseRealSize,
    SparseCount,
    SparseMap,
}

const KEYS: [(&[u8], Key); 15] = [
    (b"path", Key::Path),
    (b"linkpath", Key::LinkPath),
    (b"size", Key::Size),
    (b"uid", Key::Uid),
    (b"gid", Key::Gid),
    (b"mtime", Key::Mtime),
    (b"atime", Key::Atime),
    (b"ctime", Key::Ctime),
    (b"GNU.sparse.major", Key::SparseMajor),
    (b"GNU.sparse.minor", Key::SparseMinor),
    (b"GNU.sparse.name", Key::SparseName),
    (b"GNU.sparse.size", Key::SparseSize),
    (b"GNU.sparse.realsize", Key::SparseRealSize),
    (b"GNU.sparse.numblocks", Key::SparseCount),
    (b"GNU.sparse.map", Key::SparseMap),
];

const XATTR: &[u8] = b"SCHILY.xattr.";
const SPARSE_OFFSET: &[u8] = b"GNU.sparse.offset";
const SPARSE_LENGTH: &[u8] = b"GNU.sparse.numbytes";

/// One pax header; the last record of a key counts.
#[derive(Default)]
pub(super) struct Pax {
    body: Vec<u8>,
    known: [Range<usize>; KEYS.len()],
    xattrs: Vec<(Range<usize>, Range<usize>)>,
    /// The numbers of the sparse format 0.0, which has a record for each.
    numbers: Vec<Range<usize>>,
}

impl Pax {
    pub(super) fn parse(body: Vec<u8>) -> Result<Self, Fault> {
        let mut pax = Self { body, ..Self::default() };
        let mut start = 0;
        while start < pax.body.len() {
            let (key, value) =
                record(&pax.body, start).ok_or_else(|| Fault::Record(shown(&pax.body[start..])))?;
            start = value.end + 1;
            pax.learn(key, value)?;
        }
        Ok(pax)
    }

    fn learn(&mut self, key: Range<usize>, value: Range<usize>) -> Result<(), Fault> {
        let name = &self.body[key.clone()];
        if let Some(position) = KEYS.iter().position(|(known, _)| *known == name) {
            self.known[position] = value;
        } else if name == SPARSE_OFFSET || name == SPARSE_LENGTH {
            let is_due = (name == SPARSE_OFFSET) == self.numbers.len().is_multiple_of(2);
            if !is_due || self.body[value.clone()].contains(&b',') {
                return Err(Fault::Record(shown(&self.body[key.start..value.end])));
            }
            self.numbers.push(value);
        } else if name.starts_with(XATTR) {
            self.xattrs.push((key.start + XATTR.len()..key.end, value));
        }
        Ok(())
    }

    /// An empty value is as none.
    pub(super) fn get(&self, key: Key) -> Option<&[u8]> {
        let value = &self.body[self.known[key as usize].clone()];
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn number(&self, key: Key) -> Result<Option<i64>, Fault> {
        self.get(key).map(|value| decimal(value).ok_or_else(|| self.bad(key))).transpose()
    }

    pub(super) fn time(&self, key: Key) -> Result<Option<Time>, Fault> {
        self.get(key).map(|value| time(value).ok_or_else(|| self.bad(key))).transpose()
    }

    fn bad(&self, key: Key) -> Fault {
        let name = KEYS[key as usize].0;
        Fault::Record(shown(&[name, b"=", self.get(key).unwrap_or(&[])].concat()))
    }

    /// Sorted by name.
    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = self.xattrs.iter();
        let last: BTreeMap<&[u8], &[u8]> =
            pairs.map(|(name, value)| (&self.body[name.clone()], &self.body[value.clone()])).collect();
        let kept = last.into_iter().filter(|(_, value)| !value.is_empty());
        kept.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    /// Whether there is a map of the formats 0.0 or 0.1.
    pub(super) fn has_sparse_map(&self) -> bool {
        !self.numbers.is_empty() || self.get(Key::SparseMap).is_some()
    }

    pub(super) fn sparse_map(&self) -> Result<Map, Fault> {
        let malformed = || Fault::Sparse("is malformed");
        let count = self.get(Key::SparseCount).and_then(decimal).ok_or_else(malformed)?;
        let numbers: Option<Vec<i64>> = match self.get(Key::SparseMap) {
            _ if !self.numbers.is_empty() => {
                self.numbers.iter().map(|value| decimal(&self.body[value.clone()])).collect()
            }
            None => Some(Vec::new()),
            Some(map) => map.split(|byte| *byte == b',').map(decimal).collect(),
        };
        let numbers = numbers.ok_or_else(malformed)?;
        if count.checked_mul(2) != i64::try_from(numbers.len()).ok() {
            return Err(Fault::Sparse("has another length than it says"));
        }
        Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }
}

/// The key and the value of the record `LENGTH KEY=VALUE\n` at `start`, whose length counts all of it.
fn record(body: &[u8], start: usize) -> Option<(Range<usize>, Range<usize>)> {
    let rest = &body[start..];
    let space = rest.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&rest[..space])?).ok()?;
    let text = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let key_at = start + space + 1;
    let key = key_at..key_at + equals;
    let value = key.end + 1..start + length - 1;
    let must_be_text: &[u8] = match &body[key.clone()] {
        b"" => return None,
        b"path" | b"linkpath" | b"uname" | b"gname" => &body[value.clone()],
        key => key,
    };
    (length >= 5 && !must_be_text.contains(&0)).then_some((key, value))
}

pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `SECONDS[.FRACTION]`, where a minus is the whole time's.
fn time(text: &[u8]) -> Option<Time> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next()?;
    let seconds = decimal(whole)?;
    let fraction = parts.next().unwrap_or(&[]);
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(match whole.starts_with(b"-") && nanoseconds > 0 {
        true => Time { seconds: seconds.saturating_sub(1), nanoseconds: 1_000_000_000 - nanoseconds },
        false => Time { seconds, nanoseconds },
    })
}
