//! Clearing up: blobs that no image reaches, and what can be made again. First it is decided what goes, then it goes.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::inventory::{Kept, regular_files};
use super::{ASIDE, BLOBS, Derived, Error, Exclusive, PARTIAL, Result, Store};
use crate::oci::Digest;

/// What is derived from a layer that was only ever read in place has no blob. It is kept while it is used.
const DERIVED_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// A temporary name is in use for the moment of a rename.
const TEMPORARY_AGE: Duration = Duration::from_secs(3600);
/// What of a blob has come is waited for over a night, to go on in the morning.
const PARTIAL_AGE: Duration = Duration::from_secs(24 * 3600);

/// How much of what can be made again goes, beside the blobs. Each reaches further than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// What was derived from the blobs that go, and what was not used for a week.
    Unused,
    /// All that was derived from something else than what stays.
    Orphans,
    /// Also the cache of whole files.
    Cache,
}

/// What images need of the store: documents, layers, and the chains of layers that merged trees are kept by.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Of the images that stay.
    pub live: HashSet<Digest>,
    /// Of those that go.
    pub gone: HashSet<Digest>,
}

/// What a sweep removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    pub blobs: Vec<Kept>,
    /// What can be made again, and what was left over.
    rest: Vec<(PathBuf, u64)>,
}

impl Sweep {
    /// All bytes that come free.
    pub fn bytes(&self) -> u64 {
        let blobs: u64 = self.blobs.iter().map(|blob| blob.size).sum();
        blobs + self.rest.iter().map(|(_, size)| size).sum::<u64>()
    }
}

impl Store {
    /// What goes of what is not live, with what was derived from it. The guard is taken before the needs are found out,
    /// so that nothing comes in between; what others have pinned is live too.
    pub fn plan_sweep(&self, guard: &Exclusive, needs: &Needs, reach: Reach) -> Result<Sweep> {
        let is_live = |digest: &Digest| needs.live.contains(digest) || guard.pinned().contains(digest);
        let blobs = self.blobs()?.into_iter().filter(|blob| !is_live(&blob.name)).collect();
        let mut sweep = Sweep { blobs, rest: Vec::new() };
        let mut gone: HashSet<Digest> = sweep.blobs.iter().map(|blob| blob.name).collect();
        gone.extend(&needs.gone);
        for kind in Derived::ALL {
            for (key, path, metadata) in self.named_by_digest(kind.directory())? {
                let goes =
                    reach >= Reach::Orphans || gone.contains(&key) || unused_for(&metadata, DERIVED_AGE);
                if goes && !is_live(&key) {
                    sweep.rest.push((path, metadata.len()));
                }
            }
        }
        for (digest, path, metadata) in self.named_by_digest(PARTIAL)? {
            // Whoever receives it has pinned it.
            let goes = reach >= Reach::Orphans || unused_for(&metadata, PARTIAL_AGE);
            if goes && !guard.pinned().contains(&digest) {
                sweep.rest.push((path, metadata.len()));
            }
        }
        self.plan_left_over(reach, &mut sweep)?;
        Ok(sweep)
    }

    /// What a killed process left, and the corrupt blobs that were set aside.
    fn plan_left_over(&self, reach: Reach, sweep: &mut Sweep) -> Result<()> {
        let mut goes = |(path, metadata): (PathBuf, Metadata)| sweep.rest.push((path, metadata.len()));
        let is_old = |(_, metadata): &(PathBuf, Metadata)| unused_for(metadata, TEMPORARY_AGE);
        regular_files(&self.temporary())?.into_iter().filter(is_old).for_each(&mut goes);
        regular_files(&self.path(ASIDE))?.into_iter().for_each(&mut goes);
        if reach >= Reach::Cache {
            regular_files(&self.files_directory())?.into_iter().for_each(goes);
        }
        Ok(())
    }

    /// Removes what can be made again. It comes first, and needs no room: it makes some for what has to be written.
    pub fn sweep_derived(&self, _guard: &Exclusive, sweep: &Sweep) -> Result<()> {
        sweep.rest.iter().try_for_each(|(path, _)| remove(path))
    }

    /// Removes the blobs, which nothing leads to any more.
    pub fn sweep_blobs(&self, _guard: &Exclusive, sweep: &Sweep) -> Result<()> {
        sweep.blobs.iter().try_for_each(|blob| remove(&self.path(BLOBS).join(blob.name.hex())))
    }
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
