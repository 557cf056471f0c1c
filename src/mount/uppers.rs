//! Uppers that the store keeps by name, each a directory below `plyfs/uppers`: `upper` and `work` as overlayfs has
//! them, and `image`, which says over what. One is absent or whole: it is made and taken away under a hidden name.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::overlay::UpperPaths;
use super::place::plain_name;
use super::{Error, Options, doing, removal};
use crate::oci::Digest;
use crate::sys::file::{self, Sharing};
use crate::union::upper::Namespace;

const UPPER: &str = "upper";
const WORK: &str = "work";
const BASE: &str = "image";
const LONGEST_NAME: usize = 128;
/// Names that no upper has: of the lock, of what is being made, of what is being removed.
const LOCK: &str = ".lock";
const STAGED: &str = ".new-";
const GONE: &str = ".gone-";

#[derive(Clone, Debug)]
pub struct Uppers {
    directory: PathBuf,
}

/// What an upper is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The image, as the user named it: it is opened by this name again.
    pub wanted: String,
    /// The same, as it is shown.
    pub image: String,
    pub manifest: Digest,
    /// What of the store the upper needs: the manifest, the config, the layers.
    pub digests: Vec<Digest>,
    pub root: Root,
    /// Private attributes are `user.` ones: it was asked for, or no others could be set where the upper was made.
    pub userxattr: bool,
    /// Seconds since 1970.
    pub since: u64,
}

/// How the image's root is shown: the upper's stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    pub mode: u16,
    pub user: u32,
    pub group: u32,
    /// Its mtime: seconds since 1970, and nanoseconds.
    #[serde(default)]
    pub modified: (i64, u32),
}

impl Base {
    pub fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// An upper that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub name: String,
    pub base: Base,
    directory: PathBuf,
}

impl Kept {
    pub fn paths(&self) -> UpperPaths {
        UpperPaths { upper: self.directory.join(UPPER), work: self.directory.join(WORK) }
    }

    /// What a mount of it asks for, besides what `options` do.
    pub fn options(&self, options: &Options) -> Options {
        Options { namespace: Some(self.namespace()), kept: true, ..options.clone() }
    }

    pub fn namespace(&self) -> Namespace {
        if self.base.userxattr { Namespace::User } else { Namespace::Trusted }
    }

    /// Whether a mount writes to it.
    pub fn is_in_use(&self) -> Result<bool, Error> {
        let upper = self.paths().upper;
        let opened = fs::File::open(&upper).map_err(doing(format!("opening {}", upper.display())))?;
        file::try_lock(&opened, Sharing::Exclusive).map(|free| !free).map_err(doing("locking an upper"))
    }

    /// The bytes its files take on disk, as far as they can be seen.
    pub fn size(&self) -> io::Result<u64> {
        disk_usage(&self.paths().upper)
    }

    /// That this image is the one it is over: what it lacks is in no other.
    pub fn check_base(&self, manifest: Digest) -> Result<(), Error> {
        match self.base.manifest == manifest {
            true => Ok(()),
            false => Err(Error::OtherImage { name: self.name.clone(), image: self.base.image.clone() }),
        }
    }

    pub fn refuse_in_use(&self) -> Result<(), Error> {
        match self.is_in_use()? {
            true => Err(Error::UpperInUse(self.name.clone())),
            false => Ok(()),
        }
    }
}

impl Uppers {
    pub fn of_store(root: &Path) -> Self {
        Self { directory: root.join("plyfs/uppers") }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of an upper whose user gave none.
    pub fn name_for(image: &str) -> String {
        plain_name(image)
    }

    /// The upper of this name over this image; it is made where there is none.
    pub fn open(&self, name: &str, base: &Base) -> Result<Kept, Error> {
        match self.get(name) {
            Ok(kept) => kept.check_base(base.manifest).map(|()| kept),
            Err(Error::NoUpper(_)) => self.make(name, base),
            Err(error) => Err(error),
        }
    }

    pub fn get(&self, name: &str) -> Result<Kept, Error> {
        let directory = self.directory.join(checked(name)?);
        let bytes = match fs::read(directory.join(BASE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoUpper(name.to_owned()));
            }
            Err(error) => return Err(doing(format!("reading what upper {name} is over"))(error)),
        };
        let base = serde_json::from_slice(&bytes)
            .map_err(|error| doing(format!("reading what upper {name} is over"))(error.into()))?;
        Ok(Kept { name: name.to_owned(), base, directory })
    }

