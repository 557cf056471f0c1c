//! Sparse files: GNU's old maps in headers, and those of pax, 0.0, 0.1 and 1.0.

use super::header::{BLOCK, Block, Fields, number};
use super::pax::{Key, Pax, decimal};
use super::{Fault, MAX_SPECIAL};
use crate::layer::index::Extent;

/// Offsets and lengths of data, as they were read.
pub(super) type Map = Vec<(i64, i64)>;

/// The size of an offset and a length in an old map.
const OLD_ENTRY: usize = 24;

/// What pax records say of a sparse map.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Nothing,
    Map(Map),
    /// It stands before the data.
    InBody,
}

/// Also gives the entry the name and size that it has behind its map.
pub(super) fn announced(fields: &mut Fields, pax: &Pax) -> Result<Announced, Fault> {
    let is_in_body = match (pax.get(Key::SparseMajor), pax.get(Key::SparseMinor)) {
        (Some(b"0"), Some(b"0" | b"1")) => false,
        (Some(b"1"), Some(b"0")) => true,
        (None, None) if pax.has_sparse_map() => false,
        _ => return Ok(Announced::Nothing),
    };
    if let Some(name) = pax.get(Key::SparseName) {
        fields.name = name.to_vec();
    }
    let size = if pax.get(Key::SparseSize).is_some() { Key::SparseSize } else { Key::SparseRealSize };
    fields.size = pax.number(size)?.unwrap_or(fields.size);
    if is_in_body { Ok(Announced::InBody) } else { pax.sparse_map().map(Announced::Map) }
}

/// Reads a block of an old map: its entries, up to the first empty one, and a byte that says whether more follow.
pub(super) fn read_old(block: &[u8], map: &mut Map) -> Result<bool, Fault> {
    let (entries, has_more) = block.split_at(block.len() - 1);
    for entry in entries.chunks_exact(OLD_ENTRY) {
        if entry[0] == 0 {
            break;
        }
        map.push((number(&entry[..12], "sparse offset")?, number(&entry[12..], "sparse length")?));
    }
    Ok(has_more[0] > 0)
}

/// A map in the body: a count, then offsets and lengths, each on a line.
#[derive(Default)]
pub(super) struct NewMap {
    text: Vec<u8>,
    lines: u64,
    /// How many lines there are in all, when the first has been read.
    wanted: Option<u64>,
}

impl NewMap {
    /// Takes a block; gives the map when it is whole.
    pub(super) fn push(&mut self, block: &Block) -> Result<Option<Map>, Fault> {
        self.lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.text.extend_from_slice(block);
        if self.wanted.is_none() && self.lines > 0 {
            self.wanted = Some(self.lines_in_all()?);
        }
        if self.wanted.is_some_and(|wanted| self.lines >= wanted) {
            return self.read().map(Some);
        }
        match (self.text.len() + BLOCK) as u64 > MAX_SPECIAL {
            true => Err(Fault::Sparse("is too long")),
            false => Ok(None),
        }
    }

    fn lines_in_all(&self) -> Result<u64, Fault> {
        let first = self.text.split(|byte| *byte == b'\n').next().and_then(decimal);
        let count = first.and_then(|count| u64::try_from(count).ok()).ok_or(Fault::Sparse("is malformed"))?;
        count.checked_mul(2).and_then(|lines| lines.checked_add(1)).ok_or(Fault::Sparse("is too long"))
    }

    fn read(&self) -> Result<Map, Fault> {
        let lines = self.text.split(|byte| *byte == b'\n').skip(1);
        let wanted = usize::try_from(self.wanted.unwrap_or(1) - 1).unwrap_or(0);
        let numbers: Option<Vec<i64>> = lines.take(wanted).map(decimal).collect();
        let numbers = numbers.ok_or(Fault::Sparse("is malformed"))?;
        Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }
}

/// The runs of data of a file: in order, apart, within its size, and as many bytes as are stored. Empty ones, which
/// end a map, say nothing.
pub(super) fn checked(map: &Map, size: u64, stored: u64) -> Result<Vec<Extent>, Fault> {
    let (mut end, mut data) = (0, 0);
    let mut extents = Vec::new();
    for (offset, length) in map {
        let malformed = |_| Fault::Sparse("has a negative number");
        let (offset, length) =
            (u64::try_from(*offset).map_err(malformed)?, u64::try_from(*length).map_err(malformed)?);
        if offset < end {
            return Err(Fault::Sparse("overlaps, or is out of order"));
        }
        end = offset + length;
        if end > size {
            return Err(Fault::Sparse("goes beyond the file"));
        }
        data += length;
        if length > 0 {
            extents.push(Extent { offset: offset.into(), length: length.into() });
        }
    }
    if data != stored {
        return Err(Fault::Sparse("is of more or fewer bytes than there are"));
    }
    Ok(extents)
}
