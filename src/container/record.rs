//! Containers on disk: a directory each below `plyfs/containers` of the store, with what was asked for, what became of
//! it, its log and its bundle. Who runs a container holds a lock in it; whether it runs is asked of the kernel, so what
//! was killed at any moment is known and cleared away.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::wanted::invalid;
use super::{Error, ROOTFS, Wanted, doing};
use crate::mount::{self, Uppers};
use crate::oci::{Digest, RunConfig};
use crate::sys::file::{self, Sharing};
use crate::sys::process;

const RECORD: &str = "container.json";
const STATUS: &str = "status.json";
const LOCK: &str = "lock";
/// Of the image, where there is no FUSE; as long as the container runs.
const COPY: &str = "copy";
const DAEMON_LOG: &str = "daemon.log";
/// Held while a name is taken.
const NAMES: &str = ".names";
/// What is being made or removed has a hidden name.
const HIDDEN: char = '.';
const STAGED: &str = ".new-";
const GONE: &str = ".gone-";
const LONGEST_NAME: usize = 64;
const PAUSE: Duration = Duration::from_millis(5);
/// What a process that was killed leaves as its code.
const KILLED: u8 = 137;

/// What was asked for; it never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The image, as it is shown.
    pub image: String,
    /// By what the image is opened again.
    pub opened_by: String,
    /// Which of the image's.
    pub platform: Option<String>,
    /// What of the store is in use: the manifest, the config, the layers.
    pub digests: Vec<Digest>,
    /// Seconds since 1970.
    pub created: u64,
    pub args: Vec<String>,
    pub config: RunConfig,
    pub wanted: Wanted,
    /// By name or path; none: the first there is.
    pub runtime: Option<String>,
    /// It goes when it ends.
    pub remove: bool,
    pub stop_signal: i32,
    pub stop_timeout: u64,
    pub labels: Vec<(String, String)>,
}

impl Container {
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// 64 digits, as docker's ids have.
    pub fn new_id() -> String {
        let mut bytes = [0u8; 32];
        let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        match random {
            Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Err(_) => Digest::of(format!("{:?} {}", SystemTime::now(), std::process::id()).as_bytes()).hex(),
        }
    }

    pub fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// What became of it, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running(Running),
    Exited { code: u8, since: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The first process of the container, as it is counted outside, and when it was started.
    pub process: u32,
    pub ticks: u64,
    /// The process in whose namespaces all this is.
    pub init: u32,
    pub init_ticks: u64,
    pub since: u64,
}

/// What it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Created,
    Running(Running),
    Exited { code: u8, since: u64 },
}

/// A container that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub container: Container,
    pub state: State,
    pub directory: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Containers {
    store: PathBuf,
    directory: PathBuf,
}

impl Containers {
    pub fn of_store(root: &Path) -> Self {
        Self { store: root.to_owned(), directory: root.join("plyfs/containers") }
    }

    /// Writes it down under its name, held by this process.
    pub fn create(&self, container: Container) -> Result<Held, Error> {
        let making = format!("making container {}", container.name);
        file::create_private(&self.directory).map_err(doing(making.clone()))?;
        let _names = self.lock_names()?;
        self.clear_left();
        self.refuse_taken(&container.name)?;
        let staged = self.directory.join(format!("{STAGED}{}", container.id));
        let lock = fill(&staged, &container).map_err(doing(making.clone()))?;
        let directory = self.directory.join(&container.id);
        fs::rename(&staged, &directory).map_err(doing(making))?;
        Ok(Held { store: self.store.clone(), directory, container, lock })
    }

