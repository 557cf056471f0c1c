//! What every command starts from: where the store is.

use std::path::{Path, PathBuf};

use crate::cli::error::Usage;
use crate::mount::Records;
use crate::store::Store;

/// Where plyfs keeps what is kept. Nothing is made there before a command needs it.
pub struct Context {
    root: PathBuf,
    verbose: u8,
}

impl Context {
    /// `chosen` is `--root`, `verbose` how often `-v` was given. An empty name is none.
    pub fn new(chosen: Option<PathBuf>, verbose: u8) -> anyhow::Result<Self> {
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        let environment = || std::env::var_os("PLYFS_ROOT").map(PathBuf::from).filter(named);
        let root = chosen.filter(named).or_else(environment).or_else(default_root).ok_or_else(|| {
            Usage(
                "nothing says where the store is: neither --root, PLYFS_ROOT, XDG_DATA_HOME nor HOME"
                    .to_owned(),
            )
        })?;
        // Absolute: a mount's daemon stands in `/`.
        Ok(Self { root: std::path::absolute(root)?, verbose })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Opens the store, and makes it where nothing is yet.
    pub fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&self.root)?)
    }

    pub fn records(&self) -> Records {
        Records::of_store(&self.root)
    }
}

fn default_root() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/plyfs"));
    }
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = directory("XDG_DATA_HOME").or_else(|| Some(directory("HOME")?.join(".local/share")));
    data.map(|data| data.join("plyfs"))
}
