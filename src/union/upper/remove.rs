//! Taking names away.

use super::{Dir, Result, Upper};

/// Whether a lower object would show through if the upper had nothing at the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    Nothing,
    Something,
}

impl Upper {
    /// Takes away the name of what is no directory, be it in the upper or only below.
    pub fn unlink(&self, _parent: &Dir, _name: &[u8], _below: Below) -> Result<()> {
        Err(rustix::io::Errno::NOSYS.into())
    }

    /// Takes away a directory that shows no entries; in the upper it may hold whiteouts.
    pub fn remove_directory(&self, _parent: &Dir, _name: &[u8], _below: Below) -> Result<()> {
        Err(rustix::io::Errno::NOSYS.into())
    }
}
