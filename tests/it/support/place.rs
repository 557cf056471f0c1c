//! A directory with a store of its own, and plyfs in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use plyfs::oci::Digest;

use super::fixture::Fixture;

const REGISTRIES: &str = "no-registries.conf";

/// Gone with all that is in it, and nothing stays mounted.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        // No test speaks to the world: what is not in the store is nowhere.
        fs::write(place.path(REGISTRIES), "[[registry]]\nprefix = \"docker.io\"\nblocked = true\n").unwrap();
        place
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
        // What is set up on this machine is nobody's business.
        command.env("CONTAINERS_REGISTRIES_CONF", self.path(REGISTRIES));
        command
            .env("REGISTRY_AUTH_FILE", self.path("no-logins.json"))
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY");
        command
    }

    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Output {
        self.command(words).output().unwrap()
    }

    pub fn run_with<S: AsRef<std::ffi::OsStr>>(&self, words: &[S], variables: &[(&str, &str)]) -> Output {
        self.command(words).envs(variables.iter().copied()).output().unwrap()
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

/// Every blob is what its name says, every image has all of its blobs, and every index is of a blob that is there.
pub fn check_store(store: &Path) {
    if !store.join("index.json").exists() {
        return;
    }
    for name in names(&store.join("blobs/sha256")) {
        let blob = fs::read(store.join("blobs/sha256").join(&name)).unwrap();
        assert_eq!(Digest::of(&blob).hex(), name);
    }
    let document =
        |path: &Path| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        store.join("blobs").join(digest.replace(':', "/"))
    };
    let mut images = document(&store.join("index.json"))["manifests"].as_array().unwrap().clone();
    while let Some(image) = images.pop() {
        let manifest = document(&blob(&image));
        if let Some(platforms) = manifest["manifests"].as_array() {
            // Not every platform has to be here.
            images.extend(platforms.iter().filter(|image| blob(image).exists()).cloned());
            continue;
        }
        assert!(blob(&manifest["config"]).exists());
        assert!(manifest["layers"].as_array().unwrap().iter().all(|layer| blob(layer).exists()));
    }
}