    /// All of them, by name.
    pub fn list(&self) -> Result<Vec<Kept>, Error> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(doing("listing uppers")(error)),
        };
        let mut kept = Vec::new();
        for entry in entries {
            let name = entry.map_err(doing("listing uppers"))?.file_name();
            let Some(name) = name.to_str().filter(|name| checked(name).is_ok()) else { continue };
            match self.get(name) {
                Ok(upper) => kept.push(upper),
                Err(error) => log::warn!("{error}"),
            }
        }
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(kept)
    }

    fn make(&self, name: &str, base: &Base) -> Result<Kept, Error> {
        let directory = self.directory.join(checked(name)?);
        let _making = self.lock()?;
        self.clear_left();
        let staged = self.directory.join(format!("{STAGED}{name}"));
        let base = fill(&staged, base).map_err(doing(format!("making upper {name}")))?;
        fs::rename(&staged, &directory).map_err(doing(format!("making upper {name}")))?;
        Ok(Kept { name: name.to_owned(), base, directory })
    }

    /// While it is held, nobody else makes one, or gives one that is removed its hidden name.
    fn lock(&self) -> Result<fs::File, Error> {
        file::create_private(&self.directory)
            .map_err(doing(format!("making {}", self.directory.display())))?;
        let lock = file::open_lock(&self.directory.join(LOCK)).map_err(doing("opening the uppers' lock"))?;
        file::lock(&lock, Sharing::Exclusive).map_err(doing("locking the uppers"))?;
        Ok(lock)
    }

    /// Removes what killed processes left half made or half removed. What another user's ids own is left.
    fn clear_left(&self) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let hidden = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with(STAGED) || name.starts_with(GONE)
        };
        for path in entries.map(|entry| entry.path()).filter(hidden) {
            if let Err(error) = removal::remove_own(&path) {
                log::debug!("removing {}: {error}", path.display());
            }
        }
    }

    /// Gives it a hidden name that no other has.
    fn hide(&self, kept: &Kept) -> Result<PathBuf, Error> {
        let _removing = self.lock()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let gone = self.directory.join(format!("{GONE}{now:x}-{}", kept.name));
        fs::rename(&kept.directory, &gone).map_err(doing(format!("removing upper {}", kept.name)))?;
        Ok(gone)
    }

    /// Takes it away with all that was changed. To be called while there is one thread.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let kept = self.get(name)?;
        kept.refuse_in_use()?;
        let gone = self.hide(&kept)?;
        removal::remove(&gone).map_err(doing(format!("removing upper {name}")))
    }

    /// Takes back all that was changed: the upper is there, over the same image, and empty.
    pub fn discard(&self, name: &str) -> Result<(), Error> {
        let kept = self.get(name)?;
        self.remove(name)?;
        self.make(name, &kept.base).map(drop)
    }
}

/// A name that is one plain part of a path.
fn checked(name: &str) -> Result<&str, Error> {
    match name {
        _ if name.len() <= LONGEST_NAME && plain_name(name) == name => Ok(name),
        _ => Err(Error::UpperName(name.to_owned())),
    }
}

fn fill(directory: &Path, base: &Base) -> io::Result<Base> {
    let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    make(directory)?;
    let work = directory.join(WORK);
    make(&work)?;
    let base = Base { userxattr: base.userxattr || !takes_trusted(&work)?, ..base.clone() };
    let upper = directory.join(UPPER);
    make(&upper)?;
    match chown(&upper, Some(base.root.user), Some(base.root.group)) {
        // A plain user's files are the user's own.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EINVAL)) => {}
        changed => changed?,
    }
    fs::set_permissions(&upper, Permissions::from_mode(base.root.mode.into()))?;
    set_modified(&upper, base.root.modified)?;
    fs::write(directory.join(BASE), serde_json::to_vec_pretty(&base)?)?;
    Ok(base)
}

