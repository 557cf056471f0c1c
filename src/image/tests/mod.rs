//! Images in memory and in the store: which is chosen, what is found, and what a sweep leaves.

mod copying;
mod loading;
mod opening;
mod skopeo;

use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::*;
use crate::layer::Blob;
use crate::oci::{RootFs, media};
use crate::store::{Reach, Store};

/// Documents in memory.
#[derive(Default)]
struct Memory(HashMap<Digest, Vec<u8>>);

impl Memory {
    fn put(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        self.0.insert(Digest::of(bytes), bytes.to_vec());
        Descriptor::of(media_type, bytes)
    }

    /// An image without layers, for `platform`, as its descriptor says or not.
    fn image(&mut self, platform: &str) -> Descriptor {
        let platform: Option<Platform> =
            Some(platform).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
        let Platform { os, architecture, variant, .. } = platform.unwrap_or_default();
        let config = Config { os, architecture, variant, rootfs: RootFs::default(), ..Config::default() };
        let config = self.put(media::OCI_CONFIG, Raw::encode(config).unwrap().bytes());
        self.put(media::OCI_MANIFEST, Raw::encode(Manifest::new(config, vec![])).unwrap().bytes())
    }

    fn listed(&mut self, platform: &str) -> Descriptor {
        Descriptor { platform: Some(platform.parse().unwrap()), ..self.image(platform) }
    }

    fn index(&mut self, manifests: &[Descriptor]) -> Descriptor {
        let text = serde_json::json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        self.put(media::OCI_INDEX, text.as_bytes())
    }
}

impl Source for Memory {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.0.get(&descriptor.digest).ok_or(Error::Missing(descriptor.digest))?;
        verified(descriptor, bytes.clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        let bytes = self.0.get(&descriptor.digest).ok_or(Error::Missing(descriptor.digest))?;
        Ok(Box::new(bytes.as_slice()))
    }

    fn place(&self, _: &Descriptor) -> Result<Option<Blob>> {
        Ok(None)
    }
}

/// What is chosen: the digest and the warning, or the error, in words.
fn chosen(source: &dyn Source, root: &[Descriptor], platform: Option<&str>) -> Result<Digest, String> {
    let platform = platform.map(|text| text.parse().unwrap());
    match select(source, root, platform.as_ref()) {
        Ok(Selection { image, warning: None }) => Ok(image.descriptor.digest),
        Ok(Selection { warning: Some(warning), .. }) => Err(format!("warning: {warning}")),
        Err(error) => Err(error.to_string()),
    }
}

/// A platform that no test runs on.
const OTHER: &str = "linux/s390x";

#[test]
fn the_platform_that_was_asked_for_is_chosen_through_nested_indexes() {
    let mut source = Memory::default();
    let (arm, pc) = (source.listed("linux/arm/v6"), source.listed("linux/amd64"));
    let inner = source.index(&[arm.clone(), pc.clone()]);
    let outer = source.index(&[inner.clone(), inner]);
    let choose = |platform| chosen(&source, std::slice::from_ref(&outer), Some(platform));
    assert_eq!(choose("linux/amd64"), Ok(pc.digest));
    assert_eq!(choose("linux/arm/v7"), Ok(arm.digest));
    assert_eq!(
        choose("linux/386"),
        Err("no image for platform linux/386; there is linux/arm/v6, linux/amd64".to_owned())
    );
}

#[test]
fn the_hosts_platform_is_chosen_or_else_the_first_with_a_warning() {
    let mut source = Memory::default();
    let host = Platform::host().to_string();
    let (own, other) = (source.listed(&host), source.listed(OTHER));
    assert_eq!(chosen(&source, &[other.clone(), own.clone()], None), Ok(own.digest));
    let warning = format!("warning: the image's platform ({OTHER}) does not match the host's ({host})");
    assert_eq!(chosen(&source, &[other], None), Err(warning));
}

#[test]
fn where_no_descriptor_has_a_platform_the_configs_decide() {
    let mut source = Memory::default();
    let (own, other, silent) =
        (source.image(&Platform::host().to_string()), source.image(OTHER), source.image(""));
    let all = [other.clone(), silent.clone(), own.clone()];
    assert_eq!(chosen(&source, &all, None), Ok(own.digest));
    assert_eq!(chosen(&source, &all, Some(OTHER)), Ok(other.digest));
    assert_eq!(chosen(&source, &all, Some("windows/arm64")), Ok(silent.digest));
}

