//! The faster road: the kernel's overlayfs over an image that plyfs shows read-only, with the same upper. The two are one
//! mount to whoever looks: plyfs's has no place of its own, and goes with the kernel's.

use std::path::Path;
use std::sync::Arc;

use super::{Error, Options, Tree, UpperPaths, open};
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
    let upper = open_plain(paths, options)?;
    if !is_sealed(&upper, paths)? {
        return Err(Error::Unsealed(paths.upper.clone()));
    }
    let namespace = upper.namespace();
    // What is left in the work directory is the kernel's to remove.
    let handed = Handed { paths: paths.clone(), namespace, _locks: upper.into_locks() };
    Ok(Tree::Kernel { image: Union::new(lower, options.ids.clone()), upper: handed })
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
    /// Puts the kernel's overlayfs in the place of the image that is mounted at `target`.
    pub(super) fn take_place(&self, target: &Path, name: &str, options: &Options) -> Result<(), Error> {
        let failed = |source| Error::Kernel { target: target.to_owned(), source };
        let made = overlay::make(&overlay::Request {
            name,
            lower: target,
            upper: &self.paths.upper,
            work: &self.paths.work,
            user_attributes: self.namespace == Namespace::User,
            volatile: options.sync == Policy::Volatile,
            flags: options.flags(options.read_only == Some(true)),
            labels: &options.labels,
        });
        let made = made.map_err(failed)?;
        // The kernel holds the image's mount by itself, so that both go together.
        system::unmount(target, Unmount::Detach)?;
        made.attach(target).map_err(failed)
    }
}
