//! Running mounts. Each has a daemon of its own, which lives exactly as long as the mount: it ends with an unmount from
//! anywhere, and ends the mount when it is asked to stop.

pub mod daemon;
pub mod doctor;
mod list;
mod options;
mod place;
mod record;
mod start;

use std::io;
use std::path::PathBuf;

pub use list::{Mount, State, Which, list, unmount};
pub use options::{InvalidOption, Options};
pub use record::{Record, Records};
pub use start::{Live, Request, start};

pub use crate::sys::mount::{Access, Unmount};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("mountpoint {path}: {source}")]
    Target { path: PathBuf, source: io::Error },
    #[error("mountpoint {0} is not a directory")]
    NotADirectory(PathBuf),
    #[error("mountpoint {path} would hide the store {store}")]
    HidesStore { path: PathBuf, store: PathBuf },
    #[error("{0} is not mounted")]
    NotMounted(PathBuf),
    #[error("{0} is detached and still in use; it ends with its last user")]
    StillUsed(PathBuf),
    #[error("{path} is a mount of type {file_system}, not of plyfs")]
    NotOurs { path: PathBuf, file_system: String },
    #[error(transparent)]
    System(#[from] crate::sys::mount::Error),
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::System(error) => error.hint(),
            Self::Target { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("make it first, or name none and let plyfs choose one")
            }
            Self::Target { source, .. } if source.raw_os_error() == Some(libc::ENOTCONN) => {
                Some("a mount whose daemon died is still there; `plyfs umount` takes it away")
            }
            _ => None,
        }
    }
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = what.into();
    move |source| Error::Io { doing, source }
}
