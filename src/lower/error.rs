//! Why layers do not make a tree.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::layer::{self, index, scan, tree};
use crate::store;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("layer {layer}: a hard link to {target:?}, which no lower layer has as a file")]
    LinkTarget { layer: u16, target: String },
    #[error("layer {layer}, upon those below it: {source}")]
    Scan { layer: u16, source: scan::Error },
    #[error("reading layer {layer} once more: {source}")]
    Tar { layer: u16, source: io::Error },
    #[error("{layers} layers are more than a tree can have")]
    TooManyLayers { layers: usize },
    #[error("the merged tree is {0}")]
    TooLarge(#[from] tree::TooLarge),
    #[error("reading {path:?}: {source}")]
    Read { path: PathBuf, source: Errno },
    #[error(transparent)]
    Index(#[from] index::Error),
    #[error(transparent)]
    Contents(#[from] layer::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    pub(super) fn reading(path: &Path, source: Errno) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    /// Whether something was damaged that is made anew the next time.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Index(index::Error::Damaged { .. }))
    }

    pub(super) fn upon(layer: u16, error: scan::UponError) -> Self {
        match error {
            scan::UponError::Scan(source) => Self::Scan { layer, source },
            scan::UponError::Read(source) => match source.downcast::<layer::Error>() {
                Ok(error) => Self::Contents(error),
                Err(source) => Self::Tar { layer, source },
            },
        }
    }

    pub(super) fn link_target(layer: u16, target: &[u8]) -> Self {
        Self::LinkTarget { layer, target: target.escape_ascii().to_string() }
    }
}

impl From<tree::AdoptError> for Error {
    fn from(error: tree::AdoptError) -> Self {
        match error {
            tree::AdoptError::TooLarge(error) => Self::TooLarge(error),
            tree::AdoptError::Index(error) => Self::Index(error),
        }
    }
}
