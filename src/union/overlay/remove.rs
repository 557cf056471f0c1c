//! Taking names away: unlink and rmdir.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::copy_up::Wanted;
use super::lookup::check_live;
use super::nodes::{Nodes, Place};
use super::upper::{self, Dir};
use super::{Errno, Error, Name, NodeId, Overlay, Result, fault};
use crate::layer::Kind;

/// A name to be taken away.
struct Plan {
    parent: Dir,
    below: upper::Below,
    /// The object in the upper that loses its last known name, open.
    orphan: Option<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Removal {
    Unlink,
    Directory,
}

impl Overlay {
    pub fn unlink(&self, at: Name<'_>) -> Result<()> {
        self.remove(at, Removal::Unlink)
    }

    pub fn remove_directory(&self, at: Name<'_>) -> Result<()> {
        match at.name {
            b"." => Err(Errno::INVAL.into()),
            b".." => Err(Errno::NOTEMPTY.into()),
            _ => self.remove(at, Removal::Directory),
        }
    }

    fn remove(&self, at: Name<'_>, removal: Removal) -> Result<()> {
        self.upper()?;
        loop {
            let victim = self.hold(at.parent, at.name)?;
            self.check_removable(victim.id, removal)?;
            self.copy_up(at.parent, Wanted::All)?;
            let copying = self.nodes.read().get(victim.id)?.copying.clone();
            let _alone = copying.lock();
            let mut nodes = self.nodes.write();
            // Another may have been quicker, before the locks were held.
            if nodes.child(at.parent, at.name) == Some(victim.id) {
                let plan = self.plan_remove(&nodes, at, victim.id, removal)?;
                return self.apply_remove(&mut nodes, at, victim.id, plan, removal);
            }
        }
    }

    fn check_removable(&self, victim: NodeId, removal: Removal) -> Result<()> {
        match (removal, self.nodes.read().get(victim)?.kind == Kind::Directory) {
            (Removal::Unlink, true) => Err(Errno::ISDIR.into()),
            (Removal::Directory, false) => Err(Errno::NOTDIR.into()),
            _ => Ok(()),
        }
    }

    fn plan_remove(&self, nodes: &Nodes, at: Name<'_>, victim: NodeId, removal: Removal) -> Result<Plan> {
        check_live(nodes, at.parent)?;
        if removal == Removal::Directory {
            self.check_empty(nodes, victim)?;
        }
        Ok(Plan {
            parent: self.directory(nodes, at.parent)?,
            below: self.below(nodes, at)?,
            orphan: self.orphan(nodes, at, victim)?,
        })
    }

    pub(super) fn check_empty(&self, nodes: &Nodes, directory: NodeId) -> Result<()> {
        if self.merged(nodes, directory)?.is_empty() { Ok(()) } else { Err(Errno::NOTEMPTY.into()) }
    }

    fn apply_remove(
        &self,
        nodes: &mut Nodes,
        at: Name<'_>,
        victim: NodeId,
        plan: Plan,
        removal: Removal,
    ) -> Result<()> {
        match removal {
            Removal::Unlink => self.upper()?.unlink(&plan.parent, at.name, plan.below)?,
            Removal::Directory => self.upper()?.remove_directory(&plan.parent, at.name, plan.below)?,
        }
        self.leave(nodes, at, victim, plan.orphan);
        Ok(())
    }

    /// What shows through if the upper has nothing at a name.
    pub(super) fn below(&self, nodes: &Nodes, at: Name<'_>) -> Result<upper::Below> {
        let below = nodes.directory(at.parent)?.below();
        let shown =
            below.map(|below| below.lookup(at.name)).transpose().map_err(fault("looking up a name"))?;
        Ok(match shown.flatten() {
            Some(_) => upper::Below::Something,
            None => upper::Below::Nothing,
        })
    }

    /// What becomes of an object in the upper when it loses a name: nothing, if another one is known.
    pub(super) fn orphan(&self, nodes: &Nodes, at: Name<'_>, victim: NodeId) -> Result<Option<Place>> {
        let node = nodes.get(victim)?;
        let Place::Upper { inode, .. } = node.place else { return Ok(None) };
        let below = node.content().cloned();
        if node.names.len() > 1 {
            return Ok(None);
        }
        let file = match &node.writer {
            Some(file) => file.clone(),
            None => Arc::new(self.open_last(&self.directory(nodes, at.parent)?, at.name, node.kind)?),
        };
        Ok(Some(Place::Orphan { inode, file, below }))
    }

    /// Opens an object that is about to lose its name, as well as it can be.
    fn open_last(&self, parent: &Dir, name: &[u8], kind: Kind) -> Result<File> {
        let upper = self.upper()?;
        if kind == Kind::File {
            let opened = upper.open_file(parent, name, upper::Access::ReadWrite);
            if let Ok(file) = opened.or_else(|_| upper.open_file(parent, name, upper::Access::Read)) {
                return Ok(file);
            }
        }
        let mode = if kind == Kind::Directory { OFlags::RDONLY } else { OFlags::PATH };
        let open =
            |mode| rustix::fs::openat(parent, name, mode | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let opened: OwnedFd = open(mode).or_else(|_| open(OFlags::PATH)).map_err(Error::Answer)?;
        Ok(File::from(opened))
    }

    /// Makes the table say that a name is gone.
    pub(super) fn leave(&self, nodes: &mut Nodes, at: Name<'_>, victim: NodeId, orphan: Option<Place>) {
        nodes.unname(at.parent, at.name);
        nodes.changed(at.parent);
        if let Some(Place::Orphan { file, .. }) = &orphan {
            nodes.make_room(file);
        }
        if let (Some(place), Ok(node)) = (orphan, nodes.get_mut(victim)) {
            node.place = place;
        }
        self.close_directories(&[victim]);
    }
}
