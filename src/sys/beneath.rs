//! Opening files below a directory: nothing outside of it is reached, be it by `..`, by an absolute path or by a
//! symlink.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How often a resolution is tried again that a rename elsewhere disturbed.
const ATTEMPTS: usize = 16;

/// Opens the directory that other names are opened below.
pub fn root(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

// Not blocking: a FIFO with no writer must not hold us up.
const FOR_READING: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens a regular file for reading; `None` where nothing has that name. A path that leads out of `root` is refused.
pub fn open_file(root: BorrowedFd<'_>, path: &Path) -> io::Result<Option<File>> {
    regular(open(root, path, FOR_READING))
}

/// The same as [`open_rooted`] leads.
pub fn open_file_rooted(root: BorrowedFd<'_>, path: &Path) -> io::Result<Option<File>> {
    regular(open_rooted(root, path, FOR_READING))
}

fn regular(opened: Result<OwnedFd, Errno>) -> io::Result<Option<File>> {
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::XDEV) => return Err(io::Error::other("it leads out of the directory")),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(Some(file))
}

/// Opens whatever `path` is, following no link out of `root`.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    resolve(root, path, flags, ResolveFlags::BENEATH)
}

/// Opens whatever `path` is for a process whose `/` is `root`: absolute links start there, and `..` stays in it.
pub fn open_rooted(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    resolve(root, path, flags, ResolveFlags::IN_ROOT)
}

fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags, scope: ResolveFlags) -> Result<OwnedFd, Errno> {
    for _ in 0..ATTEMPTS {
        let resolve = scope | ResolveFlags::NO_MAGICLINKS;
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            Err(Errno::NOSYS | Errno::PERM) => return open_without_links(root, path, flags),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// For kernels and sandboxes without openat2: component by component, following no symlink.
fn open_without_links(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut directory: Option<OwnedFd> = None;
    let mut components = path.components().filter(|component| *component != Component::CurDir).peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Errno::XDEV) };
        let at = directory.as_ref().map_or(root, AsFd::as_fd);
        let last = components.peek().is_none();
        let kind = if last { flags } else { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC };
        let opened = fs::openat(at, name, kind | OFlags::NOFOLLOW, Mode::empty())?;
        if last {
            return Ok(opened);
        }
        directory = Some(opened);
    }
    Err(Errno::ISDIR)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("root/a")).unwrap();
        std::fs::write(tree.path().join("secret"), b"secret").unwrap();
        std::fs::write(tree.path().join("root/a/file"), b"inside").unwrap();
        symlink("../root/a/../a/file", tree.path().join("root/out-and-in")).unwrap();
        symlink("a/file", tree.path().join("root/in")).unwrap();
        symlink("../secret", tree.path().join("root/out")).unwrap();
        symlink(tree.path().join("root/a/file"), tree.path().join("root/absolute")).unwrap();
        tree
    }

    type Opener = fn(BorrowedFd<'_>, &Path, OFlags) -> Result<OwnedFd, Errno>;

    fn outcome(tree: &tempfile::TempDir, name: &str, opener: Opener) -> Result<String, Errno> {
        let root = root(&tree.path().join("root")).unwrap();
        let mut text = String::new();
        File::from(opener(root.as_fd(), Path::new(name), OFlags::RDONLY)?).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn links_are_followed_inside_and_nothing_outside_is_opened() {
        let tree = tree();
        for name in ["a/file", "./a/file", "in"] {
            assert_eq!(outcome(&tree, name, open), Ok("inside".to_owned()), "{name}");
        }
        for name in ["out", "../secret", "out-and-in", "absolute", "/etc/passwd"] {
            assert_eq!(outcome(&tree, name, open), Err(Errno::XDEV), "{name}");
        }
    }

    #[test]
    fn with_a_root_of_its_own_a_link_leads_where_a_process_there_is_led() {
        let tree = tree();
        let root_directory = tree.path().join("root");
        symlink("/a/file", root_directory.join("rooted")).unwrap();
        symlink("../../a/file", root_directory.join("above")).unwrap();
        for name in ["/a/file", "rooted", "above", "/../../a/file"] {
            assert_eq!(outcome(&tree, name, open_rooted), Ok("inside".to_owned()), "{name}");
        }
        for name in ["out", "absolute", "/etc/passwd"] {
            assert_eq!(outcome(&tree, name, open_rooted), Err(Errno::NOENT), "{name}");
        }
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let tree = tree();
        assert_eq!(outcome(&tree, "./a/file", open_without_links), Ok("inside".to_owned()));
        for name in ["in", "out"] {
            assert_eq!(outcome(&tree, name, open_without_links), Err(Errno::LOOP), "{name}");
        }
        for name in ["../secret", "/etc/passwd"] {
            assert_eq!(outcome(&tree, name, open_without_links), Err(Errno::XDEV), "{name}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_what_is_absent_is_none() {
        let tree = tree();
        let root = root(&tree.path().join("root")).unwrap();
        assert!(open_file(root.as_fd(), Path::new("a")).is_err());
        assert!(open_file(root.as_fd(), Path::new("b")).unwrap().is_none());
        assert!(open_file(root.as_fd(), Path::new("a/file/x")).unwrap().is_none());
    }
}
