//! Records: what is mounted from a store, one file each below `plyfs/mounts`. The daemon holds a lock on its record as
//! long as it lives, so whether a record speaks of a living daemon is asked of the kernel, never of a process id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// Far more than any record needs.
const LIMIT: u64 = 4 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub pid: u32,
    /// The image, as it is shown.
    pub image: String,
    /// What of the store is in use: the manifest, the config, the layers.
    pub digests: Vec<Digest>,
    pub target: PathBuf,
    /// The target was made for this mount, and goes with it.
    pub made: bool,
    /// `major:minor`, once it is mounted.
    pub device: Option<String>,
    pub options: String,
    /// The store's upper that is written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<String>,
    /// Seconds since 1970.
    pub since: u64,
}

impl Record {
    pub fn new(image: String, digests: Vec<Digest>, target: PathBuf, options: String) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let pid = std::process::id();
        let id = format!("{:012x}", (now.as_nanos() as u64 ^ (u64::from(pid) << 40)) & 0xffff_ffff_ffff);
        Self {
            id,
            pid,
            image,
            digests,
            target,
            made: false,
            device: None,
            options,
            upper: None,
            since: now.as_secs(),
        }
    }
}

/// How what a mount counts is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Once,
    /// The mount is told that someone does.
    Following,
}

#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

/// A record found on disk, and whether its daemon lives.
#[derive(Debug)]
pub(super) enum Found {
    /// By a daemon that lives; the number is the record's own inode.
    Held(Record, u64),
    /// The lock came free; while the file is open nobody else tidies it.
    Abandoned(Record, Abandoned),
}

impl Records {
    /// The records of the store at `root`.
    pub fn of_store(root: &Path) -> Self {
        Self { directory: root.join("plyfs/mounts") }
    }

    /// Writes a record, held until the value is dropped.
    pub(super) fn hold(&self, record: &Record) -> io::Result<Held> {
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(format!("{}.json", record.id));
        let file = write_locked(&path, record)?;
        Ok(Held { path, file })
    }

    /// What a mount has counted; to be written to as well by who follows it.
    pub fn open_stats(&self, record: &Record, reading: Reading) -> io::Result<File> {
        let path = self.directory.join(format!("{}.stats", record.id));
        OpenOptions::new().read(true).write(reading == Reading::Following).open(path)
    }

    pub(super) fn read(&self) -> io::Result<Vec<Found>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                found.extend(read_one(&path)?);
            }
        }
        Ok(found)
    }
}

/// None when the record went while it was read, or is none.
fn read_one(path: &Path) -> io::Result<Option<Found>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    (&file).take(LIMIT).read_to_end(&mut bytes)?;
    let record = match serde_json::from_slice(&bytes) {
        Ok(record) => record,
        Err(error) => {
            log::warn!("mount record {}: {error}", path.display());
            return Ok(None);
        }
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // The daemon replaces its record once; the one it replaced is free, and says nothing.
        Ok(()) if !is_at(&file, path)? => Ok(None),
        Ok(()) => Ok(Some(Found::Abandoned(record, Abandoned { path: path.to_owned(), _lock: file }))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(Found::Held(record, file.metadata()?.ino()))),
        Err(errno) => Err(errno.into()),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_locked(path: &Path, record: &Record) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    fs::rename(&new, path)?;
    Ok(file)
}

/// This process's record. Dropped, it is gone, and its log too if nothing was said.
#[derive(Debug)]
pub(super) struct Held {
    path: PathBuf,
    file: File,
}

impl Held {
    pub fn replace(&mut self, record: &Record) -> io::Result<()> {
        self.file = write_locked(&self.path, record)?;
        Ok(())
    }

    /// Where the mount counts what it does.
    pub fn open_stats(&self) -> io::Result<File> {
        let path = self.path.with_extension("stats");
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    pub fn open_log(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path.with_extension("log"))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The record of a daemon that is dead.
#[derive(Debug)]
pub(super) struct Abandoned {
    path: PathBuf,
    _lock: File,
}

impl Abandoned {
    pub fn remove(self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        log::warn!("removing mount record {}: {error}", path.display());
    }
    if let Err(error) = fs::remove_file(path.with_extension("stats"))
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("removing what mount {} counted: {error}", path.display());
    }
    let log = path.with_extension("log");
    if fs::metadata(&log).is_ok_and(|found| found.len() == 0)
        && let Err(error) = fs::remove_file(&log)
    {
        log::warn!("removing empty log {}: {error}", log.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(target: &str) -> Record {
        Record::new("docker.io/library/alpine:3.20".into(), Vec::new(), target.into(), "ro".into())
    }

    #[test]
    fn a_record_is_held_while_its_daemon_lives_and_gone_after_it() {
        let store = tempfile::tempdir().unwrap();
        let records = Records::of_store(store.path());
        let mut wanted = record("/mnt");
        let mut held = records.hold(&wanted).unwrap();
        wanted.device = Some("0:57".into());
        held.replace(&wanted).unwrap();
        let found = records.read().unwrap();
        assert!(matches!(&found[..], [Found::Held(found, _)] if *found == wanted), "{found:?}");
        drop(held.open_log().unwrap());
        drop(held);
        assert_eq!(fs::read_dir(store.path().join("plyfs/mounts")).unwrap().count(), 0);
    }

    #[test]
    fn a_record_whose_daemon_was_killed_is_abandoned_and_can_be_removed() {
        let store = tempfile::tempdir().unwrap();
        let records = Records::of_store(store.path());
        let held = records.hold(&record("/mnt")).unwrap();
        let _file = held.file.try_clone().unwrap();
        flock(&held.file, FlockOperation::Unlock).unwrap();
        std::mem::forget(held);
        match records.read().unwrap().pop() {
            Some(Found::Abandoned(_, abandoned)) => abandoned.remove(),
            other => panic!("{other:?}"),
        }
        assert_eq!(records.read().unwrap().len(), 0);
    }
}
