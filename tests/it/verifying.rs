//! A byte that changes anywhere in the store is found, and what can be made again is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::registry;
use crate::support::place::{Place, names};
use crate::support::server::Server;

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

/// A store with an image that was pulled, and the paths of its blobs.
fn pulled(place: &Place, server: &Server) -> Vec<PathBuf> {
    registry::stocked(place, server, registry::SMALL);
    place.plyfs(&["pull", "-q", &registry::name(server)]);
    let blobs = place.store().join("blobs/sha256");
    let names = names(&blobs);
    assert_eq!(names.len(), 5);
    names.into_iter().map(|name| blobs.join(name)).collect()
}

#[test]
fn what_an_image_lacks_is_fetched_from_where_its_name_says() {
    let (place, server) = (Place::new(), Server::plain());
    let blobs = pulled(&place, &server);
    let was: Vec<Vec<u8>> = blobs.iter().map(|blob| fs::read(blob).unwrap()).collect();
    let lose = |blob: &PathBuf| fs::remove_file(blob).unwrap();
    let harm = |blob: &PathBuf| flip(blob, 10);
    let all = |act: &dyn Fn(&PathBuf)| blobs.iter().for_each(act);
    let damages: Vec<(String, Box<dyn Fn()>)> = blobs
        .iter()
        .flat_map(|blob| {
            let name = blob.display();
            let damages: [(String, Box<dyn Fn()>); 2] = [
                (format!("{name} is lost"), Box::new(move || lose(blob))),
                (format!("{name} is harmed"), Box::new(move || harm(blob))),
            ];
            damages
        })
        .chain([
            ("all are lost".to_owned(), Box::new(move || all(&lose)) as Box<dyn Fn()>),
            ("all are harmed".to_owned(), Box::new(move || all(&harm))),
        ])
        .collect();
    for (damage, act) in damages {
        act();
        let repaired = place.run(&["verify", "--repair"]);
        let said = String::from_utf8_lossy(&repaired.stdout);
        assert!(repaired.status.success(), "{damage}: {repaired:?}");
        assert!(said.contains(&format!("fetched from {}\n", registry::name(&server))), "{damage}: {said}");
        assert_eq!(place.plyfs(&["verify", "--quiet"]), "", "{damage}");
        registry::assert_whole(&place, &registry::name(&server));
        let is: Vec<Vec<u8>> = blobs.iter().map(|blob| fs::read(blob).unwrap()).collect();
        assert!(is == was, "{damage}");
    }
}

#[test]
fn what_a_registry_no_longer_has_or_has_otherwise_is_said_and_not_kept() {
    let (place, server) = (Place::new(), Server::plain());
    let blobs = pulled(&place, &server);
    let layer = blobs.iter().max_by_key(|blob| fs::metadata(blob).unwrap().len()).unwrap();
    let digest = format!("sha256:{}", layer.file_name().unwrap().to_str().unwrap());
    let kept = server.shelves.blobs.lock().unwrap().remove(&digest).unwrap();
    fs::remove_file(layer).unwrap();
    let repair = |words: &[&str]| {
        let repaired = place.run(&[&["verify", "--repair", "--format", "{{.Outcome}}"], words].concat());
        assert_eq!(repaired.status.code(), Some(1), "{repaired:?}");
        assert!(!layer.exists());
        String::from_utf8(repaired.stdout).unwrap()
    };
    let said = repair(&[]);
    let start = format!("fetching it from {}: ", registry::name(&server));
    assert!(said.starts_with(&start) && said.contains(&digest), "{said}");
    let mut wrong = kept.clone();
    wrong[100] ^= 1;
    server.shelves.blobs.lock().unwrap().insert(digest.clone(), wrong);
    assert!(repair(&[]).starts_with(&start));
    server.log();
    assert_eq!(repair(&["--offline"]), "the image has to be pulled or loaded again\n");
    assert_eq!(server.log(), Vec::<String>::new());
    server.shelves.blobs.lock().unwrap().insert(digest, kept);
    place.plyfs(&["verify", "--repair"]);
    registry::assert_whole(&place, &registry::name(&server));
}
