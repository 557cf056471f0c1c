//! What there is in the store, by name and size.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use super::{ASIDE, BLOBS, Derived, Error, Result, Store, files};
use crate::oci::Digest;

/// A file of the store that is called by what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept<Name = Digest> {
    pub name: Name,
    pub size: u64,
}

impl Store {
    pub fn blobs(&self) -> Result<Vec<Kept>> {
        self.kept(BLOBS)
    }

    /// What was derived, by its key.
    pub fn all_derived(&self, kind: Derived) -> Result<Vec<Kept>> {
        self.kept(kind.directory())
    }

    /// The blobs that turned out to be damaged.
    pub fn aside(&self) -> Result<Vec<Kept>> {
        self.kept(ASIDE)
    }

    /// The cache of whole files, each by the BLAKE3 of its bytes.
    pub fn cached(&self) -> Result<Vec<Kept<files::Key>>> {
        let named = |(path, metadata): (PathBuf, Metadata)| {
            Some(Kept { name: files::key(path.file_name()?.to_str()?)?, size: metadata.len() })
        };
        Ok(regular_files(&self.files_directory())?.into_iter().filter_map(named).collect())
    }

    fn kept(&self, directory: &str) -> Result<Vec<Kept>> {
        let found = self.named_by_digest(directory)?;
        Ok(found.into_iter().map(|(name, _, metadata)| Kept { name, size: metadata.len() }).collect())
    }

    /// The files of a directory that a digest names; anything else there is not ours to judge.
    pub(super) fn named_by_digest(&self, directory: &str) -> Result<Vec<(Digest, PathBuf, Metadata)>> {
        let named = |(path, metadata): (PathBuf, Metadata)| {
            let digest = format!("sha256:{}", path.file_name()?.to_str()?).parse().ok()?;
            Some((digest, path, metadata))
        };
        let mut found: Vec<_> = regular_files(&self.path(directory))?.into_iter().filter_map(named).collect();
        found.sort_by_key(|(digest, ..)| *digest);
        Ok(found)
    }
}

/// A directory that is not there holds none: a layout that another tool wrote may be read-only.
pub(super) fn regular_files(directory: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(Error::at("listing", directory)(error)),
    };
    for entry in entries {
        let path = entry.map_err(Error::at("listing", directory))?.path();
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => found.push((path, metadata)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::at("looking at", &path)(error)),
        }
    }
    Ok(found)
}
