//! Taking an upper into use: it is locked, checked, tried for what it can do, and mended.

use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, SeekFrom, XattrFlags};
use rustix::io::Errno;

use super::journal::{INCOMPATIBLE, make_directory};
use super::private::Mark;
use super::stage::Names;
use super::whiteout::{Form, mknod};
use super::{Abilities, Dir, Error, Namespace, Options, Policy, Result, Upper, View, lock, recovery};
use crate::sys::xattr;

/// What of a file is written, or not, as a whole.
pub const BLOCK: u64 = 4096;

impl Upper {
    /// Takes the upper, or says EBUSY where something else uses it. What a killed process left is mended.
    pub fn open(upper: &Path, work: &Path, options: &Options) -> Result<Upper> {
        let (root, outer) = (lock::open(upper)?, lock::open(work)?);
        lock::check_apart(&root, &outer, &options.layers)?;
        let own = private(&outer, b"plyfs")?;
        let locks = lock::hold(&root, &own, upper)?;
        lock::check_not_mounted(&[&root, &outer])?;
        check_no_index(&outer)?;
        let inner = private(&outer, b"work")?;
        recovery::check_compatible(&inner)?;
        let staging = Names::default();
        recovery::clean(&inner, &staging)?;
        let namespace = choose(&inner, options.namespace)?;
        let abilities = Abilities::of(&inner, &staging)?;
        let opened = Upper {
            view: View { root, namespace },
            links: private(&own, b"hl")?,
            records: private(&own, b"journal")?,
            work: inner,
            policy: options.sync,
            kept: options.kept,
            abilities,
            staging,
            whiteouts: Default::default(),
            unsynced: Default::default(),
            journal: Default::default(),
            unfilled_known: Default::default(),
            own,
            _locks: locks,
        };
        opened.replay()?;
        opened.mark_volatile()?;
        Ok(opened)
    }

    fn mark_volatile(&self) -> Result<()> {
        if self.policy != Policy::Volatile {
            return Ok(());
        }
        make_directory(&self.work, INCOMPATIBLE)?;
        let bars = self.work.open(INCOMPATIBLE)?;
        make_directory(&bars, b"volatile")?;
        Ok(make_directory(&bars.open(b"volatile")?, b"dirty")?)
    }
}

/// A directory that is ours alone, and gives nothing of its own to what is made in it.
fn private(parent: &Dir, name: &[u8]) -> Result<Dir> {
    let making = || format!("making {} in the work directory", String::from_utf8_lossy(name));
    make_directory(parent, name).map_err(Error::while_doing(making))?;
    rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty()).map_err(Error::while_doing(making))?;
    let directory = parent.open(name)?;
    match xattr::remove(directory.place(b"."), b"system.posix_acl_default") {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
        removed => removed?,
    }
    Ok(directory)
}

/// The kernel's index of hardlinks would no longer be true after us.
fn check_no_index(work: &Dir) -> Result<()> {
    let names = match work.open(b"index") {
        Err(Errno::NOENT) => return Ok(()),
        index => index?.names()?,
    };
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Fault {
        doing: "opening the work directory".to_owned(),
        source: "it holds the index of a kernel overlay mount with `index=on`".into(),
    })
}

/// Tried on the work directory, where a mark means nothing.
fn choose(work: &Dir, wanted: Option<Namespace>) -> Result<Namespace> {
    let tried = |namespace: Namespace| {
        let name = namespace.name(Mark::Opaque);
        xattr::set(work.place(b"."), &name, b"n", XattrFlags::empty())?;
        xattr::remove(work.place(b"."), &name).map(|()| namespace)
    };
    let chosen = match wanted {
        Some(namespace) => tried(namespace),
        None => match can(tried(Namespace::Trusted)) {
            Ok(Some(namespace)) => Ok(namespace),
            Ok(None) => tried(Namespace::User),
            Err(errno) => Err(errno),
        },
    };
    chosen.map_err(Error::while_doing(|| "keeping extended attributes in the upper".to_owned()))
}

/// `None` for what is not possible here at all. A disk that is full or broken tells nothing about that.
fn can<T>(tried: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match tried {
        Err(
            Errno::PERM
            | Errno::ACCESS
            | Errno::INVAL
            | Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::ISDIR
            | Errno::NODEV,
        ) => Ok(None),
        tried => tried.map(Some),
    }
}

/// Writes one block into a hole, and looks where data is then.
fn tells_holes(work: &Dir) -> rustix::io::Result<bool> {
    const AT: u64 = 1 << 20;
    let Some(file) = can(rustix::fs::openat(work, ".", OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR))? else {
        return Ok(false);
    };
    rustix::fs::ftruncate(&file, 4 * AT)?;
    crate::sys::copy::write_at(&file, &[1; BLOCK as usize], AT)?;
    let ends = [SeekFrom::Data(0), SeekFrom::Hole(AT)].map(|from| rustix::fs::seek(&file, from));
    Ok(ends == [Ok(AT), Ok(AT + BLOCK)])
}

impl Abilities {
    /// A full disk is no reason to keep its upper from being mounted, and emptied.
    fn of(work: &Dir, names: &Names) -> Result<Self> {
        match Self::tried(work, names) {
            Err(error) if matches!(error.errno(), Errno::NOSPC | Errno::DQUOT) => Ok(Self::least()),
            tried => tried,
        }
    }

    /// What every file system can do that a container's upper is on. Nothing is taken to come right by itself.
    fn least() -> Self {
        Self {
            whiteouts: Form::Device,
            unnamed: false,
            rename_whiteout: false,
            holes: false,
            umask: 0o777,
            user: u32::MAX,
            group: u32::MAX,
        }
    }

    fn tried(work: &Dir, names: &Names) -> Result<Self> {
        let (probe, made) = (names.next(), names.next());
        let whiteouts = match can(mknod(work, &probe))? {
            Some(()) => Form::Device,
            None => Form::Marker,
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        drop(rustix::fs::openat(work, &made, flags, all)?);
        let stat = work.stat(&made)?;
        let rename_whiteout = whiteouts == Form::Device
            && can(rustix::fs::renameat_with(work, &made, work, &probe, RenameFlags::WHITEOUT))?.is_some();
        let unnamed = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let unnamed = can(rustix::fs::openat(work, ".", unnamed, Mode::RUSR))?.is_some();
        let holes = tells_holes(work)?;
        for name in [probe, made] {
            match rustix::fs::unlinkat(work, &name, AtFlags::empty()) {
                Err(Errno::NOENT) => {}
                removed => removed?,
            }
        }
        Ok(Self {
            whiteouts,
            unnamed,
            rename_whiteout,
            holes,
            umask: 0o777 & !stat.permissions,
            user: stat.user,
            group: stat.group,
        })
    }
}
