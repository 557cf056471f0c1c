//! An upper that is only looked at: nothing of it is locked, tried or mended. An [`Upper`](super::Upper) is one that is
//! held, and shows the same.

use std::path::Path;

use super::{Dir, Namespace, Result, lock};

/// What of a writable tree can be asked without having it.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) root: Dir,
    pub(super) namespace: Namespace,
}

impl View {
    pub fn open(upper: &Path, namespace: Namespace) -> Result<Self> {
        Ok(Self { root: lock::open(upper)?, namespace })
    }

    pub fn root(&self) -> Dir {
        self.root.clone()
    }

    pub fn namespace(&self) -> Namespace {
        self.namespace
    }
}
