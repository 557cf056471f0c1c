//! What we push, podman, buildah and ORAS's client read, and we read what they push: the same image, and the same
//! digest where nothing was made anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::started::{Registry, digest, has, load, multi, run};
use super::{SMALL, assert_whole};
use crate::support::place::Place;

/// Podman or buildah with a storage of its own. Plain copies, for no kernel need have overlayfs for it.
struct Peer<'a> {
    program: &'static str,
    place: &'a Place,
}

impl<'a> Peer<'a> {
    fn new(program: &'static str, place: &'a Place) -> Option<Self> {
        let test = format!("images of {program}");
        if !has(&["docker-registry", program], &test) {
            return None;
        }
        let peer = Self { program, place };
        let answer = peer.command(&["images"]).output().unwrap();
        if !answer.status.success() {
            eprintln!("skipped: {test}: it does not start here: {}", String::from_utf8_lossy(&answer.stderr));
            return None;
        }
        Some(peer)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        let folder = |name: &str| self.place.path(&format!("{}-{name}", self.program));
        command.arg("--root").arg(folder("storage")).arg("--runroot").arg(folder("run"));
        command.args(["--storage-driver", "vfs"]).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {words:?}: {said}", self.program);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Sends an image that it has by one name off by another.
    fn push(&self, name: &str, to: &str, how: &[&str]) {
        let target = format!("docker://{to}");
        self.run(&[&["push", "--tls-verify=false"], how, &[name, &target]].concat());
    }

    fn pull(&self, name: &str) {
        self.run(&["pull", "--tls-verify=false", name]);
    }
}

/// What is pushed by us, read and sent on by the peer in each compression, is the same image for us.
fn passes_through(program: &'static str) {
    let place = Place::new();
    let Some(peer) = Peer::new(program, &place) else { return };
    let registry = Registry::start(&place, "", "");
    let name = |name: &str| format!("{}/{name}", registry.address);
    let ours = name("ours:1");
    load(&place, &ours);
    place.plyfs(&["push", "-q", &ours]);
    peer.pull(&ours);
    let id = ["inspect", "-f", "{{.Id}} {{.RootFS.Layers}}"];
    let expected = place.plyfs(&[&id[..], &[&ours]].concat());
    for compression in ["gzip", "zstd"] {
        let theirs = name(&format!("theirs:{compression}"));
        peer.push(&ours, &theirs, &["--compression-format", compression]);
        let other = Place::new();
        other.plyfs(&["pull", "-q", &theirs]);
        assert_whole(&other, &theirs);
        assert_eq!(other.plyfs(&[&id[..], &[&theirs]].concat()), expected, "{program} {compression}");
        assert_eq!(digest(&other, &theirs), there(&theirs), "{program} {compression}");
    }
}

/// The digest that skopeo says the registry has.
fn there(name: &str) -> String {
    let name = format!("docker://{name}");
    let raw = run("skopeo", &["inspect", "--raw", "--tls-verify=false", &name]).stdout;
    plyfs::oci::Digest::of(&raw).to_string()
}

#[test]
fn podman_passes_on_what_we_push_and_we_read_it() {
    passes_through("podman");
}

#[test]
fn buildah_passes_on_what_we_push_and_we_read_it() {
    passes_through("buildah");
}

#[test]
fn an_index_is_taken_from_podman_and_podman_takes_it_from_us_with_its_digest() {
    let place = Place::new();
    let Some(peer) = Peer::new("podman", &place) else { return };
    let registry = Registry::start(&place, "", "");
    let name = |name: &str| format!("{}/{name}", registry.address);
    let (theirs, ours) = (name("theirs:1"), name("ours:1"));
    peer.run(&["manifest", "create", "several"]);
    for (architecture, text) in [("amd64", SMALL), ("s390x", "name far:1\nlayer gzip\nfile far : away\n")] {
        let single = name(&format!("single:{architecture}"));
        let id = place.plyfs(&["load", "-q", "-i", place.image("single.tar", text).to_str().unwrap()]);
        place.plyfs(&["tag", id.trim().trim_start_matches("Loaded image: "), &single]);
        place.plyfs(&["push", "-q", &single]);
        let words = ["manifest", "add", "--tls-verify=false", "--arch", architecture, "several"];
        peer.run(&[&words[..], &[&format!("docker://{single}")]].concat());
    }
    let target = format!("docker://{theirs}");
    peer.run(&["manifest", "push", "--all", "--tls-verify=false", "several", &target]);
    place.plyfs(&["pull", "-q", "--platform", "linux/amd64", &theirs]);
    assert_whole(&place, &theirs);
    assert_eq!(digest(&place, &theirs), there(&theirs));

    place.plyfs(&["pull", "-q", "--platform", "linux/s390x", &theirs]);
    place.plyfs(&["tag", &theirs, &ours]);
    place.plyfs(&["push", "-q", &ours]);
    assert_eq!(there(&ours), there(&theirs));
    peer.pull(&ours);
    let known = peer.run(&["image", "inspect", "--format", "{{.RepoDigests}}", &ours]);
    assert!(known.contains(&there(&ours)), "{known}");
}

/// Python with ORAS's client, where scripts/test has put it.
fn oras() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/oras/bin/python3");
    if !python.exists() {
        eprintln!(
            "skipped: images of ORAS's client: {} is not there; scripts/test makes it",
            python.display()
        );
        return None;
    }
    has(&["docker-registry", "skopeo"], "images of ORAS's client").then_some(python)
}

#[test]
fn what_orass_client_copies_is_what_we_pushed_byte_for_byte() {
    let Some(python) = oras() else { return };
    let place = Place::new();
    let registry = Registry::start(&place, "", "");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/oras-copy");
    let name = |name: &str| format!("{}/{name}", registry.address);
    load(&place, &name("image:1"));
    place.plyfs(&["load", "-q", "-i", multi(&place).to_str().unwrap()]);
    place.plyfs(&["tag", "multi:1", &name("index:1")]);
    for (ours, theirs) in [("image:1", "copied-image:1"), ("index:1", "copied-index:1")] {
        let (ours, theirs) = (name(ours), name(theirs));
        place.plyfs(&["push", "-q", &ours]);
        let copied = run(python.to_str().unwrap(), &[script.to_str().unwrap(), &ours, &theirs]).stdout;
        let other = Place::new();
        other.plyfs(&["pull", "-q", &theirs]);
        assert_whole(&other, &theirs);
        let digests = [digest(&place, &ours), digest(&other, &theirs)];
        assert_eq!(digests, [0, 1].map(|_| String::from_utf8_lossy(&copied).trim().to_owned()));
    }
}
