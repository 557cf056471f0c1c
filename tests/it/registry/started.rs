//! Debian's docker-registry as a test starts it, and the images that it is filled with.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{SMALL, layout, said};
use crate::support::place::Place;

/// Ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Registry {
    pub address: String,
    _process: Running,
}

pub fn has(tools: &[&str], test: &str) -> bool {
    let missing = |tool: &&&str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        !found.is_ok_and(|found| found.status.success())
    };
    match tools.iter().find(missing) {
        Some(tool) => {
            eprintln!("skipped: {test}: {tool} is not installed");
            false
        }
        None => true,
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn wait_for(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "{address} does not listen");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Registry {
    /// `settings` are lines of its configuration; those of `http` go under that.
    pub fn start(place: &Place, http: &str, settings: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let data = place.path("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http:\n  addr: {address}\n{http}{settings}",
            data.display()
        );
        let configuration = place.path("registry.yml");
        fs::write(&configuration, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Running(command.spawn().unwrap());
        wait_for(&address);
        Self { address, _process: process }
    }
}

pub fn run(program: &str, words: &[&str]) -> Output {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", said(&output));
    output
}

pub fn load(place: &Place, name: &str) {
    let image = place.image("image.tar", SMALL);
    place.plyfs(&["load", "-q", "-i", image.to_str().unwrap()]);
    place.plyfs(&["tag", "small:1", name]);
}

pub fn digest(place: &Place, name: &str) -> String {
    let template = "{{range .RepoDigests}}{{.}} {{end}}";
    let digests = place.plyfs(&["inspect", "-f", template, name]);
    digests.split(['@', ' ']).nth(1).unwrap().to_owned()
}

/// A layout of one image for two platforms.
pub fn multi(place: &Place) -> PathBuf {
    let layout = layout(place, SMALL);
    let read = |path: &Path| serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap()).unwrap();
    let mut index = read(&layout.join("index.json"));
    let mut own = index["manifests"][0].clone();
    let mut other = own.clone();
    own["platform"] = serde_json::json!({"os": "linux", "architecture": "amd64"});
    other["platform"] = serde_json::json!({"os": "linux", "architecture": "s390x"});
    for entry in [&mut own, &mut other] {
        entry.as_object_mut().unwrap().remove("annotations");
    }
    let list = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [own, other],
    });
    let bytes = list.to_string().into_bytes();
    let digest = plyfs::oci::Digest::of(&bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
    index["manifests"][0] = serde_json::json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest.to_string(), "size": bytes.len(),
        "annotations": {"org.opencontainers.image.ref.name": "multi:1"},
    });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    layout
}
