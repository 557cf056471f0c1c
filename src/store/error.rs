//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::oci::Digest;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no blob {0} in the store")]
    NoBlob(Digest),
    #[error("{} is not a plyfs store: {why}", root.display())]
    NotAStore { root: PathBuf, why: String },
    #[error("blob {expected} in the store is corrupt: its digest is {found}")]
    Corrupt { expected: Digest, found: Digest },
    #[error("blob {digest} is over the limit of {limit} bytes for a document")]
    TooLarge { digest: Digest, limit: u64 },
    #[error("blob {digest} has {written} bytes, and {expected} were promised")]
    WrongSize { digest: Digest, written: u64, expected: u64 },
    #[error("{} cannot be read: {source}", path.display())]
    Index { path: PathBuf, source: serde_json::Error },
    #[error("{} has {size} bytes, more than an index.json can have", path.display())]
    IndexTooLarge { path: PathBuf, size: u64 },
    #[error("the store is in use: another process is loading an image or clearing up")]
    InUse,
    #[error("disk full: {doing}")]
    Full { doing: String },
    #[error("the store is read-only: {doing}")]
    ReadOnly { doing: String },
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
}

impl Error {
    /// An error of the system, and what was being done: `writing`, and the path.
    pub(super) fn at(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let doing = format!("{doing} {}", path.display());
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { doing },
            _ => Self::Io { doing, source },
        }
    }
}