/// An upper that nothing is written to shows the image's own root.
fn set_modified(directory: &Path, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
    let modified = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
    let times = Timestamps { last_access: modified, last_modification: modified };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, directory, &times, AtFlags::empty())?)
}

fn takes_trusted(directory: &Path) -> io::Result<bool> {
    const TRIED: &str = "trusted.overlay.plyfs.tried";
    match rustix::fs::setxattr(directory, TRIED, b"", XattrFlags::empty()) {
        Ok(()) => rustix::fs::removexattr(directory, TRIED).map(|()| true).map_err(Into::into),
        Err(Errno::PERM | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn disk_usage(path: &Path) -> io::Result<u64> {
    let mut directories = vec![path.to_owned()];
    let mut bytes = 0;
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let found = entry.metadata()?;
            bytes += found.blocks() * 512;
            if found.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(image: &str) -> Base {
        let manifest = Digest::of(image.as_bytes());
        let root = Root { mode: 0o755, user: 0, group: 0, modified: (7, 0) };
        let digests = vec![manifest];
        let (wanted, image) = (image.into(), image.into());
        Base { wanted, image, manifest, digests, root, userxattr: false, since: 1 }
    }

    fn names(uppers: &Uppers) -> Vec<String> {
        uppers.list().unwrap().into_iter().map(|kept| kept.name).collect()
    }

    #[test]
    fn an_upper_is_made_once_found_again_and_belongs_to_one_image() {
        let store = tempfile::tempdir().unwrap();
        let uppers = Uppers::of_store(store.path());
        assert_eq!(names(&uppers), [""; 0]);
        let made = uppers.open("web", &base("alpine")).unwrap();
        assert_eq!(uppers.open("web", &base("alpine")).unwrap(), made);
        let other = uppers.open("web", &base("debian"));
        assert!(matches!(&other, Err(Error::OtherImage { image, .. }) if image == "alpine"), "{other:?}");
        assert_eq!(names(&uppers), ["web"]);
    }

    #[test]
    fn discarding_empties_and_removing_leaves_nothing_whatever_the_modes() {
        let store = tempfile::tempdir().unwrap();
        let uppers = Uppers::of_store(store.path());
        let kept = uppers.open("web", &base("alpine")).unwrap();
        let closed = kept.paths().upper.join("closed");
        fs::create_dir_all(closed.join("deep")).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        uppers.discard("web").unwrap();
        assert_eq!(fs::read_dir(kept.paths().upper).unwrap().count(), 0);
        uppers.remove("web").unwrap();
        let left = fs::read_dir(store.path().join("plyfs/uppers")).unwrap();
        assert_eq!(left.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), [LOCK]);
        assert!(matches!(uppers.remove("web"), Err(Error::NoUpper(_))));
    }

    #[test]
    fn what_a_killed_process_left_goes_when_the_next_is_made() {
        let store = tempfile::tempdir().unwrap();
        let uppers = Uppers::of_store(store.path());
        for left in [".new-web", ".gone-0-web", ".gone-a-db"] {
            fs::create_dir_all(store.path().join("plyfs/uppers").join(left).join("upper/deep")).unwrap();
        }
        uppers.open("web", &base("alpine")).unwrap();
        let left = fs::read_dir(store.path().join("plyfs/uppers")).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [LOCK, "web"]);
    }

    #[test]
    fn one_that_is_in_use_stays() {
        let store = tempfile::tempdir().unwrap();
        let uppers = Uppers::of_store(store.path());
        let kept = uppers.open("web", &base("alpine")).unwrap();
        let locked = fs::File::open(kept.paths().upper).unwrap();
        file::lock(&locked, Sharing::Exclusive).unwrap();
        assert!(matches!(uppers.discard("web"), Err(Error::UpperInUse(_))));
        assert_eq!(names(&uppers), ["web"]);
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        let store = tempfile::tempdir().unwrap();
        let uppers = Uppers::of_store(store.path());
        for name in ["", ".", "..", "a/b", "/a", ".hidden", "a b"] {
            assert!(matches!(uppers.get(name), Err(Error::UpperName(_))), "{name}");
        }
    }
}
