//! A directory gets all that shows in it into the upper, so that it can be moved as one.

use super::copy_up::Wanted;
use super::held::Held;
use super::nodes::{NameBytes, Place};
use super::{Errno, Error, NodeId, Overlay, Result, fault};
use crate::layer::Kind;

/// What is left of the budget.
struct Left {
    entries: u64,
    bytes: u64,
}

/// A name below the directory.
struct Shown<'a> {
    parent: NodeId,
    name: NameBytes,
    _held: Held<'a>,
}

impl Overlay {
    /// EXDEV, before anything is copied, for more than the budget allows.
    pub(super) fn materialise(&self, directory: NodeId) -> Result<()> {
        let everything = self.measure(directory)?;
        self.copy_up(directory, Wanted::All)?;
        for shown in &everything {
            // By its name: of a file with several, each has to be there.
            match self.hold(shown.parent, &shown.name) {
                Ok(held) => self.copy_up(held.id, Wanted::Attributes)?,
                Err(Error::Answer(Errno::NOENT)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All that shows in a directory, parents first.
    fn measure(&self, directory: NodeId) -> Result<Vec<Shown<'_>>> {
        let budget = self.options.materialise;
        let mut left = Left { entries: budget.entries, bytes: budget.bytes };
        let (mut found, mut waiting): (Vec<Shown<'_>>, Vec<NodeId>) = (Vec::new(), vec![directory]);
        while let Some(directory) = waiting.pop() {
            let seen = self.merged(&self.nodes.read(), directory)?;
            for entry in seen {
                let held = self.hold(directory, &entry.name)?;
                self.take(&mut left, held.id)?;
                if entry.kind == Kind::Directory {
                    waiting.push(held.id);
                }
                found.push(Shown { parent: directory, name: entry.name, _held: held });
            }
        }
        Ok(found)
    }

    fn take(&self, left: &mut Left, id: NodeId) -> Result<()> {
        let below = match &self.nodes.read().get(id)?.place {
            Place::Lower(below) => below.clone(),
            _ => return Ok(()),
        };
        let stat = below.stat().map_err(fault("measuring a directory"))?;
        let stays = self.may_wait(&below, stat.size, Wanted::Attributes)?;
        let bytes = if stat.kind == Kind::File && !stays { stat.size } else { 0 };
        left.entries = left.entries.checked_sub(1).ok_or(Errno::XDEV)?;
        left.bytes = left.bytes.checked_sub(bytes).ok_or(Errno::XDEV)?;
        Ok(())
    }
}
