//! An image for several platforms goes from store to store as it is.

use std::fs;

use plyfs::oci::Digest;
use serde_json::{Value, json};

use crate::support::place::{Place, check_store, names};

const NAME: &str = "example.com/several:1";

/// A store with an image for two platforms and the name of a third, which was never fetched.
fn several() -> (Place, Digest) {
    let place = Place::new();
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let root = place.directory(architecture);
        fs::write(root.join("architecture"), architecture).unwrap();
        let tar = place.path("root.tar");
        let mut builder = tar::Builder::new(fs::File::create(&tar).unwrap());
        builder.append_dir_all(".", &root).unwrap();
        builder.finish().unwrap();
        let platform = format!("linux/{architecture}");
        place.plyfs(&["import", "--platform", &platform, tar.to_str().unwrap()]);
    }
    let path = place.store().join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifests.extend(index["manifests"].as_array().unwrap().iter().cloned());
    let mut absent = manifests[0].clone();
    absent["digest"] = json!(Digest::of(b"never fetched").to_string());
    absent["platform"]["architecture"] = json!("s390x");
    manifests.push(absent);
    let media_type = "application/vnd.oci.image.index.v1+json";
    let document = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string();
    let digest = Digest::of(document.as_bytes());
    fs::write(place.store().join("blobs/sha256").join(digest.hex()), &document).unwrap();
    let annotations = json!({"org.opencontainers.image.ref.name": NAME});
    index["manifests"] = json!([{
        "mediaType": media_type, "digest": digest.to_string(), "size": document.len(), "annotations": annotations,
    }]);
    fs::write(&path, index.to_string()).unwrap();
    (place, digest)
}

#[test]
fn all_platforms_that_are_there_are_saved_and_loaded_and_the_index_stays_what_it_is() {
    let (place, digest) = several();
    let archive = place.path("several.tar");
    for form in ["docker-archive", "oci-archive"] {
        place.plyfs(&["save", "--format", form, "-o", archive.to_str().unwrap(), NAME]);
        let other = Place::new();
        let load = ["load", "-q", "-i", archive.to_str().unwrap()];
        assert_eq!(other.plyfs(&load), format!("Loaded image: {NAME}\n"), "{form}");
        assert_eq!(other.plyfs(&["images", "--format", "{{.Digest}}"]), format!("{digest}\n"), "{form}");
        for architecture in ["amd64", "arm64"] {
            let platform = format!("linux/{architecture}");
            let said = other.plyfs(&["cat", "--platform", &platform, NAME, "/architecture"]);
            assert_eq!(said, architecture, "{form}");
        }
        let blobs = names(&other.store().join("blobs/sha256"));
        assert_eq!(blobs, names(&place.store().join("blobs/sha256")), "{form}");
        assert_eq!(other.plyfs(&["verify", "--quiet"]), "");
        other.plyfs(&["rmi", NAME]);
        assert_eq!(names(&other.store().join("blobs/sha256")), Vec::<String>::new());
        check_store(&other.store());
    }
}

#[test]
fn one_platform_is_saved_and_loaded_by_itself() {
    let (place, _) = several();
    let archive = place.path("one.tar");
    place.plyfs(&["save", "--platform", "linux/arm64", "-o", archive.to_str().unwrap(), NAME]);
    let other = Place::new();
    other.plyfs(&["load", "-q", "-i", archive.to_str().unwrap()]);
    assert_eq!(other.plyfs(&["inspect", "-f", "{{.Architecture}}", NAME]), "arm64\n");
    assert_eq!(names(&other.store().join("blobs/sha256")).len(), 3);
}
