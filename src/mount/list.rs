//! What is mounted, and taking it away.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::record::{Abandoned, Found};
use super::{Error, Record, Records, doing, place};
use crate::sys::file;
use crate::sys::mount::{self as system, FILE_SYSTEM, Mounted, Unmount};
use crate::sys::process;

/// A mount of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub record: Record,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    /// Served, but not seen from here: it is in another mount namespace, or was detached while it is in use.
    Elsewhere,
    /// Its daemon is gone; unmounting takes it away.
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    At(PathBuf),
    All,
}

/// How long an unmount waits for the daemon to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// A detached mount may be in use for days.
const PATIENCE_DETACHED: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(5);

/// The mounts of a store, oldest first. Records of mounts that are gone, daemon and all, are removed on the way.
pub fn list(records: &Records) -> Result<Vec<Mount>, Error> {
    let there = mounted()?;
    let mut mounts = Vec::new();
    for found in read(records)? {
        match found {
            Found::Held(record, _) => {
                let state = if is_there(&record, &there) { State::Live } else { State::Elsewhere };
                mounts.push(Mount { record, state });
            }
            Found::Abandoned(record, _) if is_there(&record, &there) => {
                mounts.push(Mount { record, state: State::Dead });
            }
            Found::Abandoned(record, abandoned) => tidy(&record, abandoned),
        }
    }
    mounts.sort_by(|a, b| (a.record.since, &a.record.id).cmp(&(b.record.since, &b.record.id)));
    Ok(mounts)
}

/// The mount at a path; the uppermost where there are several.
pub fn find(records: &Records, path: &Path) -> Result<Mount, Error> {
    let names = names(path);
    let mut mounts = list(records)?;
    mounts.retain(|mount| names.contains(&mount.record.target));
    mounts.pop().ok_or_else(|| Error::NotMounted(path.to_owned()))
}

fn read(records: &Records) -> Result<Vec<Found>, Error> {
    records.read().map_err(doing("reading the mounts' records"))
}

fn mounted() -> Result<Vec<Mounted>, Error> {
    system::mounted().map_err(doing("reading /proc/self/mountinfo"))
}

fn is_there(record: &Record, there: &[Mounted]) -> bool {
    there.iter().any(|mount| is_of(record, mount))
}

fn is_of(record: &Record, mount: &Mounted) -> bool {
    mount.may_be_ours()
        && mount.target == record.target
        && record.device.as_ref().is_none_or(|device| *device == mount.device)
}

fn tidy(record: &Record, abandoned: Abandoned) {
    if record.made {
        place::remove_made(&record.target);
    }
    abandoned.remove();
}

/// A mount to be taken away.
#[derive(Clone, Debug)]
enum Standing {
    /// Where this process sees it.
    Here(Mounted),
    /// Only its daemon can reach it.
    Elsewhere(Record, u64),
}

/// Unmounts, and waits until the daemons have ended. Returns what was unmounted.
pub fn unmount(records: &Records, which: &Which, how: Unmount) -> Result<Vec<PathBuf>, Error> {
    let standing = match which {
        Which::At(path) => vec![standing_at(records, path)?],
        Which::All => all(records)?,
    };
    let mut result = Ok(());
    let mut gone = Vec::new();
    for mount in standing {
        let ended = match &mount {
            Standing::Here(mount) => unmount_here(records, mount, how),
            Standing::Elsewhere(record, inode) => ask_daemon(records, record, *inode),
        };
        // One that is busy does not keep the others.
        match ended {
            Ok(()) => gone.push(mount.into_target()),
            Err(error) => result = Err(error),
        }
    }
    result.map(|()| gone)
}

impl Standing {
    fn into_target(self) -> PathBuf {
        match self {
            Self::Here(mount) => mount.target,
            Self::Elsewhere(record, _) => record.target,
        }
    }
}

/// The newest first: one may stand on another.
fn all(records: &Records) -> Result<Vec<Standing>, Error> {
    let known = list(records)?;
    let there = mounted()?;
    let ours = |mount: &&Mounted| known.iter().any(|known| is_of(&known.record, mount));
    let here = there.iter().rev().filter(ours).cloned().map(Standing::Here);
    Ok(here.chain(elsewhere(records, &there)?).collect())
}

fn elsewhere(records: &Records, there: &[Mounted]) -> Result<Vec<Standing>, Error> {
    let served = read(records)?.into_iter().filter_map(|found| match found {
        Found::Held(record, inode) if !is_there(&record, there) => Some(Standing::Elsewhere(record, inode)),
        _ => None,
    });
    Ok(served.collect())
}

