//! Files that appear whole or not at all: written without a name, then linked to one; and locks on files.
//!
//! Where the file system has no unnamed files (`O_TMPFILE`) or there is no `/proc` to link them by, the bytes are
//! copied to a temporary name and renamed. Such names are the only thing a killed process can leave.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// What becomes of a file that already has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Replace,
}

/// A new file on the file system of `directory`, to be read and written, with no name. It is gone when it is closed.
pub fn create_unnamed(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => Ok(File::from(file)),
        Err(error) if lacks_unnamed(error) => {
            let (path, file) = create_named(directory)?;
            std::fs::remove_file(path)?;
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}

/// An old kernel takes the flag for `O_DIRECTORY` and says EISDIR.
fn lacks_unnamed(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS)
}

/// A path to an open file, wherever it is and whether or not it has a name.
pub fn path_of(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Gives `file`, from [`create_unnamed`], the name `path`. `temporary` is a directory on the same file system.
pub fn publish(file: &mut File, path: &Path, temporary: &Path, existing: Existing) -> io::Result<()> {
    match link(file, path) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) if existing == Existing::Keep => Ok(()),
        Err(Errno::EXIST) => replace(file, path, temporary),
        Err(_) => copy_and_rename(file, path, temporary),
    }
}

fn replace(file: &mut File, path: &Path, temporary: &Path) -> io::Result<()> {
    let staged = temporary_path(temporary);
    match link(file, &staged) {
        Ok(()) => rename_or_remove(&staged, path),
        Err(_) => copy_and_rename(file, path, temporary),
    }
}

fn copy_and_rename(file: &mut File, path: &Path, temporary: &Path) -> io::Result<()> {
    let (staged, mut copy) = create_named(temporary)?;
    let copied =
        file.seek(SeekFrom::Start(0)).and_then(|_| io::copy(file, &mut copy)).and_then(|_| copy.sync_all());
    match copied {
        Ok(()) => rename_or_remove(&staged, path),
        Err(error) => Err(removing(&staged, error)),
    }
}

fn link(file: &File, path: &Path) -> Result<(), Errno> {
    let by_proc = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    match rustix::fs::linkat(CWD, by_proc, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Err(Errno::NOENT) => rustix::fs::linkat(file, "", CWD, path, AtFlags::EMPTY_PATH),
        linked => linked,
    }
}

fn rename_or_remove(staged: &Path, path: &Path) -> io::Result<()> {
    std::fs::rename(staged, path).map_err(|error| removing(staged, error))
}

/// The error that led here, once the temporary name is gone.
fn removing(staged: &Path, error: io::Error) -> io::Error {
    if let Err(also) = std::fs::remove_file(staged) {
        log::warn!("removing {}: {also}", staged.display());
    }
    error
}

/// Replaces the file at `path` by `bytes`; a reader sees the old or the new, and after a power cut too.
pub fn write_whole(path: &Path, bytes: &[u8], temporary: &Path) -> io::Result<()> {
    let (staged, mut file) = create_named(temporary)?;
    let written = io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all());
    match written {
        Ok(()) => rename_or_remove(&staged, path)?,
        Err(error) => return Err(removing(&staged, error)),
    }
    sync_directory(directory_of(path))
}

/// A new file by a name that nothing has.
pub fn create_named(directory: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let path = temporary_path(directory);
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path, file)),
        }
    }
}

/// A name that no other process has: its number, a count, and the time.
fn temporary_path(directory: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    directory.join(format!("{}-{count}-{:x}", std::process::id(), now.as_nanos()))
}

/// The directory that a name is in, as it can be opened: of a bare name the current one.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a directory outlive a power cut.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems cannot, and have nothing to sync.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Opens a regular file, and nothing else: no symlink, no device, no pipe that would block.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    Ok(file)
}

/// Makes a directory for its owner alone, and whatever is missing above it.
pub fn create_private(directory: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// How a lock is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    Exclusive,
}

