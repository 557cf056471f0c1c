//! Files that are in the upper without all of their content: it is read from the lower file, and filled in when it is to
//! change. A large file that is written to gets only the blocks that are written.

use std::os::fd::AsFd;

use super::super::partial::{self, Partial};
use super::copy_up::Wanted;
use super::nodes::{Nodes, Place};
use super::upper::{Located, Object, Origin, Reader, Shown};
use super::{Errno, Error, NodeId, Overlay, Result, fault, upper};
use crate::layer::Kind;
use crate::lower::Below;

/// What [`Overlay::seal`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    pub files: u64,
    pub bytes: u64,
}

impl Overlay {
    /// Where the content of an object of the upper is that is called `name` in `parent`.
    pub(super) fn content(
        &self,
        nodes: &Nodes,
        parent: NodeId,
        name: &[u8],
        object: &Object,
        lower: Option<Below>,
    ) -> Result<Option<Below>> {
        let Some(unfilled) = &object.unfilled else { return Ok(None) };
        // A user's attribute can be of anyone's making, unless the upper is known to have them.
        if !self.follows() {
            return Err(Errno::PERM.into());
        }
        let beside = |other: &[u8]| match nodes.directory(parent)?.below() {
            _ if other == name => Ok(lower),
            Some(below) => below.lookup(other).map_err(told()),
            None => Ok(None),
        };
        partial::content(&self.lower, unfilled, beside)?.map(Some).ok_or(Error::Answer(Errno::PERM))
    }

    fn follows(&self) -> bool {
        let trusted = || self.upper().is_ok_and(|upper| upper.namespace() == upper::Namespace::Trusted);
        self.options.metacopy || trusted()
    }

    /// Whether a lower file can be copied up without its content, for what is wanted of it.
    pub(super) fn may_wait(&self, below: &Below, size: u64, wanted: Wanted) -> Result<bool> {
        let is_enough = match wanted {
            Wanted::Attributes => true,
            Wanted::Blocks => size >= self.options.blocks_from && self.upper()?.tells_holes(),
            Wanted::All | Wanted::Nothing => false,
        };
        Ok(is_enough && self.options.metacopy && self.upper()?.can_wait(below.path()))
    }

    /// Has as much of the content of a file of the upper as is wanted.
    pub(super) fn have_content(&self, id: NodeId, wanted: Wanted) -> Result<()> {
        let Some(below) = self.nodes.read().get(id)?.content().cloned() else { return Ok(()) };
        match wanted {
            Wanted::Attributes | Wanted::Nothing => Ok(()),
            Wanted::Blocks if self.may_wait(&below, below.stat().map_err(told())?.size, wanted)? => {
                self.fill_by_blocks(id, &below)
            }
            Wanted::Blocks | Wanted::All => self.fill(id),
        }
    }

    fn fill_by_blocks(&self, id: NodeId, below: &Below) -> Result<()> {
        if self.nodes.read().get(id)?.by_blocks {
            return Ok(());
        }
        let file = self.writable(id)?;
        with_origin(below, |origin| Ok(self.upper()?.fill_by_blocks(file.as_fd(), origin, below.path())?))?;
        self.nodes.write().get_mut(id)?.by_blocks = true;
        Ok(())
    }

    fn fill(&self, id: NodeId) -> Result<()> {
        let copying = self.nodes.read().get(id)?.copying.clone();
        let _alone = copying.lock();
        let Some(partial) = self.partial(id)? else { return Ok(()) };
        with_lacking(&partial, |lacking| {
            with_origin(&partial.below, |origin| {
                Ok(self.upper()?.fill(partial.file.as_fd(), lacking, origin)?)
            })
        })?;
        self.is_filled(id)
    }

    /// A file of the upper that lacks content, open for writing.
    fn partial(&self, id: NodeId) -> Result<Option<Partial>> {
        let Some(below) = self.nodes.read().get(id)?.content().cloned() else { return Ok(None) };
        Ok(Some(Partial { file: self.writable(id)?, below }))
    }