#[test]
fn attestations_signatures_and_absent_images_are_passed_over() {
    let mut source = Memory::default();
    let own = source.image(&Platform::host().to_string());
    let mut attestation = source.image("");
    attestation.annotations.insert(media::REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned());
    let config = source.put(media::OCI_CONFIG, b"{}");
    let layer = source.put("application/vnd.dev.cosign.simplesigning.v1+json", b"x");
    let signature = Raw::encode(Manifest::new(config, vec![layer])).unwrap();
    let signature = source.put(media::OCI_MANIFEST, signature.bytes());
    let mut absent = Descriptor::of(media::OCI_MANIFEST, b"absent");
    absent.platform = Some(Platform::host());
    let all = [attestation.clone(), signature.clone(), absent.clone(), own.clone()];
    assert_eq!(chosen(&source, &all, None), Ok(own.digest));
    assert_eq!(chosen(&source, &[attestation], None), Err("no image".to_owned()));
    assert_eq!(chosen(&source, &[absent.clone()], None), Err(format!("blob {} is missing", absent.digest)));
    let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
    let not = format!("{} is not an image but {kind:?}", signature.digest);
    assert_eq!(chosen(&source, &[signature], None), Err(not));
}

#[test]
fn a_corrupt_image_is_not_hidden_by_one_for_another_platform() {
    let mut source = Memory::default();
    let (own, other) = (source.image(&Platform::host().to_string()), source.listed(OTHER));
    source.0.insert(own.digest, b"{}".to_vec());
    let error = Error::DigestMismatch { expected: own.digest, found: Digest::of(b"{}") }.to_string();
    assert_eq!(chosen(&source, &[other, own], None), Err(error));
}

#[test]
fn a_wrong_size_beside_the_right_digest_is_taken() {
    let mut source = Memory::default();
    let mut own = source.image(&Platform::host().to_string());
    own.size += 1;
    assert_eq!(chosen(&source, std::slice::from_ref(&own), None), Ok(own.digest));
}

#[test]
fn indexes_nested_without_end_are_refused() {
    let mut source = Memory::default();
    let mut index = source.image("linux/amd64");
    for _ in 0..2000 {
        index = source.index(&[index]);
    }
    let error = chosen(&source, &[index], None).unwrap_err();
    assert!(error.ends_with("is nested too deeply"), "{error}");
}

