//! chmod, chown, truncate and utimes.

use std::fs::File;
use std::sync::Arc;

use crate::layer::Kind;

use super::copy_up::Wanted;
use super::nodes::Kept;
use super::upper::{Access, At, Times};
use super::{Attributes, Change, Errno, Kill, Moment, NodeId, Overlay, Result};
use crate::sys::credentials;

/// A change in the ids of the upper.
struct Plan {
    size: Option<u64>,
    user: Option<u32>,
    group: Option<u32>,
    permissions: Option<u16>,
    accessed: Times,
    modified: Times,
    kill: Kill,
}

const GROUP_EXECUTE: u16 = 0o010;
const SET_USER: u16 = 0o4000;
const SET_GROUP: u16 = 0o2000;

impl Overlay {
    pub fn set_attributes(&self, node: NodeId, change: &Change) -> Result<Attributes> {
        let plan = self.plan_change(node, change)?;
        self.copy_up(node, Wanted::for_size(plan.size))?;
        self.apply_change(node, &plan)?;
        self.attributes(node)
    }

    fn plan_change(&self, node: NodeId, change: &Change) -> Result<Plan> {
        let kind = self.nodes.read().get(node)?.kind;
        if change.size.is_some() && kind != Kind::File {
            return Err(if kind == Kind::Directory { Errno::ISDIR } else { Errno::INVAL }.into());
        }
        if change.permissions.is_some() && kind == Kind::Symlink {
            return Err(Errno::OPNOTSUPP.into());
        }
        let ids = &self.options.ids;
        Ok(Plan {
            size: change.size,
            user: change.user.map(|user| ids.users.stored(user)).transpose()?.flatten(),
            group: change.group.map(|group| ids.groups.stored(group)).transpose()?.flatten(),
            permissions: change.permissions,
            accessed: times(change.accessed),
            modified: times(change.modified),
            kill: change.kill,
        })
    }

    fn apply_change(&self, node: NodeId, plan: &Plan) -> Result<()> {
        let upper = self.upper()?;
        if let Some(size) = plan.size {
            rustix::fs::ftruncate(&*self.writable(node)?, size)?;
        }
        if plan.size == Some(0) {
            self.emptied(node)?;
        }
        let nodes = self.nodes.read();
        let address = self.address(&nodes, node)?;
        // A change of nothing still moves the time of change.
        if plan.user.is_some() || plan.group.is_some() || plan.kill == Kill::Yes {
            upper.set_owner(address.at(), plan.user, plan.group)?;
        }
        if let Some(permissions) = plan.permissions {
            upper.set_mode(address.at(), permissions)?;
        }
        self.drop_privileges(address.at(), plan.kill)?;
        if (plan.accessed, plan.modified) != (Times::Keep, Times::Keep) {
            upper.set_times(address.at(), plan.accessed, plan.modified)?;
        }
        Ok(())
    }

    /// Takes set-id bits and file capabilities away, as a change by someone without the right to them does.
    fn drop_privileges(&self, at: At<'_>, kill: Kill) -> Result<()> {
        let upper = self.upper()?;
        // A directory's bits say whose its files are, and stay.
        if kill == Kill::No || upper.stat(at)?.kind == Kind::Directory {
            return Ok(());
        }
        self.drop_set_id(at, kill)?;
        // Asked for first: to remove one takes a right even where there is none.
        match upper.xattr(at, b"security.capability").map_err(|error| error.errno()) {
            Ok(_) => Ok(upper.remove_xattr(at, b"security.capability")?),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes set-id bits away before a write; that takes file capabilities away by itself, whoever writes.
    pub(super) fn drop_set_id(&self, at: At<'_>, kill: Kill) -> Result<()> {
        if kill == Kill::No {
            return Ok(());
        }
        let upper = self.upper()?;
        let stat = upper.stat(at)?;
        let mut kept = stat.permissions & !SET_USER;
        // Without the right to execute it, the bit means mandatory locking.
        if kept & GROUP_EXECUTE != 0 {
            kept &= !SET_GROUP;
        }
        match kill {
            // Asked for last: few files have anything to lose.
            Kill::For(thread) if kept != stat.permissions && credentials::may_keep_set_id(thread) => Ok(()),
            _ if kept != stat.permissions => Ok(upper.set_mode(at, kept)?),
            _ => Ok(()),
        }
    }

    /// The file of a node in the upper, open for writing; for this once, if it is not open anyway.
    pub(super) fn writable(&self, id: NodeId) -> Result<Arc<File>> {
        let mut nodes = self.nodes.write();
        let node = nodes.get(id)?;
        if let Some(file) = &node.writer {
            return Ok(file.clone());
        }
        if let super::Place::Orphan { file, .. } = &node.place {
            return Ok(file.clone());
        }
        let (parent, name) = node.names.first().cloned().ok_or(Errno::STALE)?;
        let parent = self.directory(&nodes, parent)?;
        let file = Arc::new(self.upper()?.open_file(&parent, &name, Access::ReadWrite)?);
        if nodes.get(id)?.opens > 0 {
            nodes.keep(id, Kept::Writer, file.clone())?;
        }
        Ok(file)
    }
}

fn times(moment: Option<Moment>) -> Times {
    match moment {
        None => Times::Keep,
        Some(Moment::Now) => Times::Now,
        Some(Moment::At(time)) => Times::Set(time),
    }
}
