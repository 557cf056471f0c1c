//! Blobs by digest. A blob is absent, or whole, verified and durable: bytes come in through [`Ingest`], which has no
//! name until it is published.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::partial::Partial;
use super::{ASIDE, BLOBS, Error, Result, Store};
use crate::oci::Digest;
use crate::sys::file::{self, Existing};

impl Store {
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path(BLOBS).join(digest.hex())
    }

    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        Ok(self.blob_size(digest)?.is_some())
    }

    /// How many bytes the blob has; `None` if it is absent.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        self.pin(digest)?;
        let path = self.blob_path(digest);
        match path.symlink_metadata() {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::at("looking for", &path)(error)),
        }
    }

    pub fn blob(&self, digest: &Digest) -> Result<File> {
        self.pin(digest)?;
        let path = self.blob_path(digest);
        file::open_regular(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NoBlob(*digest),
            _ => Error::at("opening", &path)(error),
        })
    }

    /// A small blob whole, verified as it is read.
    pub fn document(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let path = self.blob_path(digest);
        self.blob(digest)?.take(limit + 1).read_to_end(&mut bytes).map_err(Error::at("reading", &path))?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { digest: *digest, limit });
        }
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(Error::Corrupt { expected: *digest, found }),
        }
    }

    /// Begins a blob.
    pub fn ingest(&self) -> Result<Ingest> {
        let temporary = self.temporary();
        let file = file::create_unnamed(&temporary).map_err(Error::at("creating a file in", &temporary))?;
        Ok(Ingest::new(self, file, None))
    }

    /// Keeps a small blob.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        if self.blob_size(&digest)? == Some(size) {
            return Ok(digest);
        }
        let mut ingest = self.ingest()?;
        ingest.append(bytes)?;
        ingest.publish(&digest, size)?;
        Ok(digest)
    }

    /// Takes a corrupt blob out of the way, so that it is fetched again.
    pub fn set_aside(&self, digest: &Digest) -> Result<()> {
        let path = self.blob_path(digest);
        match std::fs::rename(&path, self.path(ASIDE).join(digest.hex())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::at("setting aside", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// A blob that was set aside, if it is there.
    pub fn aside_blob(&self, digest: &Digest) -> Result<Option<File>> {
        let path = self.path(ASIDE).join(digest.hex());
        match file::open_regular(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::at("opening", &path)(error)),
        }
    }

    /// Takes back a blob that was set aside, in the place of one that may be there. The caller has verified it.
    pub fn restore(&self, digest: &Digest) -> Result<()> {
        self.pin(digest)?;
        let aside = self.path(ASIDE).join(digest.hex());
        std::fs::rename(&aside, self.blob_path(digest)).map_err(Error::at("taking back", &aside))?;
        let blobs = self.path(BLOBS);
        file::sync_directory(&blobs).map_err(Error::at("keeping", &blobs))
    }
}

/// A blob on its way in. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Ingest {
    pub(super) store: Store,
    /// Its name, if it is to be found again after a kill. Goes first: the file's lock is held until the name is gone.
    pub(super) partial: Option<Partial>,
    pub(super) file: File,
    pub(super) written: u64,
}

impl Ingest {
    pub(super) fn new(store: &Store, file: File, partial: Option<Partial>) -> Self {
        Self { store: store.clone(), file, written: 0, partial }
    }

    /// Writes `bytes` after what was written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let error = Error::at("writing a blob to", self.store.root());
        self.write_all(bytes).map_err(error)
    }

    /// Names what was written. The caller has verified that its digest is `digest`.
    pub fn publish(mut self, digest: &Digest, size: u64) -> Result<()> {
        if self.written != size {
            return Err(Error::WrongSize { digest: *digest, written: self.written, expected: size });
        }
        let path = self.store.blob_path(digest);
        // One of another size under the digest is a damaged one, and ours is verified.
        let existing = match self.store.blob_size(digest)? {
            Some(present) if present != size => Existing::Replace,
            _ => Existing::Keep,
        };
        let doing = || Error::at("keeping", &path);
        self.file.sync_all().map_err(doing())?;
        match self.partial.take() {
            Some(partial) => partial.publish(&path, existing),
            None => file::publish(&mut self.file, &path, &self.store.temporary(), existing),
        }
        .map_err(doing())?;
        file::sync_directory(&self.store.path(BLOBS)).map_err(doing())
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
