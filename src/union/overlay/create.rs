//! New objects: files, directories, symlinks, devices, pipes and sockets.

use std::sync::Arc;

use super::super::NAME_MAX;
use super::acl;
use super::copy_up::Wanted;
use super::lookup::{Sides, check_live};
use super::nodes::{Kept, Nodes};
use super::upper::{At, Dir, Entry, New, Object, Over, What};
use super::{Attributes, Caller, Errno, Handle, Make, Name, NodeId, Overlay, Result};
use crate::lower::Pairs;

/// What is to be made, decided.
struct Plan<'a> {
    parent: Dir,
    what: Make<'a>,
    permissions: u16,
    user: u32,
    group: u32,
    xattrs: Pairs,
    over: Over,
}

const SET_GROUP: u16 = 0o2000;

impl Overlay {
    /// mknod, mkdir, symlink. `permissions` are without the umask taken off. Counts one lookup.
    pub fn make(&self, caller: Caller, at: Name<'_>, what: Make<'_>, permissions: u16) -> Result<Attributes> {
        let (attributes, _) = self.make_open(caller, at, what, permissions, 0)?;
        Ok(attributes)
    }

    /// Makes a regular file and opens it. Counts one lookup.
    pub fn create(&self, caller: Caller, at: Name<'_>, permissions: u16) -> Result<(Attributes, Handle)> {
        self.make_open(caller, at, Make::File, permissions, 1)
    }

    fn make_open(
        &self,
        caller: Caller,
        at: Name<'_>,
        what: Make<'_>,
        permissions: u16,
        opens: u64,
    ) -> Result<(Attributes, Handle)> {
        check_new_name(at.name)?;
        self.copy_up(at.parent, Wanted::All)?;
        let mut nodes = self.nodes.write();
        let plan = self.plan_make(&nodes, caller, at, what, permissions)?;
        let (object, file) = self.upper()?.create(&plan.parent, at.name, &plan.object())?;
        let id = self.enter(&mut nodes, at, &object)?;
        let node = nodes.get_mut(id)?;
        node.lookups += 1;
        node.opens += opens;
        if let Some(file) = file.filter(|_| opens > 0) {
            nodes.keep(id, Kept::Writer, Arc::new(file))?;
        }
        Ok((self.shown(id, object.stat), Handle::new(id.number())))
    }

    fn plan_make<'a>(
        &self,
        nodes: &Nodes,
        caller: Caller,
        at: Name<'_>,
        what: Make<'a>,
        permissions: u16,
    ) -> Result<Plan<'a>> {
        let over = self.check_free(nodes, at)?;
        if what == Make::CharDevice(0, 0) {
            // It would be a whiteout.
            return Err(Errno::PERM.into());
        }
        let parent = self.directory(nodes, at.parent)?;
        let upper = self.upper()?;
        let stat = upper.stat(At::Name(&parent, b"."))?;
        let (user, group) = self.owner(caller)?;
        let inherits = stat.permissions & SET_GROUP != 0;
        let permissions = match what {
            Make::Directory if inherits => permissions | SET_GROUP,
            _ => permissions,
        };
        let group = if inherits { stat.group } else { group };
        let (permissions, xattrs) = self.inherit(&parent, what, permissions, caller.umask)?;
        Ok(Plan { parent, what, permissions, user, group, xattrs, over })
    }

    /// That a name can be made, and over what.
    pub(super) fn check_free(&self, nodes: &Nodes, at: Name<'_>) -> Result<Over> {
        check_live(nodes, at.parent)?;
        if nodes.child(at.parent, at.name).is_some() {
            return Err(Errno::EXIST.into());
        }
        match self.sides(nodes, at.parent, at.name)? {
            Sides { upper: Entry::Object(_), .. } | Sides { upper: Entry::Absent, lower: Some(_) } => {
                Err(Errno::EXIST.into())
            }
            Sides { upper: Entry::Whiteout, .. } => Ok(Over::Whiteout),
            Sides { upper: Entry::Absent, lower: None } => Ok(Over::Nothing),
        }
    }

    /// The stored ids of what a caller makes.
    fn owner(&self, caller: Caller) -> Result<(u32, u32)> {
        let ids = &self.options.ids;
        let user = ids.users.stored(caller.user)?.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let group = ids.groups.stored(caller.group)?.unwrap_or_else(|| rustix::process::getegid().as_raw());
        Ok((user, group))
    }

    /// The mode, and the access lists, that a new object gets from its directory's default list, or else the umask.
    fn inherit(&self, parent: &Dir, what: Make<'_>, permissions: u16, umask: u16) -> Result<(u16, Pairs)> {
        if let Make::Symlink(_) = what {
            return Ok((0o777, Vec::new()));
        }
        let default = match self.upper()?.xattr(At::Name(parent, b"."), acl::DEFAULT) {
            Ok(list) => list,
            Err(error) if matches!(error.errno(), Errno::NODATA | Errno::OPNOTSUPP) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let Some(inherited) = acl::inherit(&default, permissions) else {
            return Ok((permissions & !umask, Vec::new()));
        };
        let mut xattrs: Vec<_> =
            inherited.access.map(|list| (acl::ACCESS.to_vec(), list)).into_iter().collect();
        if what == Make::Directory {
            xattrs.push((acl::DEFAULT.to_vec(), default));
        }
        Ok((inherited.permissions, xattrs))
    }

    /// Makes the node of what was made just now.
    pub(super) fn enter(&self, nodes: &mut Nodes, at: Name<'_>, object: &Object) -> Result<NodeId> {
        let found = self.in_upper(object.clone(), None)?;
        nodes.changed(at.parent);
        nodes.adopt(at.parent, at.name, found)
    }
}

pub(super) fn check_new_name(name: &[u8]) -> Result<()> {
    match name {
        b"" => Err(Errno::NOENT.into()),
        b"." | b".." => Err(Errno::EXIST.into()),
        _ if name.len() > NAME_MAX => Err(Errno::NAMETOOLONG.into()),
        _ => Ok(()),
    }
}

impl Plan<'_> {
    fn object(&self) -> New<'_> {
        New {
            what: match self.what {
                Make::File => What::File,
                Make::Directory => What::Directory,
                Make::Symlink(target) => What::Symlink(target),
                Make::CharDevice(major, minor) => What::CharDevice(major, minor),
                Make::BlockDevice(major, minor) => What::BlockDevice(major, minor),
                Make::Fifo => What::Fifo,
                Make::Socket => What::Socket,
            },
            permissions: self.permissions,
            user: self.user,
            group: self.group,
            xattrs: &self.xattrs,
            over: self.over,
        }
    }
}
