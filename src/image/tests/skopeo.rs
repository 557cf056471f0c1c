//! The store is an OCI layout: skopeo reads what plyfs wrote, and plyfs what skopeo wrote.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::loading::Shop;
use super::*;

/// What skopeo printed; `None`, with a word, where there is no skopeo.
fn skopeo(arguments: &[&str]) -> Option<serde_json::Value> {
    let Ok(output) = Command::new("skopeo")
        .args(["--insecure-policy", "--override-arch", "amd64"])
        .args(arguments)
        .output()
    else {
        writeln!(std::io::stderr(), "skipped: no skopeo here").unwrap();
        return None;
    };
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

fn at(root: &Path, name: &str) -> String {
    format!("oci:{}:{name}", root.display())
}

fn amd64() -> Option<Platform> {
    Some("linux/amd64".parse().unwrap())
}

#[test]
fn skopeo_reads_an_image_that_was_loaded() {
    let mut shop = Shop::new();
    let layers = [shop.layer("one"), shop.layer("two")];
    let image = shop.image(&layers, &["alpine", "ghcr.io/a/b:1"]);
    let (_directory, store) = store_of(&Memory::default());
    load(&store, &shop, &image, &()).unwrap();
    for name in ["docker.io/library/alpine:latest", "ghcr.io/a/b:1"] {
        let Some(seen) = skopeo(&["inspect", &at(store.root(), name)]) else { return };
        let expected: Vec<String> = layers.iter().map(|layer| layer.descriptor.digest.to_string()).collect();
        assert_eq!(seen["Digest"], image.descriptor.digest.to_string());
        assert_eq!(seen["Layers"], serde_json::json!(expected));
    }
}

#[test]
fn what_skopeo_copies_into_the_store_is_found_and_swept_as_any_other() {
    let mut shop = Shop::new();
    let (one, two) = ([shop.layer("one")], [shop.layer("two")]);
    let (first, second) = (shop.image(&one, &["a"]), shop.image(&two, &["a"]));
    let (_from, from) = store_of(&Memory::default());
    let (_to, to) = store_of(&Memory::default());
    load(&to, &shop, &first, &()).unwrap();
    load(&from, &shop, &second, &()).unwrap();
    let source = at(from.root(), "docker.io/library/a:latest");
    for name in ["docker.io/library/a:latest", "1"] {
        let Some(_) = skopeo(&["copy", "-q", &source, &at(to.root(), name)]) else { return };
    }
    let stored = Stored::new(&to);
    let find = |name: &str| stored.find(name, amd64().as_ref()).unwrap().image;
    let names = vec![reference("a"), reference("1")];
    assert_eq!((find("a").descriptor.digest, find("a").names), (second.descriptor.digest, names));
    assert_eq!(find("1").descriptor.digest, second.descriptor.digest);
    assert_eq!(find(&first.id().short()).names, []);
    // The index of its layer is made when it is loaded over itself, without reading the layer from elsewhere.
    let again = find("a");
    load(&to, &stored, &again, &()).unwrap();
    to.remove(&[first.descriptor.digest]).unwrap();
    assert_eq!(sweep(&to, HashSet::new()).unwrap().len(), 3);
    assert_eq!(find("a").descriptor.digest, second.descriptor.digest);
}
