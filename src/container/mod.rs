//! Containers made of mounts. An image and what the user wants of it become a bundle for an OCI runtime; a container
//! that plyfs runs has processes that live as long as it does, and leave nothing behind however they end.

mod bundle;
mod capabilities;
pub mod doctor;
mod identity;
mod init;
mod log;
mod monitor;
mod mounts;
pub mod process;
mod record;
mod relay;
mod running;
mod runtime;
mod seccomp;
pub mod signals;
mod spec;
mod wanted;

use std::io;
use std::path::PathBuf;

pub use bundle::{Placement, hostname, write as write_bundle};
pub use log::{Line, LogReader, Stream};
pub use monitor::run;
pub use record::{Container, Containers, Found, Held, State};
pub use running::{Execution, execute, signal};
pub use runtime::Runtime;
pub use wanted::{Bind, Network, Tmpfs, Wanted};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no command is given, and the image has none")]
    NoCommand,
    #[error("user {wanted}: {why}")]
    User { wanted: String, why: String },
    #[error("{what} `{value}`: {why}")]
    Invalid { what: &'static str, value: String, why: String },
    #[error("{path} of the image: {source}")]
    InImage { path: String, source: io::Error },
    #[error("no OCI runtime was found in PATH: neither crun, runc nor youki")]
    NoRuntime,
    #[error("OCI runtime {0} was not found")]
    NoSuchRuntime(String),
    #[error("{program}: {message}")]
    Runtime { program: &'static str, message: String, status: u8 },
    #[error("no such container: {0}")]
    NoSuch(String),
    #[error("several containers have ids that start with {0}")]
    Ambiguous(String),
    #[error("the name {name} is in use by {by}")]
    NameTaken { name: String, by: String },
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("container {0} is running")]
    StillRunning(String),
    /// What there was to say has been said.
    #[error("the file system of the container did not start")]
    NoFileSystem,
    #[error("the file system of the container ended before it")]
    FileSystemLost,
    #[error("a process of plyfs that watched over the container was killed")]
    Lost,
    /// By a process that could not return it.
    #[error("{message}")]
    Reported { message: String, status: u8 },
    #[error(transparent)]
    Mount(#[from] crate::mount::Error),
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
}

/// What docker says when the container itself could not be run.
const FAILED: u8 = 125;

impl Error {
    /// The exit status of a command that runs something: docker's.
    pub fn status(&self) -> u8 {
        match self {
            Self::Runtime { status, .. } | Self::Reported { status, .. } => *status,
            _ => FAILED,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRuntime => Some("install crun or runc, or name one with `--runtime`"),
            Self::NoSuch(_) => Some("`plyfs ps -a` lists what there is"),
            Self::NameTaken { .. } => Some("choose another with `--name`, or remove it with `plyfs rm`"),
            Self::StillRunning(_) => Some("stop it first, or use `--force`"),
            Self::Mount(error) => error.hint(),
            _ => None,
        }
    }
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = what.into();
    move |source| Error::Io { doing, source }
}

/// Where a bundle has its parts.
const CONFIG: &str = "config.json";
const ROOTFS: &str = "rootfs";

/// An absolute path in a container, made plain: no `.`, no `..`, no double slash.
fn plain_path(path: &str) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in std::path::Path::new(path).components() {
        match part {
            std::path::Component::Normal(name) => plain.push(name),
            std::path::Component::ParentDir => {
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}
