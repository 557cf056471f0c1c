//! What is on disk: blobs by digest, what is derived from them, and the names of images.
//!
//! The root is an OCI image layout, which other tools can read and write as it stands; plyfs's own things are in
//! `plyfs/`. Nothing half-made is ever seen in it: not by another process, not after a kill at any step, not on a full
//! disk.

mod blobs;
mod derived;
mod error;
pub mod files;
mod inventory;
mod lease;
mod partial;
mod sweep;
mod tags;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use blobs::Ingest;
pub use derived::Derived;
pub use error::Error;
pub use inventory::Kept;
pub use lease::{Exclusive, Lease};
pub use sweep::{Needs, Reach, Sweep};
pub use tags::Tag;

use crate::sys::file;

pub type Result<T, E = Error> = std::result::Result<T, E>;

const LAYOUT: &str = "oci-layout";
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
const BLOBS: &str = "blobs/sha256";
/// Made first, and so the sign that a root without `oci-layout` is one of ours, half made.
const OWN: &str = "plyfs";
const TEMPORARY: &str = "plyfs/tmp";
const PARTIAL: &str = "plyfs/partial";
const ASIDE: &str = "plyfs/aside";
const LOCK: &str = "plyfs/lock";
const LEASE: &str = "plyfs/lease";
const LEASES: &str = "plyfs/leases";
const DIRECTORIES: &[&str] = &[
    OWN,
    TEMPORARY,
    PARTIAL,
    ASIDE,
    "plyfs/indexes",
    "plyfs/sidecars",
    "plyfs/trees",
    "plyfs/archives",
    "plyfs/files",
    "plyfs/mounts",
    LEASES,
    BLOBS,
];

/// A handle on a store; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<Path>,
    leased: lease::Leased,
}

/// What a directory is, before it is a store.
enum Found {
    Layout,
    Fresh,
}

impl Store {
    /// Opens the store at `root`, making it where there is nothing. On a read-only file system it can be read.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).map_err(Error::at("finding", root))?;
        let store = Self { root: root.into(), leased: Arc::default() };
        match store.survey()? {
            Found::Fresh => store.lay_out()?,
            Found::Layout => store.complete()?,
        }
        Ok(store)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where the cache of whole files is: [`files::FileCache`].
    pub fn files_directory(&self) -> PathBuf {
        self.path("plyfs/files")
    }

    fn temporary(&self) -> PathBuf {
        self.path(TEMPORARY)
    }

    fn survey(&self) -> Result<Found> {
        let layout = self.path(LAYOUT);
        match std::fs::read(&layout) {
            Ok(text) => self.check_layout(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.check_fresh(),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(self.refused("it is a file")),
            Err(error) => Err(Error::at("reading", &layout)(error)),
        }
    }

    fn check_layout(&self, text: &[u8]) -> Result<Found> {
        let layout: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
        match layout.get("imageLayoutVersion").and_then(|version| version.as_str()) {
            Some(version) if version.starts_with("1.") => Ok(Found::Layout),
            Some(version) => Err(self.refused(&format!("its layout has version {version:?}"))),
            None => Err(self.refused("its oci-layout has no imageLayoutVersion")),
        }
    }

    /// Nothing there, nothing in it, or no more than what a process that was killed in [`Self::lay_out`] left.
    fn check_fresh(&self) -> Result<Found> {
        let names = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<Vec<_>>>()
                .map_err(Error::at("listing", &self.root))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::at("listing", &self.root)(error)),
        };
        let among = |name: &OsString, these: &[&str]| these.iter().any(|this| name == this);
        // A file system of its own comes with `lost+found`.
        let empty = names.iter().all(|name| among(name, &["lost+found"]));
        let begun = names.iter().any(|name| name == OWN)
            && names.iter().all(|name| among(name, &[OWN, "blobs", INDEX, "lost+found"]));
        if empty || begun {
            return Ok(Found::Fresh);
        }
        Err(self.refused("it has other files in it"))
    }

    fn refused(&self, why: &str) -> Error {
        Error::NotAStore { root: self.root.to_path_buf(), why: why.to_owned() }
    }

    fn lay_out(&self) -> Result<()> {
        self.make_directories()?;
        let _lock = self.lock()?;
        self.write_if_absent(INDEX, tags::EMPTY_INDEX)?;
        // Last: from here on the directory is a layout.
        self.write_if_absent(LAYOUT, LAYOUT_TEXT)
    }

    /// Adds what a layout by another tool, or by an older plyfs, lacks.
    fn complete(&self) -> Result<()> {
        match self.make_directories() {
            Err(Error::ReadOnly { doing }) => log::debug!("{doing}: the store is read-only"),
            Err(Error::Io { source, doing }) if source.kind() == io::ErrorKind::PermissionDenied => {
                log::debug!("{doing}: {source}; the store can be read only");
            }
            made => return made,
        }
        Ok(())
    }

    fn make_directories(&self) -> Result<()> {
        for directory in DIRECTORIES {
            let path = self.path(directory);
            if !path.is_dir() {
                file::create_private(&path).map_err(Error::at("making", &path))?;
            }
        }
        Ok(())
    }

    fn write_if_absent(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        if path.exists() {
            return Ok(());
        }
        file::write_whole(&path, bytes, &self.temporary()).map_err(Error::at("writing", &path))
    }
}

#[cfg(test)]
mod tests;