/// The uppermost mount at a path, if it is plyfs's.
fn standing_at(records: &Records, path: &Path) -> Result<Standing, Error> {
    let there = mounted()?;
    let names = names(path);
    let found = names.iter().find_map(|name| there.iter().rfind(|mount| mount.target == *name));
    match found {
        Some(mount) if is_ours(records, mount)? => return Ok(Standing::Here(mount.clone())),
        Some(mount) => {
            let file_system = mount.file_system.clone();
            return Err(Error::NotOurs { path: path.to_owned(), file_system });
        }
        None => {}
    }
    let is_named = |standing: &Standing| matches!(standing, Standing::Elsewhere(record, _) if names.contains(&record.target));
    let mut elsewhere = elsewhere(records, &there)?.into_iter();
    elsewhere.find(is_named).ok_or_else(|| Error::NotMounted(path.to_owned()))
}

/// A mount of the kernel's overlayfs is ours only by its record.
fn is_ours(records: &Records, mount: &Mounted) -> Result<bool, Error> {
    if mount.file_system == FILE_SYSTEM {
        return Ok(true);
    }
    Ok(mount.may_be_ours() && list(records)?.iter().any(|known| is_of(&known.record, mount)))
}

/// What a path may be called in a list of mounts.
fn names(path: &Path) -> Vec<PathBuf> {
    resolved_parent(path).into_iter().chain(path.canonicalize().ok()).collect()
}

/// The absolute path, without touching its last part: asking a dead mount anything fails.
fn resolved_parent(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    let parent = file::directory_of(path);
    Some(parent.canonicalize().ok()?.join(name))
}

fn unmount_here(records: &Records, mount: &Mounted, how: Unmount) -> Result<(), Error> {
    system::unmount(&mount.target, how)?;
    let patience = match how {
        Unmount::WhenUnused => PATIENCE,
        Unmount::Detach => PATIENCE_DETACHED,
    };
    let ended = wait_for_end(records, patience, |record| is_of(record, mount))?;
    if !ended && how == Unmount::WhenUnused {
        log::warn!("{} is unmounted, but its daemon has not ended yet", mount.target.display());
    }
    Ok(())
}

fn ask_daemon(records: &Records, record: &Record, inode: u64) -> Result<(), Error> {
    // One that nobody holds any more has just ended by itself.
    process::ask_holder_to_end(record.pid, inode).map_err(doing("asking the mount's daemon to end"))?;
    match wait_for_end(records, PATIENCE, |found| found.id == record.id)? {
        true => Ok(()),
        false => Err(Error::StillUsed(record.target.clone())),
    }
}

/// Whether the daemon ended in time.
fn wait_for_end(
    records: &Records,
    patience: Duration,
    is_it: impl Fn(&Record) -> bool,
) -> Result<bool, Error> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let found = read(records)?;
        if !found.iter().any(|found| matches!(found, Found::Held(record, _) if is_it(record))) {
            drop(found);
            // What a killed daemon left behind goes now.
            list(records)?;
            return Ok(true);
        }
        thread::sleep(PAUSE);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_mount_or_another_kind_of_mount_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::of_store(directory.path());
        let refused = |path: &Path| unmount(&records, &Which::At(path.to_owned()), Unmount::WhenUnused);
        assert!(
            matches!(refused(directory.path()), Err(Error::NotMounted(path)) if path == directory.path())
        );
        let other = refused(Path::new("/proc"));
        assert!(
            matches!(&other, Err(Error::NotOurs { file_system, .. }) if file_system == "proc"),
            "{other:?}"
        );
    }

    #[test]
    fn the_record_of_a_mount_that_is_gone_with_its_daemon_goes_too() {
        let store = tempfile::tempdir().unwrap();
        let made = store.path().join("mountpoint");
        std::fs::create_dir(&made).unwrap();
        let records = Records::of_store(store.path());
        let mut record = Record::new("x".into(), Vec::new(), made.clone(), String::new());
        record.made = true;
        let file = store.path().join("plyfs/mounts/left.json");
        std::fs::create_dir_all(store.path().join("plyfs/mounts")).unwrap();
        std::fs::write(&file, serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(list(&records).unwrap(), []);
        assert_eq!((file.exists(), made.exists()), (false, false));
    }
}
