//! The faster road: the kernel's overlayfs over an image that plyfs shows read-only, with the same upper. The two are one
//! mount to whoever looks: plyfs's has no place of its own, and goes with the kernel's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::daemon::Launch;
use super::{Error, Options, Tree, UpperPaths, doing, open};
use crate::lower::Lower;
use crate::sys::mount::{self as system, Unmount, Way};
use crate::sys::overlay;
use crate::union::upper::{self, Namespace, Policy, Upper};
use crate::union::{IdMap, Union};

/// Who answers what is written to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Fuse,
    Overlay,
    /// The kernel, wherever it can.
    Auto,
}

/// An upper that is the kernel's for as long as this is held.
pub struct Handed {
    paths: UpperPaths,
    namespace: Namespace,
    _locks: upper::Locks,
}

impl Driver {
    /// An image that is written to: what changes goes to the upper.
    pub fn image(self, lower: Arc<Lower>, paths: &UpperPaths, options: &Options) -> Result<Tree, Error> {
        let is_kernels = match self {
            Self::Fuse => false,
            Self::Overlay => true,
            Self::Auto => suits(paths, options)?,
        };
        match is_kernels {
            true => under_kernel(lower, paths, options),
            false => open::image_with_upper(lower, paths, options),
        }
    }
}

fn under_kernel(lower: Arc<Lower>, paths: &UpperPaths, options: &Options) -> Result<Tree, Error> {
    if let Some(why) = refusal(options) {
        return Err(Error::KernelCannot(why));
    }
    let upper = hand_over(paths, options)?;
    Ok(Tree::Kernel { image: Union::new(lower, options.ids.clone()), upper })
}

fn hand_over(paths: &UpperPaths, options: &Options) -> Result<Handed, Error> {
    let upper = open_plain(paths, options)?;
    if !is_sealed(&upper, paths)? {
        return Err(Error::Unsealed(paths.upper.clone()));
    }
    let namespace = upper.namespace();
    // What is left in the work directory is the kernel's to remove.
    Ok(Handed { paths: paths.clone(), namespace, _locks: upper.into_locks() })
}

/// A mount of the kernel's over a copy of an image, with nobody who serves it. The upper is the kernel's until it ends.
pub struct OverCopy {
    target: PathBuf,
    _upper: Handed,
}

/// Where there is no FUSE: the kernel's overlayfs over a directory into which the image was copied.
pub fn over_copy(
    copy: &Path,
    lower: Arc<Lower>,
    paths: &UpperPaths,
    target: &Path,
    name: &str,
    options: &Options,
) -> Result<OverCopy, Error> {
    // In the copy are owners as they are to be seen.
    let options = &Options { ids: IdMap::default(), ..options.clone() };
    if let Some(why) = refusal(options) {
        return Err(Error::NoOverlay(why));
    }
    // What was written with FUSE may be kept without its bytes.
    open::seal(lower, paths, &Options { sync: Policy::Auto, ..options.clone() })?;
    let upper = hand_over(paths, options)?;
    let failed = |source| Error::OverCopy { copy: copy.to_owned(), source };
    let target = target.canonicalize().map_err(failed)?;
    upper.make(copy, name, options).and_then(|made| made.attach(&target)).map_err(failed)?;
    Ok(OverCopy { target, _upper: upper })
}

impl OverCopy {
    /// Until it is unmounted.
    pub fn stay(self, launch: Launch, log: impl FnOnce() -> io::Result<File>) -> Result<(), Error> {
        launch.live(log).map_err(doing("leaving the terminal"))?;
        system::wait_until_unmounted(&self.target).map_err(doing("waiting for the end of a mount"))
    }
}

/// Whether the kernel is asked, as far as can be known before.
fn suits(paths: &UpperPaths, options: &Options) -> Result<bool, Error> {
    Ok(refusal(options).is_none() && is_sealed(&open_plain(paths, options)?, paths)?)
}

/// That nothing is synced is for the kernel to note down.
fn open_plain(paths: &UpperPaths, options: &Options) -> Result<Upper, Error> {
    open::upper(paths, &[], &Options { sync: Policy::Auto, ..options.clone() })
}

fn is_sealed(upper: &Upper, paths: &UpperPaths) -> Result<bool, Error> {
    upper.is_sealed().map_err(|source| Error::Upper { path: paths.upper.clone(), source })
}

/// Why the kernel can't do what is asked for.
fn refusal(options: &Options) -> Option<&'static str> {
    let reasons = [
        (
            Way::of_this_process() != Way::Direct,
            "only root mounts it; a plain user is root in `plyfs unshare`",
        ),
        (!overlay::is_known(), "this kernel has none, or is older than Linux 5.2"),
        (options.ids != IdMap::default(), "it shows owners as they are; leave out uid= and gid="),
        (options.sync == Policy::Strict, "it does not sync each step; leave out fsync=strict"),
        (options.metacopy == Some(true), "it copies whole files; leave out metacopy=on"),
        (options.writeback || options.timeout.is_some(), "writeback= and timeout= are words of FUSE"),
        (options.max_write.is_some(), "max_write= is a word of FUSE"),
        (!options.access_lists || !options.xattrs, "it always has attributes; leave out noacl and noxattrs"),
    ];
    reasons.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why)
}

impl Handed {
    fn make(&self, lower: &Path, name: &str, options: &Options) -> io::Result<overlay::Made> {
        overlay::make(&overlay::Request {
            name,
            lower,
            upper: &self.paths.upper,
            work: &self.paths.work,
            user_attributes: self.namespace == Namespace::User,
            volatile: options.sync == Policy::Volatile,
            flags: options.flags(options.read_only == Some(true)),
            labels: &options.labels,
        })
    }

    /// Puts the kernel's overlayfs in the place of the image that is mounted at `target`.
    pub(super) fn take_place(&self, target: &Path, name: &str, options: &Options) -> Result<(), Error> {
        let failed = |source| Error::Kernel { target: target.to_owned(), source };
        let made = self.make(target, name, options).map_err(failed)?;
        // The kernel holds the image's mount by itself, so that both go together.
        system::unmount(target, Unmount::Detach)?;
        made.attach(target).map_err(failed)
    }
}