/// Waits for the lock on `file`. It is held until every copy of the descriptor is closed.
pub fn lock(file: impl AsFd, sharing: Sharing) -> io::Result<()> {
    let operation = match sharing {
        Sharing::Shared => FlockOperation::LockShared,
        Sharing::Exclusive => FlockOperation::LockExclusive,
    };
    Ok(rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation))?)
}

/// Takes the lock on `file` if that needs no waiting; tells whether it did.
pub fn try_lock(file: impl AsFd, sharing: Sharing) -> io::Result<bool> {
    let operation = match sharing {
        Sharing::Shared => FlockOperation::NonBlockingLockShared,
        Sharing::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives the lock back before the file is closed.
pub fn unlock(file: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::Unlock))?)
}

/// Opens the file that a lock is on, making it if it is absent. For reading is enough: a lock needs no more.
pub fn open_lock(path: &Path) -> io::Result<File> {
    match OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path) {
        Err(error) if matches!(error.raw_os_error(), Some(code) if is_read_only(code)) => open_regular(path),
        opened => opened,
    }
}

fn is_read_only(code: i32) -> bool {
    [Errno::ROFS, Errno::ACCESS].iter().any(|error| error.raw_os_error() == code)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn listing(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn an_unnamed_file_appears_only_when_it_is_published() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut file = create_unnamed(directory.path()).unwrap();
        file.write_all(b"one").unwrap();
        assert_eq!(listing(directory.path()), [""; 0]);
        publish(&mut file, &path, directory.path(), Existing::Keep).unwrap();
        assert_eq!((listing(directory.path()), text(&path)), (vec!["a".to_owned()], "one".to_owned()));
    }

    #[test]
    fn what_has_the_name_is_kept_or_replaced_as_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for (bytes, existing, expected) in [
            ("one", Existing::Keep, "one"),
            ("two", Existing::Keep, "one"),
            ("three", Existing::Replace, "three"),
        ] {
            let mut file = create_unnamed(directory.path()).unwrap();
            file.write_all(bytes.as_bytes()).unwrap();
            publish(&mut file, &path, directory.path(), existing).unwrap();
            assert_eq!((listing(directory.path()), text(&path)), (vec!["a".to_owned()], expected.to_owned()));
        }
    }

    #[test]
    fn a_file_that_cannot_be_linked_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let (named, mut file) = create_named(directory.path()).unwrap();
        std::fs::remove_file(named).unwrap();
        file.write_all(b"bytes").unwrap();
        publish(&mut file, &path, directory.path(), Existing::Replace).unwrap();
        assert_eq!((listing(directory.path()), text(&path)), (vec!["a".to_owned()], "bytes".to_owned()));
    }

    #[test]
    fn a_file_is_written_whole_over_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write_whole(&path, b"one", directory.path()).unwrap();
        let mut old = File::open(&path).unwrap();
        write_whole(&path, b"two", directory.path()).unwrap();
        let mut before = String::new();
        old.read_to_string(&mut before).unwrap();
        assert_eq!((before.as_str(), text(&path).as_str()), ("one", "two"));
        assert_eq!(listing(directory.path()), ["a"]);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        rustix::fs::mknodat(CWD, path("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(open_regular(&path("file")).is_ok());
        for other in ["link", "pipe", ".", "absent"] {
            assert!(open_regular(&path(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn an_exclusive_lock_keeps_all_others_out_and_shared_ones_go_together() {
        let directory = tempfile::tempdir().unwrap();
        let open = || open_lock(&directory.path().join("lock")).unwrap();
        let (one, two, three) = (open(), open(), open());
        assert!(try_lock(&one, Sharing::Shared).unwrap());
        assert!(try_lock(&two, Sharing::Shared).unwrap());
        assert!(!try_lock(&three, Sharing::Exclusive).unwrap());
        drop((one, two));
        assert!(try_lock(&three, Sharing::Exclusive).unwrap());
        assert!(!try_lock(open(), Sharing::Shared).unwrap());
    }
}
