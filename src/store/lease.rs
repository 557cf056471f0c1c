//! Who is in the store. While a [`Lease`] lives, whatever its holder puts into the store or finds there is pinned, and
//! no sweep takes it: an image that comes in is not reachable yet, and one that is being opened may lose its name.
//!
//! A lease is a file below `plyfs/leases`, locked as long as its process lives, with a digest for each thing that is
//! pinned. A digest is written before its file is looked for, under the gate (a lock on `plyfs/lease`, shared by those
//! who pin). A sweep has the gate to itself from before it reads the leases until it is done: what it removes was
//! pinned by nobody, and whoever looks for it later finds nothing.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::inventory::regular_files;
use super::{Error, LEASE, LEASES, LOCK, Result, Store};
use crate::oci::Digest;
use crate::sys::file::{self, Sharing};

const DIGEST: usize = 32;
/// How long a sweep waits at the gate. Whoever pins is through in a moment; who cannot write there stays in it.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

/// While it lives, what this handle on the store and its clones put there or find there stays.
#[derive(Debug)]
pub struct Lease {
    /// `None` in a layout on a read-only file system that no plyfs has written to: nothing can be removed there.
    _held: Option<Arc<Held>>,
}

/// The lease of a handle on the store, if it has one.
pub(super) type Leased = Arc<Mutex<Weak<Held>>>;

#[derive(Debug)]
pub(super) struct Held {
    gate: File,
    pins: Mutex<Pins>,
}

#[derive(Debug)]
enum Pins {
    /// What is pinned, as it was written to the file.
    Written { path: PathBuf, file: File, digests: HashSet<Digest> },
    /// Nothing can be written, so the gate is kept: nothing at all is removed.
    Everything,
}

/// The right to sweep: nobody pins anything meanwhile.
#[derive(Debug)]
pub struct Exclusive {
    _gate: File,
    pinned: HashSet<Digest>,
}

impl Exclusive {
    /// What the leases of other processes pin.
    pub fn pinned(&self) -> &HashSet<Digest> {
        &self.pinned
    }
}

/// While it lives, no other process changes the names.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Store {
    /// Waits only for a sweep that is under way. A handle that has a lease gets the same one again.
    pub fn lease(&self) -> Result<Lease> {
        let mut leased = self.leased.lock();
        if let Some(held) = leased.upgrade() {
            return Ok(Lease { _held: Some(held) });
        }
        let path = self.path(LEASE);
        let gate = match file::open_lock(&path) {
            Ok(gate) => gate,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lease { _held: None }),
            Err(error) => return Err(Error::at("opening", &path)(error)),
        };
        let held = Arc::new(Held::begin(gate, &self.path(LEASES)).map_err(Error::at("locking", &path))?);
        *leased = Arc::downgrade(&held);
        Ok(Lease { _held: Some(held) })
    }

    /// Keeps what is called `digest`, there or to come, from being removed while this handle has a lease.
    pub(super) fn pin(&self, digest: &Digest) -> Result<()> {
        let held = self.leased.lock().upgrade();
        held.map_or(Ok(()), |held| held.pin(digest)).map_err(Error::at("pinning in", &self.path(LEASES)))
    }

    /// The right to sweep. [`Error::InUse`] where it does not come free: a long load is not waited for.
    pub fn exclusive(&self) -> Result<Exclusive> {
        let path = self.path(LEASE);
        let gate = file::open_lock(&path).map_err(Error::at("opening", &path))?;
        let deadline = Instant::now() + PATIENCE;
        while !file::try_lock(&gate, Sharing::Exclusive).map_err(Error::at("locking", &path))? {
            if Instant::now() > deadline {
                return Err(Error::InUse);
            }
            thread::sleep(PAUSE);
        }
        Ok(Exclusive { _gate: gate, pinned: pinned(&self.path(LEASES))? })
    }

    pub(super) fn lock(&self) -> Result<Lock> {
        let path = self.path(LOCK);
        let file = file::open_lock(&path).map_err(Error::at("opening", &path))?;
        file::lock(&file, Sharing::Exclusive).map_err(Error::at("locking", &path))?;
        Ok(Lock { _file: file })
    }
}

impl Held {
    /// The file is made and locked within the gate: a sweep never sees it free.
    fn begin(gate: File, directory: &Path) -> io::Result<Self> {
        file::lock(&gate, Sharing::Shared)?;
        let begun = file::create_named(directory).and_then(|(path, file)| {
            file::try_lock(&file, Sharing::Exclusive)?;
            Ok(Pins::Written { path, file, digests: HashSet::new() })
        });
        let pins = match begun {
            Ok(pins) => {
                file::unlock(&gate)?;
                pins
            }
            Err(error) => {
                log::debug!("no lease in {}: {error}; nothing is removed meanwhile", directory.display());
                Pins::Everything
            }
        };
        Ok(Self { gate, pins: Mutex::new(pins) })
    }

    fn pin(&self, digest: &Digest) -> io::Result<()> {
        let mut pins = self.pins.lock();
        let Pins::Written { path, file, digests } = &mut *pins else { return Ok(()) };
        if !digests.insert(*digest) {
            return Ok(());
        }
        file::lock(&self.gate, Sharing::Shared)?;
        match file.write_all(digest.as_bytes()) {
            Ok(()) => file::unlock(&self.gate),
            Err(error) => {
                log::debug!("{}: {error}; nothing is removed meanwhile", path.display());
                remove(path);
                *pins = Pins::Everything;
                Ok(())
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Pins::Written { path, .. } = self.pins.get_mut() {
            remove(path);
        }
    }
}

fn remove(lease: &Path) {
    if let Err(error) = std::fs::remove_file(lease) {
        log::warn!("removing {}: {error}", lease.display());
    }
}

/// What the leases of living processes pin. Those of dead ones go.
fn pinned(directory: &Path) -> Result<HashSet<Digest>> {
    let mut pinned = HashSet::new();
    for (path, _) in regular_files(directory)? {
        pinned.extend(pinned_by(&path).map_err(Error::at("reading", &path))?);
    }
    Ok(pinned)
}

fn pinned_by(path: &Path) -> io::Result<Vec<Digest>> {
    let mut file = match file::open_regular(path) {
        Ok(file) => file,
        // It ended just now, and what it brought has a name.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if file::try_lock(&file, Sharing::Exclusive)? {
        std::fs::remove_file(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let (digests, _cut) = bytes.as_chunks::<DIGEST>();
    Ok(digests.iter().copied().map(Digest::from_bytes).collect())
}
