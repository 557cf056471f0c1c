//! What is written is read again as it was.

use super::*;
use crate::image::{self, Stored};
use crate::oci::{Config, DiffId, Index, Manifest, Raw, RootFs};

/// Puts an image of one layer into the store.
fn image(store: &Store, architecture: &str) -> Descriptor {
    let layer = tar_of_a_file(architecture);
    let diff_id = DiffId(store.put(&layer).unwrap());
    let config = Config {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        rootfs: RootFs { diff_ids: vec![diff_id], ..RootFs::default() },
        ..Config::default()
    };
    let config = Raw::encode(config).unwrap();
    store.put(config.bytes()).unwrap();
    let config = Descriptor::of(media::OCI_CONFIG, config.bytes());
    let manifest = Manifest::new(config, vec![Descriptor::of(media::OCI_LAYER, &layer)]);
    let manifest = Raw::encode(manifest).unwrap();
    store.put(manifest.bytes()).unwrap();
    let platform = Some(format!("linux/{architecture}").parse().unwrap());
    Descriptor { platform, ..Descriptor::of(media::OCI_MANIFEST, manifest.bytes()) }
}

fn tar_of_a_file(name: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    builder.append_data(&mut header, name, &b"text"[..]).unwrap();
    builder.into_inner().unwrap()
}

fn index(store: &Store, manifests: Vec<Descriptor>) -> Descriptor {
    let index = Raw::encode(Index::new(manifests)).unwrap();
    store.put(index.bytes()).unwrap();
    Descriptor::of(media::OCI_INDEX, index.bytes())
}

fn saved(store: &Store, saving: Saving, roots: &[(&Descriptor, &[&str])]) -> Vec<u8> {
    let stored = Stored::new(store);
    let mut writer = Writer::new(Vec::new(), saving);
    for (root, names) in roots {
        let shown = image::select(&stored, std::slice::from_ref(*root), None).unwrap().image;
        let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
        writer.add(&stored, root, &shown, &names, &()).unwrap();
    }
    writer.finish().unwrap()
}

/// Of each name, the manifest's digest and whether its layer can be read.
fn read(place: &Place, bytes: &[u8], names: &[&str], platform: &str) -> Vec<(Digest, bool)> {
    let archive = place.open(&place.write("saved.tar", bytes)).unwrap();
    let read = |name: &&str| {
        let (image, _) = archive.image(Some(name), Some(&platform.parse().unwrap())).unwrap();
        let layer = image.manifest.value().layers[0].clone();
        let whole = archive.blob(&layer).is_ok_and(|mut bytes| {
            let mut hasher = crate::oci::Hasher::default();
            std::io::copy(&mut bytes, &mut hasher).unwrap();
            hasher.finish() == layer.digest
        });
        (image.descriptor.digest, whole)
    };
    names.iter().map(read).collect()
}

#[test]
fn what_is_saved_is_read_again_by_its_names_with_the_same_digests() {
    let place = place();
    let (one, two) = (image(&place.store, "amd64"), image(&place.store, "arm64"));
    for saving in [Saving::Docker, Saving::Oci] {
        let bytes = saved(&place.store, saving, &[(&one, &["one:1", "one:latest"]), (&two, &["x.io/two"])]);
        let ones = read(&place, &bytes, &["one:1", "one:latest"], "linux/amd64");
        assert_eq!(ones, [(one.digest, true); 2], "{saving:?}");
        assert_eq!(read(&place, &bytes, &["x.io/two"], "linux/arm64"), [(two.digest, true)], "{saving:?}");
    }
}

#[test]
fn an_index_is_saved_as_it_is_without_the_images_that_are_not_there() {
    let place = place();
    let (one, two) = (image(&place.store, "amd64"), image(&place.store, "arm64"));
    let absent = Descriptor::of(media::OCI_MANIFEST, b"a manifest of a platform that was not pulled");
    let index = index(&place.store, vec![one.clone(), absent, two.clone()]);
    let bytes = saved(&place.store, Saving::Oci, &[(&index, &["both:1"])]);
    assert_eq!(read(&place, &bytes, &["both:1"], "linux/amd64"), [(one.digest, true)]);
    assert_eq!(read(&place, &bytes, &["both:1"], "linux/arm64"), [(two.digest, true)]);
    let names = tar_names(&bytes);
    assert!(names.contains(&layout::blob_name(&index.digest)), "{names:?}");
    assert!(!names.iter().any(|name| name == "manifest.json"), "{names:?}");
}

#[test]
fn an_image_of_an_index_comes_with_the_others_that_are_there() {
    let place = place();
    let (one, two) = (image(&place.store, "amd64"), image(&place.store, "arm64"));
    let absent = Descriptor::of(media::OCI_MANIFEST, b"not here");
    let index = index(&place.store, vec![one.clone(), absent, two.clone()]);
    for saving in [Saving::Docker, Saving::Oci] {
        let bytes = saved(&place.store, saving, &[(&index, &["both:1"])]);
        let archive = place.open(&place.write("saved.tar", &bytes)).unwrap();
        let whole = archive.whole(&one.digest).unwrap();
        let images: Vec<Digest> = whole.images.iter().map(|image| image.descriptor.digest).collect();
        assert_eq!((whole.descriptor.digest, images), (index.digest, vec![one.digest, two.digest]));
        assert_eq!(whole.index.digest(), index.digest);
    }
    let alone = place.open(&place.write("one.tar", &saved(&place.store, Saving::Oci, &[(&one, &["one"])])));
    assert!(alone.unwrap().whole(&one.digest).is_none());
}

fn tar_names(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(bytes);
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    names.collect()
}

#[test]
fn the_same_images_give_the_same_bytes_and_no_blob_is_there_twice() {
    let place = place();
    let (one, two) = (image(&place.store, "amd64"), image(&place.store, "arm64"));
    let index = index(&place.store, vec![one.clone(), two]);
    let save = || saved(&place.store, Saving::Docker, &[(&index, &["both"]), (&one, &["one"])]);
    let bytes = save();
    let names = tar_names(&bytes);
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((names.len(), &bytes), (distinct.len(), &save()));
}

#[test]
fn a_blob_that_is_damaged_or_missing_is_named() {
    let place = place();
    let one = image(&place.store, "amd64");
    let stored = Stored::new(&place.store);
    let shown = image::read(&stored, &one).unwrap();
    let layer = shown.manifest.value().layers[0].digest;
    let path = place.store.root().join("blobs/sha256").join(layer.hex());
    let length = std::fs::read(&path).unwrap().len();
    let save = || {
        let mut writer = Writer::new(Vec::new(), Saving::Docker);
        writer.add(&stored, &one, &shown, &[], &()).unwrap_err().to_string()
    };
    std::fs::write(&path, vec![7; length]).unwrap();
    let said = save();
    assert!(said.starts_with(&format!("blob {layer} is corrupt: its digest is sha256:")), "{said}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(save(), format!("blob {layer} is missing"));
}

#[test]
fn a_full_disk_or_a_closed_pipe_is_told_as_what_it_is() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let place = place();
    let one = image(&place.store, "amd64");
    let stored = Stored::new(&place.store);
    let shown = image::read(&stored, &one).unwrap();
    let added = Writer::new(Closed, Saving::Docker).add(&stored, &one, &shown, &[], &());
    assert!(
        matches!(&added, Err(Error::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe),
        "{added:?}"
    );
}
