//! What an object is, as far as a layer can say it. Two objects are the same to a layer if their facts are equal: a
//! file of the same size and time has the same bytes.

use super::super::Errno;
use super::super::upper::{At, Dir, Object, View};
use super::{Below, Result, below_fault};
use crate::layer::{Kind, Time, scan};
use crate::lower::{Pairs, Stat};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub kind: Kind,
    pub permissions: u16,
    pub user: u32,
    pub group: u32,
    /// Of a file.
    pub size: u64,
    pub modified: Time,
    /// Of a device.
    pub device: (u32, u32),
    /// How many names it has; a directory has one.
    pub links: u32,
    /// Of a symlink.
    pub target: Vec<u8>,
    /// Those that a layer keeps, sorted.
    pub xattrs: Pairs,
}

/// A symlink has no mode of its own.
const OF_SYMLINKS: u16 = 0o777;

impl Facts {
    pub(super) fn of_upper(view: &View, directory: &Dir, name: &[u8], object: &Object) -> Result<Self> {
        let target = match object.stat.kind {
            Kind::Symlink => view.read_link(directory, name)?,
            _ => Vec::new(),
        };
        Ok(Self::in_a_layer(object.stat, target, xattrs(view, At::Name(directory, name))?))
    }

    pub(super) fn of_lower(below: &Below) -> Result<Self> {
        let stat = below.stat().map_err(below_fault)?;
        let target = match stat.kind {
            Kind::Symlink => below.target().map_err(below_fault)?,
            _ => Vec::new(),
        };
        Ok(Self::in_a_layer(stat, target, below.xattrs().map_err(below_fault)?))
    }

    /// Without what means nothing for an object of this kind.
    fn in_a_layer(stat: Stat, target: Vec<u8>, xattrs: Pairs) -> Self {
        let kind = stat.kind;
        Self {
            kind,
            permissions: if kind == Kind::Symlink { OF_SYMLINKS } else { stat.permissions },
            user: stat.user,
            group: stat.group,
            size: if kind == Kind::File { stat.size } else { 0 },
            modified: stat.modified,
            device: if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { stat.device } else { (0, 0) },
            links: if kind == Kind::Directory { 1 } else { stat.links },
            target,
            xattrs: kept(xattrs, kind),
        }
    }
}

/// The attributes that a layer keeps, sorted, as it keeps them.
fn kept(mut xattrs: Pairs, kind: Kind) -> Pairs {
    let may_have_users = matches!(kind, Kind::File | Kind::Directory);
    xattrs.retain(|(name, value)| {
        let is_sayable = !value.is_empty() && !name.contains(&b'=');
        scan::keeps_xattr(name) && is_sayable && (may_have_users || !name.starts_with(b"user."))
    });
    for (name, value) in &mut xattrs {
        if name == b"security.capability" {
            forget_namespace(value);
        }
    }
    xattrs.sort();
    xattrs
}

fn xattrs(view: &View, at: At<'_>) -> Result<Pairs> {
    let names = match view.list_xattr(at) {
        Err(error) if error.errno() == Errno::OPNOTSUPP => Vec::new(),
        names => names?,
    };
    let mut pairs = Pairs::new();
    for name in names.into_iter().filter(|name| scan::keeps_xattr(name)) {
        match view.xattr(at, &name) {
            Err(error) if error.errno() == Errno::NODATA => {}
            value => pairs.push((name, value?)),
        }
    }
    Ok(pairs)
}

/// File capabilities that hold for the root of one user namespace become such that hold for any container's.
fn forget_namespace(value: &mut Vec<u8>) {
    const REVISION: usize = 3;
    const WITHOUT_ROOT: usize = 20;
    if value.len() == WITHOUT_ROOT + 4 && value[REVISION] == 3 {
        value.truncate(WITHOUT_ROOT);
        value[REVISION] = 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_the_namespace_that_they_were_set_in() {
        let mut value = [1, 0, 0, 3].iter().copied().chain(4..24).collect::<Vec<u8>>();
        forget_namespace(&mut value);
        assert_eq!(value, [1, 0, 0, 2].iter().copied().chain(4..20).collect::<Vec<u8>>());
        let before = value.clone();
        forget_namespace(&mut value);
        assert_eq!(value, before);
    }
}
