//! What plyfs makes from blobs, and can always make again. Each file is verified by who opens it, so none is synced:
//! one that a power cut damaged is dropped and made again.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::{Error, Result, Store};
use crate::oci::Digest;
use crate::sys::file::{self, Existing};

/// What is derived, and what its key is the digest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Derived {
    /// A layer's index, by its blob.
    Index,
    /// A layer's seekable copy, by its blob.
    Sidecar,
    /// An image's merged tree, by its chain of layers.
    Tree,
    /// What an archive does not say of its layers, by the archive's identity.
    Archive,
}

impl Derived {
    pub const ALL: [Self; 4] = [Self::Index, Self::Sidecar, Self::Tree, Self::Archive];

    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Index => "plyfs/indexes",
            Self::Sidecar => "plyfs/sidecars",
            Self::Tree => "plyfs/trees",
            Self::Archive => "plyfs/archives",
        }
    }
}

impl Store {
    fn derived_path(&self, kind: Derived, key: &Digest) -> PathBuf {
        self.path(kind.directory()).join(key.hex())
    }

    /// The file, if it is there.
    pub fn derived(&self, kind: Derived, key: &Digest) -> Result<Option<File>> {
        self.pin(key)?;
        let path = self.derived_path(kind, key);
        match file::open_regular(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::at("opening", &path)(error)),
        }
    }

    /// A file without a name on the store's file system, to be written and then published, or dropped.
    pub fn begin_derived(&self) -> Result<File> {
        let temporary = self.temporary();
        file::create_unnamed(&temporary).map_err(Error::at("creating a file in", &temporary))
    }

    /// Names the file, in the place of one that has the name.
    pub fn publish_derived(&self, kind: Derived, key: &Digest, mut file: File) -> Result<()> {
        self.pin(key)?;
        let path = self.derived_path(kind, key);
        file::publish(&mut file, &path, &self.temporary(), Existing::Replace)
            .map_err(Error::at("keeping", &path))
    }

    /// Keeps `bytes`, and gives the file that they are in.
    pub fn put_derived(&self, kind: Derived, key: &Digest, bytes: &[u8]) -> Result<File> {
        self.pin(key)?;
        let path = self.derived_path(kind, key);
        let mut file = self.begin_derived()?;
        file.write_all(bytes)
            .and_then(|()| file::publish(&mut file, &path, &self.temporary(), Existing::Replace))
            .map_err(Error::at("keeping", &path))?;
        Ok(file)
    }

    /// Removes the file, if it is there.
    pub fn drop_derived(&self, kind: Derived, key: &Digest) -> Result<()> {
        let path = self.derived_path(kind, key);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at("removing", &path)(error)),
            _ => Ok(()),
        }
    }
}
