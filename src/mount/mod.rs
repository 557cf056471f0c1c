//! Running mounts. Each has a daemon of its own, which lives exactly as long as the mount: it ends with an unmount from
//! anywhere, and ends the mount when it is asked to stop.

pub mod daemon;
pub mod doctor;
mod kernel;
mod list;
pub mod namespace;
pub mod open;
mod options;
mod overlay;
mod place;
mod record;
mod removal;
mod start;
mod uppers;
mod words;

use std::io;
use std::path::PathBuf;

pub use kernel::{Driver, OverCopy, over_copy};
pub use list::{Mount, State, Which, find, list, unmount};
pub use options::{InvalidOption, Options};
pub use overlay::{Overlay, UpperPaths};
pub use record::{Reading, Record, Records};
pub use removal::remove;
pub use start::{Live, Request, Tree, start};
pub use uppers::{Base, Kept, Root, Uppers};

pub use crate::sys::mount::{Access, Unmount};
use crate::union::upper;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("mountpoint {path}: {source}")]
    Target { path: PathBuf, source: io::Error },
    #[error("mountpoint {0} is not a directory")]
    NotADirectory(PathBuf),
    #[error("mountpoint {path} would hide the store {store}")]
    HidesStore { path: PathBuf, store: PathBuf },
    #[error("nothing says where to mount")]
    NoTarget,
    #[error("{0} is not mounted")]
    NotMounted(PathBuf),
    #[error("{0} is detached and still in use; it ends with its last user")]
    StillUsed(PathBuf),
    #[error("{path} is a mount of type {file_system}, not of plyfs")]
    NotOurs { path: PathBuf, file_system: String },
    #[error("mount option `passthrough`: only root of the first user namespace may use it")]
    NoPassthrough,
    #[error("no such upper: {0}")]
    NoUpper(String),
    #[error("`{0}` cannot name an upper: letters, digits, `.`, `_` and `-` can")]
    UpperName(String),
    #[error("upper {0} is mounted")]
    UpperInUse(String),
    #[error("upper {name} is over another image, {image}")]
    OtherImage { name: String, image: String },
    #[error("upper {path}: {source}")]
    Upper { path: PathBuf, source: upper::Error },
    #[error("the kernel's overlayfs cannot be used: {0}")]
    KernelCannot(&'static str),
    #[error("mounting the kernel's overlayfs on {target}: {source}")]
    Kernel { target: PathBuf, source: io::Error },
    #[error("without FUSE only the kernel's overlayfs could be used: {0}")]
    NoOverlay(&'static str),
    #[error("mounting the kernel's overlayfs over {copy}, for there is no FUSE: {source}")]
    OverCopy { copy: PathBuf, source: io::Error },
    #[error("upper {0} has files whose content is in the image, where the kernel would not find it")]
    Unsealed(PathBuf),
    #[error(transparent)]
    Lower(#[from] crate::lower::Error),
    #[error(transparent)]
    Union(#[from] crate::union::Error),
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
            Self::NoUpper(_) => Some("`plyfs uppers` lists what there is"),
            Self::Unsealed(_) => {
                Some("`plyfs upper seal NAME` fills them in; `--driver fuse` needs no filling")
            }
            Self::KernelCannot(_) | Self::Kernel { .. } => Some("`--driver fuse` works everywhere"),
            Self::NoOverlay(_) | Self::OverCopy { .. } => {
                Some("`plyfs cp IMAGE:/ DIR` copies an image out for whoever runs it another way")
            }
            Self::UpperInUse(_) => Some("`plyfs mount` says where; unmount it first"),
            Self::OtherImage { .. } => {
                Some("give this one a name with `--name`, or remove the other with `plyfs uppers rm`")
            }
            _ => None,
        }
    }
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = what.into();
    move |source| Error::Io { doing, source }
}
