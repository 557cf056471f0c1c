//! Taking names away.

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::whiteout::Form;
use super::{Dir, Result, Upper};
use crate::layer::Kind;

/// Whether a lower object would show through if the upper had nothing at the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    Nothing,
    Something,
}

impl Upper {
    /// Takes away the name of what is no directory, be it in the upper or only below.
    pub fn unlink(&self, parent: &Dir, name: &[u8], below: Below) -> Result<()> {
        match below {
            Below::Nothing => rustix::fs::unlinkat(parent, name, AtFlags::empty())?,
            Below::Something => self.hide(parent, name)?,
        }
        self.changed(parent)
    }

    /// Takes away a directory that shows no entries; in the upper it may hold whiteouts.
    pub fn remove_directory(&self, parent: &Dir, name: &[u8], below: Below) -> Result<()> {
        match below {
            Below::Nothing => self.remove_pure(parent, name)?,
            Below::Something => self.hide(parent, name)?,
        }
        self.changed(parent)
    }

    /// Puts a whiteout in the place of whatever the upper has there.
    fn hide(&self, parent: &Dir, name: &[u8]) -> Result<()> {
        let there = parent.find(name)?;
        match (self.abilities.whiteouts, there.map(|stat| stat.kind)) {
            (_, None) => self.white_out(parent, name),
            (Form::Device, Some(Kind::Directory)) => self.stage_whiteout()?.exchange(parent, name),
            (Form::Device, Some(_)) => self.stage_whiteout()?.replace(parent, name).map(drop),
            (Form::Marker, Some(kind)) => {
                self.white_out(parent, name)?;
                match kind {
                    Kind::Directory => self.remove_pure(parent, name),
                    _ => Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?),
                }
            }
        }
    }

    fn remove_pure(&self, parent: &Dir, name: &[u8]) -> Result<()> {
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            // What it holds does not show.
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.take_away(parent, name),
            removed => Ok(removed?),
        }
    }
}
