//! Where a layer's bytes, as they are stored, can be read: a range of an open file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A range of a file: a blob of the store, of a layout, or a member of an archive. The open file keeps it readable
/// when its path is gone.
#[derive(Clone, Debug)]
pub struct Blob {
    file: Arc<File>,
    offset: u64,
    size: u64,
}

impl Blob {
    pub fn new(file: Arc<File>, offset: u64, size: u64) -> Self {
        Self { file, offset, size }
    }

    /// The file, and where in it the range starts.
    pub fn place(&self) -> (&File, u64) {
        (&self.file, self.offset)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// A range of this one, cut where this one ends.
    pub fn part(&self, offset: u64, size: u64) -> Self {
        let offset = offset.min(self.size);
        Self { file: self.file.clone(), offset: self.offset + offset, size: size.min(self.size - offset) }
    }

    /// Reads at `offset` of the blob; short only at its end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < wanted {
            match self.file.read_at(&mut buffer[done..wanted], self.offset + offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Reads from the start to the end.
    pub fn reader(&self) -> BlobReader {
        BlobReader { blob: self.clone(), position: 0 }
    }
}

/// A [`Blob`] read in order.
#[derive(Debug)]
pub struct BlobReader {
    blob: Blob,
    position: u64,
}

impl io::Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blob.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
