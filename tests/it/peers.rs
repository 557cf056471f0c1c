//! What other tools write is read. Each is skipped, by name, where it is not installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::fixture::Fixture;
use crate::support::place::Place;

const HELLO: &str = include_str!("../../fixtures/hello.layers");

/// Runs a command of another tool; `None`, with a word, where that is not installed.
fn tool(at: &Path, words: &[&str]) -> Option<String> {
    let (program, rest) = words.split_first().unwrap();
    let run = Command::new(program).args(rest).current_dir(at).env("HOME", at).output();
    let Ok(output) = run else {
        eprintln!("skipped: what {program} writes, which is not installed");
        return None;
    };
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn umoci_adds_a_layer_to_a_layout_and_it_is_read() {
    let place = Place::new();
    Fixture::parse(HELLO).unwrap().oci_layout(&place.path("hello.oci")).unwrap();
    fs::write(place.path("new"), "from umoci\n").unwrap();
    let image = "hello.oci:hello:1.0";
    if tool(&place.path(""), &["umoci", "insert", "--rootless", "--image", image, "new", "/etc/motd"])
        .is_none()
    {
        return;
    }
    let layout = format!("oci:{}:hello:1.0", place.path("hello.oci").display());
    assert_eq!(place.plyfs(&["cat", &format!("{layout}:/etc/motd")]), "from umoci\n");
    assert_eq!(place.plyfs(&["ls", &format!("{layout}:/etc/hello.d")]), "greeting\nlang\nlanguage\n");
}

#[test]
fn buildah_commits_a_layout_and_an_archive_and_both_are_read() {
    let place = Place::new();
    let at = place.path("");
    fs::write(place.path("file"), "from buildah\n").unwrap();
    let storage = format!("--root={0}/c/root --runroot={0}/c/run --storage-driver=vfs", at.display());
    let buildah =
        |words: &str| tool(&at, &format!("buildah {storage} {words}").split(' ').collect::<Vec<_>>());
    let Some(container) = buildah("from scratch") else { return };
    buildah(&format!("copy {container} file /etc/file"));
    for (written, read) in
        [("oci:layout:tag", "oci:layout:tag"), ("docker-archive:image.tar:a/b:c", "image.tar")]
    {
        buildah(&format!("commit -q {container} {written}"));
        let (transport, path) = read.split_once(':').unwrap_or(("", read));
        let image = match transport {
            "" => place.path(path).display().to_string(),
            transport => format!("{transport}:{}", place.path(path).display()),
        };
        assert_eq!(place.plyfs(&["cat", &format!("{image}:/etc/file")]), "from buildah\n", "{written}");
    }
    buildah(&format!("rm {container}"));
}
