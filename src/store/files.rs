//! Whole files out of layers, by the BLAKE3 of their bytes: a cache that may be lost at any time.
//!
//! A file that this process has written was verified on the way. One that it finds on disk is read and compared with
//! its name before it is first used, in the background; from then on it is trusted, for only the owner can write here.
//! The cache stays under its limit, leaves the disk its reserve, and a full disk only turns it off.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use lru::LruCache;
use parking_lot::Mutex;

use super::{Error, Result, Store};
use crate::sys::file::{self, Existing};

/// How many files are held open.
const OPEN: usize = 256;

impl Store {
    /// A file of the cache, not verified.
    pub fn cached_file(&self, key: &Key) -> Result<Option<File>> {
        let path = self.files_directory().join(name(key));
        match file::open_regular(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::at("opening", &path)(error)),
        }
    }

    pub fn drop_cached(&self, key: &Key) -> Result<()> {
        let path = self.files_directory().join(name(key));
        remove(&path).map_err(Error::at("removing", &path))
    }
}

/// How large the cache may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All files together.
    pub bytes: u64,
    /// What is left free on the disk.
    pub reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 << 30, reserve: 2 << 30 }
    }
}

/// A handle on the cache; clones share it.
#[derive(Clone)]
pub struct FileCache(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    limits: Limits,
    is_off: AtomicBool,
    state: Mutex<State>,
}

/// The BLAKE3 of a file's bytes.
pub type Key = [u8; 32];

struct State {
    /// Verified, and open.
    open: LruCache<Key, Arc<File>>,
    /// The size of each file on disk, the last used one last.
    sizes: LruCache<Key, u64>,
    total: u64,
}

impl FileCache {
    /// The cache in `directory`, which exists and only its owner can write.
    pub fn new(directory: PathBuf, limits: Limits) -> Self {
        let mut state = State { open: LruCache::unbounded(), sizes: LruCache::unbounded(), total: 0 };
        for (key, size) in oldest_first(&directory) {
            state.sizes.push(key, size);
            state.total += size;
        }
        Self(Arc::new(Shared { directory, limits, is_off: AtomicBool::new(false), state: Mutex::new(state) }))
    }

    /// The file whose bytes have the digest `key`, if it is there and verified.
    pub fn get(&self, key: &Key) -> Option<Arc<File>> {
        let mut state = self.0.state.lock();
        let file = state.open.get(key).cloned()?;
        state.sizes.promote(key);
        Some(file)
    }

    /// Has the file from now on: the one on disk, if it is whole, or what `write` gives. Takes as long as that takes.
    pub fn keep(&self, key: &Key, size: u64, write: impl FnOnce(&File) -> io::Result<()>) {
        if self.0.is_off.load(Ordering::Relaxed) || self.get(key).is_some() {
            return;
        }
        let path = self.0.directory.join(name(key));
        let kept = match verified(&path, key) {
            Ok(Some(file)) => Ok(Some(file)),
            Ok(None) => self.write(&path, key, size, write),
            Err(error) => Err(error),
        };
        match kept {
            Ok(Some(file)) => self.0.state.lock().insert(*key, size, file),
            Ok(None) => {}
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &io::Error) {
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if is_full && !self.0.is_off.swap(true, Ordering::Relaxed) {
            log::warn!("{}: {error}; no more files are cached", self.0.directory.display());
        } else if !is_full {
            log::debug!("{}: {error}", self.0.directory.display());
        }
    }

    /// `None`: there is no room for it.
    fn write(
        &self,
        path: &Path,
        key: &Key,
        size: u64,
        write: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<Option<File>> {
        if !self.make_room(size)? {
            return Ok(None);
        }
        let mut file = file::create_unnamed(&self.0.directory)?;
        write(&file)?;
        if digest(&file)? != *key {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} came out wrong", name(key))));
        }
        file.set_permissions(Permissions::from_mode(0o400))?;
        file::publish(&mut file, path, &self.0.directory, Existing::Keep)?;
        // Opened again: who gets it cannot write to it.
        file::open_regular(path).map(Some)
    }

    /// Removes the files that were used longest ago, until `size` more fit.
    fn make_room(&self, size: u64) -> io::Result<bool> {
        let Limits { bytes, reserve } = self.0.limits;
        let disk = rustix::fs::statvfs(&self.0.directory)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if size > bytes || free.saturating_sub(size) < reserve {
            return Ok(false);
        }
        let mut state = self.0.state.lock();
        while state.total.saturating_add(size) > bytes {
            let Some((oldest, length)) = state.sizes.pop_lru() else { break };
            state.total -= length;
            state.open.pop(&oldest);
            remove(&self.0.directory.join(name(&oldest)))?;
        }
        Ok(true)
    }
}

impl State {
    fn insert(&mut self, key: Key, size: u64, file: File) {
        self.total += size;
        if let Some((_, replaced)) = self.sizes.push(key, size) {
            self.total -= replaced;
        }
        self.open.push(key, Arc::new(file));
        if self.open.len() > OPEN {
            self.open.pop_lru();
        }
    }
}

/// The files on disk by when they were written. What cannot be listed is not counted.
fn oldest_first(directory: &Path) -> Vec<(Key, u64)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<(SystemTime, Key, u64)> = entries
        .flatten()
        .filter_map(|entry| {
            let key = key(entry.file_name().to_str()?)?;
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, key, metadata.len()))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, key, size)| (key, size)).collect()
}