#[test]
fn layers_and_diff_ids_must_be_as_many() {
    let mut source = Memory::default();
    let config = source.put(media::OCI_CONFIG, br#"{"os":"linux","architecture":"amd64"}"#);
    let layer = Descriptor::of(media::OCI_LAYER, b"");
    let manifest = Raw::encode(Manifest::new(config, vec![layer])).unwrap();
    let manifest = source.put(media::OCI_MANIFEST, manifest.bytes());
    let error = read(&source, &manifest).unwrap().layers().unwrap_err().to_string();
    assert_eq!(error, format!("manifest {} has 1 layers, and its config has 0 diff ids", manifest.digest));
}

/// A store with what `source` holds.
fn store_of(source: &Memory) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    for bytes in source.0.values() {
        store.put(bytes).unwrap();
    }
    (directory, store)
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn an_image_of_the_store_is_found_by_name_digest_or_the_start_of_an_id() {
    let mut source = Memory::default();
    let (own, other) = (source.listed(&Platform::host().to_string()), source.listed(OTHER));
    let index = source.index(&[own.clone(), other.clone()]);
    let single = source.image("linux/riscv64");
    let (_directory, store) = store_of(&source);
    store.tag(&index, Some(&reference("a:1"))).unwrap();
    store.tag(&index, Some(&reference("b/c"))).unwrap();
    store.tag(&single, None).unwrap();
    let stored = Stored::new(&store);
    let find = |wanted: &str| {
        let found = stored.find(wanted, None).map(|found| (found.image.descriptor.digest, found.image.names));
        found.map_err(|error| error.to_string())
    };
    let names = vec![reference("a:1"), reference("b/c")];
    let found = |descriptor: &Descriptor, names: &[Reference]| Ok((descriptor.digest, names.to_vec()));
    let config = read(&source, &other).unwrap().id();
    assert_eq!(find("a:1"), found(&own, &names));
    assert_eq!(find("docker.io/b/c:latest"), found(&own, &names));
    assert_eq!(find(&format!("a@{}", index.digest)), found(&own, &names));
    assert_eq!(find(&format!("a:9@{}", other.digest)), found(&other, &names));
    assert_eq!(find(&config.short()), found(&other, &names));
    assert_eq!(find(&config.to_string()), found(&other, &names));
    assert_eq!(find(&single.digest.hex()[..20]), found(&single, &[]));
    for absent in ["a", "z", "", "Bad Name", &format!("d@{}", index.digest), &Digest::of(b"?").to_string()] {
        assert_eq!(find(absent), Err(format!("no such image: {absent}")));
    }
}

#[test]
fn an_id_that_starts_two_images_is_refused() {
    let mut source = Memory::default();
    let images: Vec<Descriptor> =
        (0..17).map(|variant| source.image(&format!("linux/arm/v{variant}"))).collect();
    let (_directory, store) = store_of(&source);
    for image in &images {
        store.tag(image, None).unwrap();
    }
    let stored = Stored::new(&store);
    let results: Vec<String> = (0..16)
        .filter_map(|digit| stored.find(&format!("{digit:x}"), None).err())
        .map(|error| error.to_string())
        .collect();
    assert!(results.iter().any(|error| error.starts_with("more than one image has an id")), "{results:?}");
}

#[test]
fn a_corrupt_image_does_not_hide_the_others() {
    let mut source = Memory::default();
    let (own, other) = (source.image(&Platform::host().to_string()), source.image(OTHER));
    let (_directory, store) = store_of(&source);
    store.tag(&other, None).unwrap();
    store.tag(&own, None).unwrap();
    std::fs::write(store.root().join("blobs/sha256").join(other.digest.hex()), "{}").unwrap();
    let stored = Stored::new(&store);
    let id = read(&source, &own).unwrap().id();
    assert_eq!(stored.find(&id.hex(), None).unwrap().image.descriptor.digest, own.digest);
    let ids: Vec<Digest> = stored.images().unwrap().iter().map(Image::id).collect();
    assert_eq!(ids, [id]);
    assert_eq!(stored.resolve(&other.digest.short()).unwrap().entry.descriptor.digest, other.digest);
}

/// Removes what nothing needs, and tells which blobs those were.
fn sweep(store: &Store, held: HashSet<Digest>) -> Result<HashSet<Digest>> {
    let blobs = || store.blobs().unwrap().into_iter().map(|blob| blob.name).collect::<HashSet<Digest>>();
    let before = blobs();
    Removal::plan(store, store.exclusive()?, held, Reach::Unused, |_| false)?.apply()?;
    Ok(&before - &blobs())
}

#[test]
fn a_sweep_leaves_what_an_image_reaches_and_what_is_held() {
    let mut source = Memory::default();
    let (own, other) = (source.listed("linux/amd64"), source.listed(OTHER));
    let index = source.index(&[own, other]);
    let kept: HashSet<Digest> = source.0.keys().copied().collect();
    let (held, dead) = (source.put("", b"held"), source.image("linux/arm"));
    let (_directory, store) = store_of(&source);
    store.tag(&index, None).unwrap();
    assert_eq!(reachable(&store).unwrap(), kept);
    let swept = sweep(&store, HashSet::from([held.digest])).unwrap();
    assert_eq!(swept, HashSet::from([dead.digest, read(&source, &dead).unwrap().id()]));
}

#[test]
fn nothing_is_swept_while_a_document_is_corrupt() {
    let mut source = Memory::default();
    let image = source.image("linux/amd64");
    let (_directory, store) = store_of(&source);
    store.tag(&image, None).unwrap();
    std::fs::write(store.root().join("blobs/sha256").join(image.digest.hex()), "{}").unwrap();
    assert!(
        matches!(sweep(&store, HashSet::new()), Err(Error::DigestMismatch { expected, .. }) if expected == image.digest)
    );
}
