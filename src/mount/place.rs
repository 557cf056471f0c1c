//! Where a mount goes: a directory of the user's, or one made for it that goes with it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Error;

/// A directory ready to be mounted on. Dropped, a made one is removed.
#[derive(Debug)]
pub(super) struct Place {
    pub path: PathBuf,
    pub made: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.made {
            remove_made(&self.path);
        }
    }
}

/// Removes a directory that was made for a mount; one that holds something by now is left.
pub(super) fn remove_made(path: &Path) {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("removing mountpoint {}: {error}", path.display());
        }
        _ => {}
    }
}

/// The user's directory, by its absolute path: the daemon will stand in `/`.
pub(super) fn existing(target: &Path) -> Result<Place, Error> {
    let path = target.canonicalize().map_err(|source| Error::Target { path: target.to_owned(), source })?;
    let found = fs::metadata(&path).map_err(|source| Error::Target { path: target.to_owned(), source })?;
    if !found.is_dir() {
        return Err(Error::NotADirectory(target.to_owned()));
    }
    Ok(Place { path, made: false })
}

/// Makes `<runtime directory>/plyfs/<name>`, or one below the store when there is no runtime directory.
pub(super) fn make(store: &Path, image: &str) -> Result<Place, Error> {
    let parent = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(runtime) if runtime.is_dir() => runtime.join("plyfs"),
        _ => store.join("plyfs/mnt"),
    };
    make_below(&parent, &plain_name(image)).map_err(|source| Error::Target { path: parent, source })
}

fn make_below(parent: &Path, name: &str) -> io::Result<Place> {
    DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
    let parent = parent.canonicalize()?;
    let names = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}-{number}")));
    for name in names.take(10_000) {
        let path = parent.join(name);
        match DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => return Ok(Place { path, made: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `docker.io/library/alpine:3.20` becomes `alpine-3.20`: the last part, in letters that need no quoting.
pub(super) fn plain_name(image: &str) -> String {
    let last = image.rsplit('/').find(|part| !part.is_empty()).unwrap_or(image);
    let plain = last.chars().map(|letter| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => letter,
        _ => '-',
    });
    let name: String = plain.take(100).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "image".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_directory_is_named_for_its_image_is_new_and_goes_again() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().canonicalize().unwrap();
        let first = make_below(&root, &plain_name("docker.io/library/alpine:3.20")).unwrap();
        let second = make_below(&root, &plain_name("alpine:3.20")).unwrap();
        assert_eq!([&first.path, &second.path], [&root.join("alpine-3.20"), &root.join("alpine-3.20-2")]);
        drop((first, second));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }

    #[test]
    fn names_never_leave_the_directory() {
        assert_eq!(
            ["../..", "a/..", "x@sha256:ab", "/"].map(plain_name),
            ["image", "image", "x-sha256-ab", "image"]
        );
    }
}
