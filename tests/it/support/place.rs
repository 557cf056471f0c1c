//! A directory with a store of its own, and plyfs in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::fixture::Fixture;

/// Gone with all that is in it, and nothing stays mounted.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// A docker archive of the image that `text` describes.
    pub fn image(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, Fixture::parse(text).unwrap().docker_archive().unwrap()).unwrap();
        path
    }

    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn command<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plyfs"));
        command.arg("--root").arg(self.store()).args(words).stdin(Stdio::null());
        command
    }

    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a command that has to work, and gives what it printed.
    pub fn plyfs<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}", said);
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn start<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Child {
        self.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Whether an image can be mounted here; if not, says what is not tested.
    pub fn can_mount(&self, test: &str) -> bool {
        let can = self.run(&["doctor"]).status.success();
        if !can {
            eprintln!("skipped: {test}: images can't be mounted here");
        }
        can
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["umount", "--all", "--force"]);
    }
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
