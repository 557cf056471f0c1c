//! A run has namespaces of its own: its mounts are seen by nobody else, and its processes end with it, however it ends.
//! The process that was started stays outside, and takes away what is left on the disk.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use super::Error;
use super::site::Rights;
use crate::mount::namespace::{self, IdsOf};
use crate::sys::mount::{Unmount, unmount};
use crate::sys::namespace::{Processes, enter_private_namespaces};
use crate::sys::process::{self, Fork};

/// Which of the two processes this is.
pub enum Part {
    /// All is over: the exit code of the other.
    Outside(u8),
    /// Does the work.
    Inside(Inside),
}

pub struct Inside {
    pub rights: Rights,
    /// Empty, and gone when this process is.
    pub directory: PathBuf,
}

/// What the process outside waits for.
const WATCHED: &[Signal] = &[Signal::TERM, Signal::INT, Signal::HUP, Signal::CHILD];

/// To be called while there is one thread. What is made is made in a new directory in `scratch`.
pub fn enter(scratch: &Path) -> Result<Part, Error> {
    let rights = rights()?;
    enter_private_namespaces(Processes::Own).map_err(Error::doing("making namespaces for the run"))?;
    let directory = new_directory(scratch).map_err(Error::doing("making a directory to work in"))?;
    process::hold_signals(WATCHED).map_err(Error::doing("holding signals"))?;
    match process::fork().map_err(Error::doing("starting a process"))? {
        Fork::Child => {
            process::end_with_parent().map_err(Error::doing("tying the run to its parent"))?;
            see_own_processes();
            Ok(Part::Inside(Inside { rights, directory }))
        }
        Fork::Parent { child } => {
            let ended = watch(child).map_err(Error::doing("waiting for the run"));
            remove(&directory);
            Ok(Part::Outside(ended?))
        }
    }
}

/// In small letters: podman takes part of an image's path for its name, which must be.
fn new_directory(scratch: &Path) -> std::io::Result<PathBuf> {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let directory = scratch.join(format!("plyfs-bench-{:x}", since.as_nanos()));
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    Ok(directory)
}

/// A signal that asks this process to end ends the child, whatever it does.
fn watch(child: Pid) -> std::io::Result<u8> {
    if process::wait_for_signal(WATCHED)? != Signal::CHILD.as_raw() {
        // One that has just ended by itself needs no end.
        let _ = rustix::process::kill_process(child, Signal::KILL);
    }
    process::wait_for(child)
}

fn rights() -> Result<Rights, Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(Rights::Root);
    }
    match namespace::become_root() {
        Ok(IdsOf::Granted { .. }) => Ok(Rights::Mapped),
        Ok(IdsOf::User) => Ok(Rights::OneId),
        Err(error) => Err(Error::doing("making a user namespace")(std::io::Error::other(error))),
    }
}

/// Where /proc is covered in parts the kernel refuses; then only those figures are missing that are read there.
fn see_own_processes() {
    if let Err(error) =
        rustix::mount::mount("proc", "/proc", "proc", rustix::mount::MountFlags::empty(), None)
    {
        log::info!("mounting /proc: {error}");
    }
}

/// This process sees the mounts too: they go first, for those whose processes have ended can't be looked into.
fn remove(directory: &Path) {
    let mounted = crate::sys::mount::mounted().unwrap_or_default();
    for mount in mounted.iter().rev().filter(|mount| mount.target.starts_with(directory)) {
        if let Err(error) = unmount(&mount.target, Unmount::Detach) {
            log::warn!("{error}");
        }
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        log::warn!("removing {}: {error}", directory.display());
    }
}
