//! What is mounted, and taking it away.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::record::{Abandoned, Found};
use super::{Error, Record, Records, doing, place};
use crate::sys::mount::{self as system, FILE_SYSTEM, Mounted, Unmount};

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
            Found::Held(record) => {
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
    mount.file_system == FILE_SYSTEM
        && mount.target == record.target
        && record.device.as_ref().is_none_or(|device| *device == mount.device)
}

fn tidy(record: &Record, abandoned: Abandoned) {
    if record.made {
        place::remove_made(&record.target);
    }
    abandoned.remove();
}

/// Unmounts, and waits until the daemons have ended. Returns what was unmounted.
pub fn unmount(records: &Records, which: &Which, how: Unmount) -> Result<Vec<PathBuf>, Error> {
    let targets = match which {
        Which::At(path) => vec![ours_at(path)?],
        Which::All => all(records)?,
    };
    let mut result = Ok(());
    let mut gone = Vec::new();
    for mount in targets {
        // One that is busy does not keep the others.
        match unmount_one(records, &mount, how) {
            Ok(()) => gone.push(mount.target),
            Err(error) => result = Err(error),
        }
    }
    result.map(|()| gone)
}

/// The newest first: one may stand on another.
fn all(records: &Records) -> Result<Vec<Mounted>, Error> {
    let known = list(records)?;
    let mut there = mounted()?;
    there.retain(|mount| known.iter().any(|known| is_of(&known.record, mount)));
    there.reverse();
    Ok(there)
}

/// The uppermost mount at a path, if it is plyfs's.
fn ours_at(path: &Path) -> Result<Mounted, Error> {
    let there = mounted()?;
    let names = [resolved_parent(path), path.canonicalize().ok()];
    let found = names.iter().flatten().find_map(|name| there.iter().rfind(|mount| mount.target == *name));
    match found {
        None => Err(Error::NotMounted(path.to_owned())),
        Some(mount) if mount.file_system != FILE_SYSTEM => {
            Err(Error::NotOurs { path: path.to_owned(), file_system: mount.file_system.clone() })
        }
        Some(mount) => Ok(mount.clone()),
    }
}

/// The absolute path, without touching its last part: asking a dead mount anything fails.
fn resolved_parent(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(parent.canonicalize().ok()?.join(name))
}

fn unmount_one(records: &Records, mount: &Mounted, how: Unmount) -> Result<(), Error> {
    system::unmount(&mount.target, how)?;
    let patience = match how {
        Unmount::WhenUnused => PATIENCE,
        Unmount::Detach => PATIENCE_DETACHED,
    };
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if !is_served(records, mount)? {
            // What a killed daemon left behind goes now.
            return list(records).map(drop);
        }
        thread::sleep(PAUSE);
    }
    if how == Unmount::WhenUnused {
        log::warn!("{} is unmounted, but its daemon has not ended yet", mount.target.display());
    }
    Ok(())
}

fn is_served(records: &Records, mount: &Mounted) -> Result<bool, Error> {
    let found = read(records)?;
    Ok(found.iter().any(|found| matches!(found, Found::Held(record) if is_of(record, mount))))
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
