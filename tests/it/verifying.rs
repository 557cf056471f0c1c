//! A byte that changes anywhere in the store is found, and what can be made again is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::place::{Place, names};

const IMAGE: &str = "name some:1\nlayer gzip\nfile a size=300000\nlayer zstd\nfile b size=5000000\nlayer plain\nfile c size=70000\n";

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x21;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Files of the store, by the word that `verify` has for them.
fn files(place: &Place) -> Vec<(&'static str, PathBuf)> {
    let kinds = [
        ("index of layer sha256:", "plyfs/indexes"),
        ("sidecar of layer sha256:", "plyfs/sidecars"),
        ("merged tree sha256:", "plyfs/trees"),
        ("blob sha256:", "blobs/sha256"),
    ];
    let of = |(word, directory): (&'static str, &str)| {
        let directory = place.store().join(directory);
        names(&directory).into_iter().map(move |name| (word, directory.join(name)))
    };
    kinds.into_iter().flat_map(of).collect()
}

#[test]
fn a_changed_byte_anywhere_is_named_and_what_can_be_made_again_is() {
    let place = Place::new();
    let archive = place.image("some.tar", IMAGE);
    let load = ["load", "-q", "-i", archive.to_str().unwrap()];
    place.plyfs(&load);
    let shown = place.plyfs(&["export", "some:1", "--output", place.path("tree").to_str().unwrap()]);
    let files = files(&place);
    for word in ["index", "sidecar", "merged", "blob"] {
        assert!(files.iter().any(|(found, _)| found.starts_with(word)), "there is no {word}");
    }
    for (word, path) in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let length = fs::metadata(&path).unwrap().len() as usize;
        for at in [0, length / 3, length / 2, length - 1] {
            flip(&path, at);
            let found = place.run(&["verify", "--format", "{{.Object}}"]);
            let said = String::from_utf8(found.stdout).unwrap();
            assert!(said.lines().any(|line| line == format!("{word}{name}")), "{word}{name} at {at}: {said}");
            assert_eq!(found.status.code(), Some(1));
            let repaired = place.run(&["verify", "--repair", "--quiet"]);
            if word.starts_with("blob") {
                assert_eq!(repaired.status.code(), Some(1), "{repaired:?}");
                place.plyfs(&load);
            } else {
                assert!(repaired.status.success(), "{word}{name} at {at}: {repaired:?}");
            }
            place.plyfs(&["ls", "some:1"]);
            assert_eq!(place.plyfs(&["verify", "--quiet"]), "", "{word}{name} at {at}");
        }
    }
    place.plyfs(&["export", "some:1", "--output", place.path("again").to_str().unwrap()]);
    assert_eq!(shown, "");
    assert!(fs::read(place.path("tree")).unwrap() == fs::read(place.path("again")).unwrap());
}
