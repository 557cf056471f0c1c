//! A copy of a layer's chunks that cannot be reached quickly, each a zstd frame of its own, with a table at the end.
//!
//! ```text
//! frame...  table: { chunk u64, offset u64, length u32 }...  footer: { BLAKE3 of the table, entries u64, magic }
//! ```
//!
//! What it gives is checked against the index like any other chunk. A file that is cut or changed is
//! [`Error::Damaged`]: drop it, and make it again from the blob.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{CHUNK, Index};

const MAGIC: [u8; 8] = *b"plyfssc1";
const LEVEL: i32 = 1;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Frame {
    chunk: U64,
    offset: U64,
    length: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Footer {
    table: [u8; 32],
    entries: U64,
    magic: [u8; 8],
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the sidecar is damaged: {0}")]
    Damaged(&'static str),
    #[error("reading the sidecar: {0}")]
    Unreadable(#[from] io::Error),
}

/// Writes a sidecar, chunk after chunk.
pub struct Writer {
    file: BufWriter<File>,
    compressor: zstd::bulk::Compressor<'static>,
    frame: Vec<u8>,
    table: Vec<Frame>,
    offset: u64,
}

impl Writer {
    pub fn new(file: File) -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        let frame = vec![0; zstd::zstd_safe::compress_bound(CHUNK as usize)];
        Ok(Self { file: BufWriter::new(file), compressor, frame, table: Vec::new(), offset: 0 })
    }

    /// Adds a chunk; they come in order.
    pub fn put(&mut self, chunk: u64, bytes: &[u8]) -> io::Result<()> {
        let length = self.compressor.compress_to_buffer(bytes, &mut self.frame[..])?;
        self.file.write_all(&self.frame[..length])?;
        self.table.push(Frame {
            chunk: chunk.into(),
            offset: self.offset.into(),
            length: (length as u32).into(),
        });
        self.offset += length as u64;
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<File> {
        let table = self.table.as_bytes();
        self.file.write_all(table)?;
        let footer = Footer {
            table: *blake3::hash(table).as_bytes(),
            entries: (self.table.len() as u64).into(),
            magic: MAGIC,
        };
        self.file.write_all(footer.as_bytes())?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// A sidecar, open.
pub struct Sidecar {
    file: File,
    table: Vec<Frame>,
}

impl Sidecar {
    pub fn open(file: File) -> Result<Self, Error> {
        let size = file.metadata()?.len();
        let footer_at =
            size.checked_sub(size_of::<Footer>() as u64).ok_or(Error::Damaged("it has no footer"))?;
        let mut footer = Footer { table: [0; 32], entries: 0.into(), magic: [0; 8] };
        file.read_exact_at(footer.as_mut_bytes(), footer_at)?;
        if footer.magic != MAGIC {
            return Err(Error::Damaged("it has no footer"));
        }
        let length = footer.entries.get().checked_mul(size_of::<Frame>() as u64);
        let table_at = length
            .and_then(|length| footer_at.checked_sub(length))
            .ok_or(Error::Damaged("its table is not whole"))?;
        let table = read_table(&file, table_at, footer_at - table_at, &footer.table)?;
        check(&table, table_at)?;
        Ok(Self { file, table })
    }

    /// Whether `chunk` is in it.
    pub fn has(&self, chunk: u64) -> bool {
        self.frame(chunk).is_some()
    }

    /// How many chunks are in it.
    pub fn len(&self) -> u64 {
        self.table.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Fills `into` with `chunk`, which is as long; `false`: it is not in it.
    pub fn read(&self, chunk: u64, into: &mut [u8]) -> Result<bool, Error> {
        let Some(frame) = self.frame(chunk) else { return Ok(false) };
        let mut compressed = vec![0; frame.length.get() as usize];
        self.file.read_exact_at(&mut compressed, frame.offset.get())?;
        match zstd::bulk::decompress_to_buffer(&compressed, into) {
            Ok(length) if length == into.len() => Ok(true),
            Ok(_) => Err(Error::Damaged("a chunk has not its length")),
            Err(_) => Err(Error::Damaged("a chunk is not zstd")),
        }
    }

    /// Reads all of it: whether each chunk is what the index of its layer says.
    pub fn check_all(&self, index: &Index) -> Result<(), Error> {
        let end = index.identity().uncompressed;
        let mut bytes = vec![0; CHUNK as usize];
        for chunk in self.table.iter().map(|frame| frame.chunk.get()) {
            let start = chunk.checked_mul(CHUNK).filter(|start| *start < end);
            let start = start.ok_or(Error::Damaged("it has a chunk that the layer has not"))?;
            let into = &mut bytes[..CHUNK.min(end - start) as usize];
            self.read(chunk, into)?;
            match index.chunk_digest(chunk) {
                Ok(digest) if blake3::hash(into) == *digest => {}
                _ => return Err(Error::Damaged("a chunk is not what its layer has")),
            }
        }
        Ok(())
    }

    fn frame(&self, chunk: u64) -> Option<&Frame> {
        let at = self.table.binary_search_by_key(&chunk, |frame| frame.chunk.get()).ok()?;
        self.table.get(at)
    }
}

/// The table is inside the file, so that its length is bounded by what is there.
fn read_table(file: &File, at: u64, length: u64, digest: &[u8; 32]) -> Result<Vec<Frame>, Error> {
    let length = usize::try_from(length).map_err(|_| Error::Damaged("its table is too long"))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    if blake3::hash(&bytes).as_bytes() != digest {
        return Err(Error::Damaged("its table is changed"));
    }
    let table = <[Frame]>::ref_from_bytes(&bytes).map_err(|_| Error::Damaged("its table is not whole"))?;
    Ok(table.to_vec())
}

fn check(table: &[Frame], end: u64) -> Result<(), Error> {
    let longest = zstd::zstd_safe::compress_bound(CHUNK as usize) as u32;
    let is_inside = |frame: &Frame| {
        let length = frame.length.get();
        let after = frame.offset.get().checked_add(u64::from(length));
        length <= longest && after.is_some_and(|after| after <= end)
    };
    if !table.iter().all(is_inside) {
        return Err(Error::Damaged("a chunk lies outside"));
    }
    if !table.is_sorted_by(|a, b| a.chunk.get() < b.chunk.get()) {
        return Err(Error::Damaged("its chunks are out of order"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(seed: u8, length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 7) as u8 ^ seed).collect()
    }

    fn sidecar() -> Vec<u8> {
        let mut writer = Writer::new(tempfile::tempfile().unwrap()).unwrap();
        writer.put(3, &chunk(3, CHUNK as usize)).unwrap();
        writer.put(9, &chunk(9, 1000)).unwrap();
        let file = writer.finish().unwrap();
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn open(bytes: &[u8]) -> Result<Sidecar, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Sidecar::open(file)
    }

    #[test]
    fn a_sidecar_gives_the_chunks_that_were_put_and_no_other() {
        let sidecar = open(&sidecar()).unwrap();
        let mut whole = vec![0; CHUNK as usize];
        let mut short = vec![0; 1000];
        assert!(sidecar.read(3, &mut whole).unwrap() && sidecar.read(9, &mut short).unwrap());
        assert_eq!((whole, short), (chunk(3, CHUNK as usize), chunk(9, 1000)));
        assert!(!sidecar.read(4, &mut [0; 10]).unwrap());
    }

    #[test]
    fn a_cut_or_changed_sidecar_is_damaged_and_never_a_panic() {
        let bytes = sidecar();
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length]).is_err(), "cut to {length}");
        }
        for at in bytes.len() - size_of::<Footer>() - 2 * size_of::<Frame>()..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            assert!(open(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_chunk_of_another_length_is_damaged() {
        let sidecar = open(&sidecar()).unwrap();
        assert!(sidecar.read(9, &mut [0; 999]).is_err());
        assert!(sidecar.read(9, &mut [0; 1001]).is_err());
    }
}