    /// Removes what killed processes left half made, which takes the lock on names, or half removed.
    fn clear_left(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with(STAGED) && !name.starts_with(GONE) {
                continue;
            }
            if let Err(error) = mount::remove(&entry.path()) {
                log::warn!("removing {}: {error}", entry.path().display());
            }
        }
    }

    fn lock_names(&self) -> Result<File, Error> {
        let locked = file::open_lock(&self.directory.join(NAMES));
        let locked = locked.and_then(|lock| file::lock(&lock, Sharing::Exclusive).map(|()| lock));
        locked.map_err(doing("locking the containers' names"))
    }

    fn refuse_taken(&self, name: &str) -> Result<(), Error> {
        if name.len() > LONGEST_NAME {
            return Err(invalid("name", name, "it is too long"));
        }
        let taken = |by: String| Err(Error::NameTaken { name: name.to_owned(), by });
        if let Some(other) = self.list()?.iter().find(|other| other.container.name == name) {
            return taken(format!("container {}", other.container.short_id()));
        }
        match Uppers::of_store(&self.store).get(name) {
            Ok(_) => taken("an upper".to_owned()),
            Err(mount::Error::NoUpper(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The newest first. What a killed process left is cleared away first.
    pub fn list(&self) -> Result<Vec<Found>, Error> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(doing("listing containers")(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(doing("listing containers"))?;
            if entry.file_name().to_string_lossy().starts_with(HIDDEN) {
                continue;
            }
            match self.read(&entry.path()) {
                Ok(one) => found.extend(one),
                Err(error) => log::warn!("container {}: {error}", entry.file_name().display()),
            }
        }
        found.sort_by(|a, b| {
            (b.container.created, &b.container.id).cmp(&(a.container.created, &a.container.id))
        });
        Ok(found)
    }

    /// `None`: it is gone, or goes now.
    fn read(&self, directory: &Path) -> Result<Option<Found>, Error> {
        let reading = || doing(format!("reading {}", directory.display()));
        let Some(container) = read_json::<Container>(&directory.join(RECORD)).map_err(reading())? else {
            return Ok(None);
        };
        let lock = match open_lock(directory) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(reading()(error)),
        };
        let free = file::try_lock(&lock, Sharing::Exclusive).map_err(reading())?;
        let status = read_json(&directory.join(STATUS)).map_err(reading())?.unwrap_or(Status::Created);
        let directory = directory.to_owned();
        if free && !matches!(status, Status::Exited { .. }) {
            let held = Held { store: self.store.clone(), directory: directory.clone(), container, lock };
            let container = held.container.clone();
            return Ok(held.settle(KILLED)?.map(|state| Found { container, state, directory }));
        }
        let state = match status {
            Status::Created => State::Created,
            Status::Running(running) => State::Running(running),
            Status::Exited { code, since } => State::Exited { code, since },
        };
        Ok(Some(Found { container, state, directory }))
    }

    /// By its name, its id, or the start of one.
    pub fn find(&self, wanted: &str) -> Result<Found, Error> {
        let all = self.list()?;
        let exact = |found: &&Found| found.container.name == wanted || found.container.id == wanted;
        if let Some(found) = all.iter().find(exact) {
            return Ok(found.clone());
        }
        let mut starts =
            all.into_iter().filter(|found| !wanted.is_empty() && found.container.id.starts_with(wanted));
        match (starts.next(), starts.next()) {
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => Err(Error::Ambiguous(wanted.to_owned())),
            (None, _) => Err(Error::NoSuch(wanted.to_owned())),
        }
    }

    /// Takes it, to run it again or to remove it.
    pub fn hold(&self, found: &Found) -> Result<Held, Error> {
        let name = &found.container.name;
        let lock = match open_lock(&found.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NoSuch(name.clone())),
            opened => opened.map_err(doing(format!("opening the lock of container {name}")))?,
        };
        let locking = doing(format!("locking container {name}"));
        match file::try_lock(&lock, Sharing::Exclusive).map_err(locking)? {
            true => {
                let (directory, container) = (found.directory.clone(), found.container.clone());
                Ok(Held { store: self.store.clone(), directory, container, lock })
            }
            false => Err(Error::StillRunning(name.clone())),
        }
    }
}

impl Found {
    pub fn running(&self) -> Result<&Running, Error> {
        match &self.state {
            State::Running(running) => Ok(running),
            _ => Err(Error::NotRunning(self.container.name.clone())),
        }
    }

    /// Whether it ended in time.
    pub fn wait_for(&self, patience: Duration) -> Result<bool, Error> {
        let waiting = || doing(format!("waiting for container {}", self.container.name));
        let lock = match File::open(self.directory.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            opened => opened.map_err(waiting())?,
        };
        let deadline = Instant::now() + patience;
        while !file::try_lock(&lock, Sharing::Shared).map_err(waiting())? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
        Ok(true)
    }

    /// Sleeps until it has ended: its code.
    pub fn wait(&self) -> Result<u8, Error> {
        if let State::Exited { code, .. } = self.state {
            return Ok(code);
        }
        let waiting = || doing(format!("waiting for container {}", self.container.name));
        let mut lock = File::open(self.directory.join(LOCK)).map_err(waiting())?;
        file::lock(&lock, Sharing::Shared).map_err(waiting())?;
        // The code is in the lock too: the rest may be gone with the container.
        let mut text = String::new();
        lock.seek(SeekFrom::Start(0)).and_then(|_| lock.read_to_string(&mut text)).map_err(waiting())?;
        Ok(text.trim().parse().unwrap_or(KILLED))
    }
}

/// The lock of a container that is there: none is made.
fn open_lock(directory: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(directory.join(LOCK))
}

fn fill(directory: &Path, container: &Container) -> io::Result<File> {
    file::create_private(directory)?;
    fs::create_dir(directory.join(ROOTFS))?;
    let lock = file::open_lock(&directory.join(LOCK))?;
    file::lock(&lock, Sharing::Exclusive)?;
    fs::write(directory.join(RECORD), serde_json::to_vec_pretty(container)?)?;
    Ok(lock)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A container that this process, and those it forks, may run or remove; nobody else does meanwhile.
#[derive(Debug)]
pub struct Held {
    store: PathBuf,
    pub directory: PathBuf,
    pub container: Container,
    lock: File,
}

impl Held {
    /// For a process that was forked: both hold it.
    pub fn share(&self) -> io::Result<Self> {
        let (store, directory) = (self.store.clone(), self.directory.clone());
        Ok(Self { store, directory, container: self.container.clone(), lock: self.lock.try_clone()? })
    }

    /// Where the image can be copied to: an empty directory, which goes when the container ends.
    pub fn make_copy(&self) -> Result<PathBuf, Error> {
        let copy = self.directory.join(COPY);
        let making = || doing(format!("making {}", copy.display()));
        // A killed run's.
        mount::remove(&copy).map_err(making())?;
        fs::create_dir(&copy).map_err(making())?;
        Ok(copy)
    }

    pub fn rootfs(&self) -> PathBuf {
        self.directory.join(ROOTFS)
    }

    /// Where the store keeps what is written.
    pub fn uppers(&self) -> PathBuf {
        Uppers::of_store(&self.store).directory().to_owned()
    }

    /// Where the container's own processes of plyfs say what they have to say.
    pub fn log_of_daemon(&self) -> PathBuf {
        self.directory.join(DAEMON_LOG)
    }

    pub fn daemon_log(&self) -> io::Result<File> {
        File::options().append(true).create(true).open(self.log_of_daemon())
    }

    pub fn set(&self, status: &Status) -> Result<(), Error> {
        let writing = || doing(format!("writing the status of container {}", self.container.name));
        let new = self.directory.join(format!("{HIDDEN}{STATUS}"));
        let bytes = serde_json::to_vec(status).map_err(|error| writing()(error.into()))?;
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, self.directory.join(STATUS))).map_err(writing())
    }

    pub fn set_running(&self, process: u32, init: u32) -> Result<(), Error> {
        let asking = || doing("asking when a process was started");
        let (ticks, init_ticks) =
            (process::started_at(process).map_err(asking())?, process::started_at(init).map_err(asking())?);
        self.set(&Status::Running(Running { process, ticks, init, init_ticks, since: Container::now() }))
    }

    /// It has ended: that is written down, or it is removed if it was to be. To be called while there is one thread.
    pub fn settle(mut self, code: u8) -> Result<Option<State>, Error> {
        let writing = doing(format!("writing the exit code of container {}", self.container.name));
        self.lock
            .set_len(0)
            .and_then(|()| self.lock.seek(SeekFrom::Start(0)).map(drop))
            .and_then(|()| writeln!(self.lock, "{code}"))
            .map_err(writing)?;
        super::runtime::clear_state(&self.directory, &self.container.id);
        mount::remove(&self.directory.join(COPY))
            .map_err(doing("removing the container's copy of the image"))?;
        if self.container.remove {
            return self.remove().map(|()| None);
        }
        let since = Container::now();
        self.set(&Status::Exited { code, since })?;
        Ok(Some(State::Exited { code, since }))
    }

    /// Removes it with all that was written in it. To be called while there is one thread.
    pub fn remove(self) -> Result<(), Error> {
        let removing = || doing(format!("removing container {}", self.container.name));
        match Uppers::of_store(&self.store).remove(&self.container.name) {
            Ok(()) | Err(mount::Error::NoUpper(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let gone = self.directory.with_file_name(format!("{GONE}{}", self.container.id));
        match fs::rename(&self.directory, &gone) {
            // Another process removed it just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(removing())?,
        }
        mount::remove(&gone).map_err(removing())
    }
}