/// The file at `path`, if it is there and has the digest of its name. A wrong one is removed.
fn verified(path: &Path, key: &Key) -> io::Result<Option<File>> {
    let file = match file::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if digest(&file)? == *key {
        return Ok(Some(file));
    }
    log::warn!("{} is damaged, and removed", path.display());
    remove(path).map(|()| None)
}

fn digest(file: &File) -> io::Result<Key> {
    let mut file = file;
    io::Seek::seek(&mut file, io::SeekFrom::Start(0))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(*hasher.finalize().as_bytes())
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn name(key: &Key) -> String {
    blake3::Hash::from_bytes(*key).to_hex().to_string()
}

pub(super) fn key(name: &str) -> Option<Key> {
    blake3::Hash::from_hex(name).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn key_of(bytes: &[u8]) -> Key {
        *blake3::hash(bytes).as_bytes()
    }

    fn keep(cache: &FileCache, bytes: &[u8]) {
        cache.keep(&key_of(bytes), bytes.len() as u64, |file| file.write_all_at(bytes, 0));
    }

    fn read(cache: &FileCache, bytes: &[u8]) -> Option<Vec<u8>> {
        let file = cache.get(&key_of(bytes))?;
        let mut read = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut read, 0).unwrap();
        Some(read)
    }

    fn limits(bytes: u64) -> Limits {
        Limits { bytes, reserve: 0 }
    }

    #[test]
    fn a_file_that_is_kept_is_there_and_others_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FileCache::new(directory.path().into(), limits(1000));
        keep(&cache, b"one");
        assert_eq!((read(&cache, b"one"), read(&cache, b"two")), (Some(b"one".to_vec()), None));
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FileCache::new(directory.path().into(), limits(10));
        for bytes in [b"one.", b"two."] {
            keep(&cache, bytes);
        }
        read(&cache, b"one.");
        keep(&cache, b"new.");
        let there = [b"one.", b"two.", b"new."].map(|bytes| read(&cache, bytes).is_some());
        assert_eq!(there, [true, false, true]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_too_large_for_the_cache_or_the_disk_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let small = FileCache::new(directory.path().into(), limits(2));
        let full = FileCache::new(directory.path().into(), Limits { bytes: 1000, reserve: u64::MAX });
        for cache in [small, full] {
            keep(&cache, b"one");
            assert_eq!(read(&cache, b"one"), None);
        }
    }

    #[test]
    fn a_full_disk_only_turns_the_cache_off() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FileCache::new(directory.path().into(), limits(1000));
        keep(&cache, b"one");
        cache.keep(&key_of(b"two"), 3, |_| Err(io::ErrorKind::StorageFull.into()));
        keep(&cache, b"two");
        assert_eq!((read(&cache, b"one").is_some(), read(&cache, b"two")), (true, None));
    }

    #[test]
    fn a_file_from_another_process_is_trusted_when_it_was_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |bytes: &[u8]| directory.path().join(name(&key_of(bytes)));
        std::fs::write(path(b"good"), b"good").unwrap();
        std::fs::write(path(b"bad"), b"dab").unwrap();
        let cache = FileCache::new(directory.path().into(), limits(1000));
        assert_eq!(read(&cache, b"good"), None);
        cache.keep(&key_of(b"good"), 4, |_| panic!("it is there"));
        assert_eq!(read(&cache, b"good"), Some(b"good".to_vec()));
        keep(&cache, b"bad");
        assert_eq!(read(&cache, b"bad"), Some(b"bad".to_vec()));
    }

    #[test]
    fn a_file_that_comes_out_wrong_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FileCache::new(directory.path().into(), limits(1000));
        cache.keep(&key_of(b"one"), 3, |file| file.write_all_at(b"two", 0));
        assert_eq!(read(&cache, b"one"), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