    fn is_filled(&self, id: NodeId) -> Result<()> {
        let mut nodes = self.nodes.write();
        if let Place::Upper { below, .. } | Place::Orphan { below, .. } = &mut nodes.get_mut(id)?.place {
            *below = None;
        }
        Ok(())
    }

    /// It was truncated to nothing, and lacks nothing any more.
    pub(super) fn emptied(&self, id: NodeId) -> Result<()> {
        let copying = self.nodes.read().get(id)?.copying.clone();
        let _alone = copying.lock();
        let Some(partial) = self.partial(id)? else { return Ok(()) };
        with_origin(&partial.below, |origin| Ok(self.upper()?.filled(partial.file.as_fd(), origin)?))?;
        self.is_filled(id)
    }

    /// Writes to a file that lacks content; `false` for one that does not.
    pub(super) fn write_partial(&self, id: NodeId, offset: u64, data: &[u8]) -> Result<bool> {
        if self.nodes.read().get(id)?.content().is_none() {
            return Ok(false);
        }
        let copying = self.nodes.read().get(id)?.copying.clone();
        let _alone = copying.lock();
        let Some(partial) = self.partial(id)? else { return Ok(false) };
        partial.write(data, offset)?;
        Ok(true)
    }

    /// Gives every file of the upper all of its content, so that the kernel can mount it. Cut short, it can be done
    /// again. Nothing else may use the union meanwhile.
    pub fn seal(&self) -> Result<Sealed> {
        let upper = self.upper()?;
        if upper.is_sealed()? {
            return Ok(Sealed::default());
        }
        let mut sealed = Sealed::default();
        self.each_unfilled(&mut |partial| {
            sealed.files += 1;
            with_lacking(partial, |lacking| {
                sealed.bytes += lacking.extents.into_iter().flatten().map(|run| run.1).sum::<u64>();
                Ok(upper.pour(partial.file.as_fd(), lacking)?)
            })
        })?;
        // What is said to be there has to outlive a power cut.
        upper.sync_all()?;
        self.each_unfilled(&mut |partial| {
            with_origin(&partial.below, |origin| Ok(upper.filled(partial.file.as_fd(), origin)?))
        })?;
        upper.seal()?;
        Ok(sealed)
    }

    fn each_unfilled(&self, act: &mut dyn FnMut(&Partial) -> Result<()>) -> Result<()> {
        let mut waiting = vec![self.hold(NodeId::ROOT, b".")?];
        while let Some(directory) = waiting.pop() {
            let listed = self.upper()?.list(&self.directory(&self.nodes.read(), directory.id)?)?;
            for entry in listed.into_iter().filter(|entry| matches!(entry.shown, Shown::Object { .. })) {
                let held = self.hold(directory.id, &entry.name)?;
                if self.nodes.read().get(held.id)?.kind == Kind::Directory {
                    waiting.push(held);
                } else if let Some(partial) = self.partial(held.id)? {
                    act(&partial)?;
                }
            }
        }
        Ok(())
    }
}

fn told() -> impl FnOnce(crate::lower::Error) -> Error {
    fault("looking for a file's content")
}

fn with_origin<R>(below: &Below, act: impl FnOnce(&Origin<'_>) -> Result<R>) -> Result<R> {
    let located = below.located().map_err(told())?;
    let number = below.stat().map_err(told())?.number;
    let object = located.as_ref().map(|at| Located { object: at.object.as_fd(), uuid: at.uuid });
    act(&Origin { file_system: number.file_system, inode: number.inode, object })
}

fn with_lacking<R>(partial: &Partial, act: impl FnOnce(&Reader<'_>) -> Result<R>) -> Result<R> {
    let read = |offset: u64, length: u32, take: &mut dyn FnMut(&[u8])| {
        partial.below.read(offset, length, take).map_err(Into::into)
    };
    let size = partial.below.stat().map_err(told())?.size;
    act(&Reader { size, extents: Some(&partial.lacking()?), read: &read })
}
