//! Clearing up: blobs that no image reaches, and what was derived from them.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ASIDE, BLOBS, Derived, Error, Exclusive, Result, Store};
use crate::oci::Digest;

/// What is derived from a layer that was only ever read in place has no blob. It is kept while it is used.
const DERIVED_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// A temporary name is in use for the moment of a rename.
const TEMPORARY_AGE: Duration = Duration::from_secs(3600);

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The blobs, each with its size.
    pub blobs: Vec<(Digest, u64)>,
    /// All bytes that were freed, with those of derived and left-over files.
    pub bytes: u64,
}

impl Store {
    /// Removes what is not `live`. The guard is taken before `live` is found out, so that nothing comes in between.
    pub fn sweep(&self, _guard: &Exclusive, live: &HashSet<Digest>) -> Result<Swept> {
        let mut swept = Swept::default();
        for (digest, path, metadata) in self.named_by_digest(BLOBS)? {
            if !live.contains(&digest) {
                remove(&path)?;
                swept.blobs.push((digest, metadata.len()));
            }
        }
        swept.bytes = swept.blobs.iter().map(|(_, size)| size).sum();
        let removed: HashSet<Digest> = swept.blobs.iter().map(|(digest, _)| *digest).collect();
        swept.bytes += self.sweep_derived(live, &removed)?;
        swept.bytes += self.sweep_left_over()?;
        Ok(swept)
    }

    fn sweep_derived(&self, live: &HashSet<Digest>, removed: &HashSet<Digest>) -> Result<u64> {
        let mut freed = 0;
        for kind in Derived::ALL {
            for (key, path, metadata) in self.named_by_digest(kind.directory())? {
                let orphan = removed.contains(&key) || unused_for(&metadata, DERIVED_AGE);
                if orphan && !live.contains(&key) {
                    remove(&path)?;
                    freed += metadata.len();
                }
            }
        }
        Ok(freed)
    }

    /// What a killed process left, and the corrupt blobs that were set aside.
    fn sweep_left_over(&self) -> Result<u64> {
        let mut freed = 0;
        for (path, metadata) in files(&self.temporary())? {
            if unused_for(&metadata, TEMPORARY_AGE) {
                remove(&path)?;
                freed += metadata.len();
            }
        }
        for (path, metadata) in files(&self.path(ASIDE))? {
            remove(&path)?;
            freed += metadata.len();
        }
        Ok(freed)
    }

    /// The files of a directory that a digest names; anything else there is not ours to judge.
    fn named_by_digest(&self, directory: &str) -> Result<Vec<(Digest, PathBuf, Metadata)>> {
        let named = |(path, metadata): (PathBuf, Metadata)| {
            let digest = format!("sha256:{}", path.file_name()?.to_str()?).parse().ok()?;
            Some((digest, path, metadata))
        };
        let mut found: Vec<_> = files(&self.path(directory))?.into_iter().filter_map(named).collect();
        found.sort_by_key(|(digest, ..)| *digest);
        Ok(found)
    }
}

fn files(directory: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(Error::at("listing", directory))? {
        let path = entry.map_err(Error::at("listing", directory))?.path();
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => found.push((path, metadata)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::at("looking at", &path)(error)),
        }
    }
    Ok(found)
}

/// By the later of reading and writing; a clock that was set back counts as just now.
fn unused_for(metadata: &Metadata, age: Duration) -> bool {
    let times = [metadata.accessed(), metadata.modified()];
    let last = times.into_iter().flatten().max();
    last.is_some_and(|last| last.elapsed().is_ok_and(|elapsed| elapsed > age))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at("removing", path)(error)),
        _ => Ok(()),
    }
}
