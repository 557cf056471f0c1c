use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::*;
use crate::oci::{Descriptor, Digest, Reference, media};

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    (directory, store)
}

/// Every file below the store but its locks, by path.
fn files(store: &Store) -> Vec<String> {
    fn walk(directory: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, root, found),
                false => found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    let mut found = Vec::new();
    walk(store.root(), store.root(), &mut found);
    found.retain(|path| ![LOCK, LEASE].contains(&path.as_str()));
    found.sort();
    found
}

fn read(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn blob_file(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

fn image(store: &Store, bytes: &[u8]) -> Descriptor {
    store.put(bytes).unwrap();
    Descriptor::of(media::OCI_MANIFEST, bytes)
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// `name digest-of` for each entry of index.json.
fn listing(store: &Store) -> Vec<(String, Digest)> {
    let show =
        |tag: Tag| (tag.name.map_or("<none>".to_owned(), |name| name.familiar()), tag.descriptor.digest);
    store.tags().unwrap().into_iter().map(show).collect()
}

fn derive(store: &Store, kind: Derived, key: &Digest, bytes: &[u8]) {
    let mut file = store.begin_derived().unwrap();
    file.write_all(bytes).unwrap();
    store.publish_derived(kind, key, file).unwrap();
}

#[test]
fn a_new_store_is_an_empty_layout_that_its_owner_alone_can_see() {
    let (_directory, store) = store();
    assert_eq!(files(&store), ["index.json", "oci-layout"]);
    assert_eq!(fs::metadata(store.root()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(listing(&store), []);
    assert_eq!(fs::read(store.path(LAYOUT)).unwrap(), LAYOUT_TEXT);
}

#[test]
fn a_directory_that_is_something_else_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter"), "dear").unwrap();
    let refused = |path: &Path| Store::open(path).unwrap_err().to_string();
    assert!(refused(directory.path()).ends_with("is not a plyfs store: it has other files in it"));
    assert!(refused(&directory.path().join("letter")).ends_with("is not a plyfs store: it is a file"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    fs::write(directory.path().join(LAYOUT), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(refused(directory.path()).ends_with(r#"its layout has version "2.0.0""#));
}

#[test]
fn a_store_whose_making_was_cut_short_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(OWN)).unwrap();
    assert_eq!(files(&Store::open(directory.path()).unwrap()), ["index.json", "oci-layout"]);
}

#[test]
fn a_layout_by_another_tool_can_be_the_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(LAYOUT), LAYOUT_TEXT).unwrap();
    fs::write(directory.path().join(INDEX), r#"{"schemaVersion":2,"manifests":null}"#).unwrap();
    let store = Store::open(directory.path()).unwrap();
    let descriptor = image(&store, b"{}");
    store.tag(&descriptor, Some(&reference("a"))).unwrap();
    assert_eq!(listing(&store), [("a:latest".to_owned(), descriptor.digest)]);
}

#[test]
fn stores_opened_at_once_are_one_store() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("deep/store");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Store::open(&root).unwrap());
        }
    });
    assert_eq!(files(&Store::open(&root).unwrap()), ["index.json", "oci-layout"]);
}

#[test]
fn a_blob_is_there_once_it_is_published_and_not_before() {
    let (_directory, store) = store();
    let digest = Digest::of(b"layer");
    let mut ingest = store.ingest().unwrap();
    ingest.write_all(b"layer").unwrap();
    assert!(!store.has_blob(&digest).unwrap());
    assert_eq!(store.blob(&digest).unwrap_err().to_string(), format!("no blob {digest} in the store"));
    ingest.publish(&digest, 5).unwrap();
    assert_eq!(read(store.blob(&digest).unwrap()), b"layer");
    assert_eq!(files(&store), [&blob_file(&digest), "index.json", "oci-layout"]);
}

#[test]
fn a_blob_that_is_dropped_or_too_short_leaves_nothing() {
    let (_directory, store) = store();
    let digest = Digest::of(b"layer");
    store.ingest().unwrap().write_all(b"layer").unwrap();
    let mut ingest = store.ingest().unwrap();
    ingest.write_all(b"lay").unwrap();
    let error = ingest.publish(&digest, 5).unwrap_err().to_string();
    assert_eq!(error, format!("blob {digest} has 3 bytes, and 5 were promised"));
    assert_eq!(files(&store), ["index.json", "oci-layout"]);
}

#[test]
fn a_tampered_document_is_found_out_and_can_be_put_again() {
    let (_directory, store) = store();
    let digest = store.put(b"{\"a\":1}").unwrap();
    fs::write(store.root().join(blob_file(&digest)), b"{\"a\":2}").unwrap();
    let found = Digest::of(b"{\"a\":2}");
    assert!(matches!(store.document(&digest, 100), Err(Error::Corrupt { expected, found: other })
        if expected == digest && other == found));
    store.set_aside(&digest).unwrap();
    assert!(!store.has_blob(&digest).unwrap());
    store.put(b"{\"a\":1}").unwrap();
    assert_eq!(store.document(&digest, 100).unwrap(), b"{\"a\":1}");
    store.set_aside(&Digest::of(b"absent")).unwrap();
}

#[test]
fn a_cut_blob_is_replaced_when_it_comes_in_again() {
    let (_directory, store) = store();
    let digest = store.put(b"whole").unwrap();
    fs::write(store.root().join(blob_file(&digest)), b"who").unwrap();
    store.put(b"whole").unwrap();
    assert_eq!(store.document(&digest, 5).unwrap(), b"whole");
    assert!(matches!(store.document(&digest, 4), Err(Error::TooLarge { limit: 4, .. })));
}

#[test]
fn a_symlink_in_place_of_a_blob_is_not_followed() {
    let (directory, store) = store();
    let secret = directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let digest = Digest::of(b"secret");
    std::os::unix::fs::symlink(&secret, store.root().join(blob_file(&digest))).unwrap();
    assert!(!store.has_blob(&digest).unwrap());
    assert!(matches!(store.blob(&digest), Err(Error::Io { .. })));
}

#[test]
fn a_derived_file_is_kept_replaced_and_dropped() {
    let (_directory, store) = store();
    let key = Digest::of(b"layer");
    let get = || store.derived(Derived::Index, &key).unwrap().map(read);
    assert_eq!(get(), None);
    derive(&store, Derived::Index, &key, b"one");
    derive(&store, Derived::Index, &key, b"two");
    assert_eq!(get(), Some(b"two".to_vec()));
    assert!(store.derived(Derived::Tree, &key).unwrap().is_none());
    store.drop_derived(Derived::Index, &key).unwrap();
    store.drop_derived(Derived::Index, &key).unwrap();
    assert_eq!(get(), None);
    assert_eq!(files(&store), ["index.json", "oci-layout"]);
}

#[test]
fn a_name_moves_and_the_image_that_had_it_stays_untagged() {
    let (_directory, store) = store();
    let (old, new) = (image(&store, b"old"), image(&store, b"new"));
    let name = reference("a:1");
    store.tag(&old, Some(&name)).unwrap();
    store.tag(&old, Some(&name)).unwrap();
    assert_eq!(listing(&store), [("a:1".to_owned(), old.digest)]);
    store.tag(&new, Some(&name)).unwrap();
    assert_eq!(listing(&store), [("<none>".to_owned(), old.digest), ("a:1".to_owned(), new.digest)]);
    store.tag(&old, Some(&reference("a:0"))).unwrap();
    assert_eq!(listing(&store), [("a:0".to_owned(), old.digest), ("a:1".to_owned(), new.digest)]);
}

#[test]
fn an_image_has_many_names_and_loses_them_one_by_one() {
    let (_directory, store) = store();
    let image = image(&store, b"image");
    store.tag(&image, None).unwrap();
    assert_eq!(listing(&store), [("<none>".to_owned(), image.digest)]);
    for name in ["a", "b/c:1"] {
        store.tag(&image, Some(&reference(name))).unwrap();
    }
    store.tag(&image, None).unwrap();
    assert_eq!(listing(&store), [("a:latest".to_owned(), image.digest), ("b/c:1".to_owned(), image.digest)]);
    assert_eq!(store.untag(&reference("a")).unwrap().unwrap().digest, image.digest);
    assert_eq!(store.untag(&reference("a")).unwrap(), None);
    assert_eq!(listing(&store), [("b/c:1".to_owned(), image.digest)]);
    store.untag(&reference("b/c:1")).unwrap();
    assert_eq!(listing(&store), [("<none>".to_owned(), image.digest)]);
    store.remove(&[image.digest]).unwrap();
    assert_eq!(listing(&store), []);
}

#[test]
fn an_image_that_is_not_in_the_store_gets_no_name() {
    let (_directory, store) = store();
    let absent = Descriptor::of(media::OCI_MANIFEST, b"absent");
    assert!(matches!(store.tag(&absent, None), Err(Error::NoBlob(digest)) if digest == absent.digest));
}

#[test]
fn what_others_wrote_into_the_index_stays_there() {
    let (_directory, store) = store();
    let image = image(&store, b"image");
    let text = format!(
        r#"{{"schemaVersion":2,"x-field":[1],"annotations":{{"a":"b"}},"manifests":[
            {{"mediaType":"m","digest":"{}","size":5,"data":"AA","annotations":{{"k":"v","{}":"1"}}}},
            {{"mediaType":"m","digest":"sha512:00","size":-3}}]}}"#,
        image.digest,
        media::REF_NAME
    );
    fs::write(store.path(INDEX), &text).unwrap();
    assert_eq!(listing(&store), [("1:latest".to_owned(), image.digest)]);
    store.untag(&reference("1")).unwrap();
    store.tag(&image, Some(&reference("z"))).unwrap();
    let now: serde_json::Value = serde_json::from_slice(&fs::read(store.path(INDEX)).unwrap()).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in [media::REF_NAME, media::CONTAINERD_NAME] {
        expected["manifests"][0]["annotations"][key] = "docker.io/library/z:latest".into();
    }
    assert_eq!(now, expected);
}

#[test]
fn an_index_that_is_not_json_is_named() {
    let (_directory, store) = store();
    fs::write(store.path(INDEX), "foobar").unwrap();
    let error = store.tags().unwrap_err().to_string();
    assert!(error.contains("index.json cannot be read"), "{error}");
}

#[test]
fn names_given_at_once_are_all_kept() {
    let (_directory, store) = store();
    let image = image(&store, b"image");
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (store, image) = (Store::open(store.root()).unwrap(), &image);
            scope.spawn(move || {
                for count in 0..10 {
                    store.tag(image, Some(&reference(&format!("w{worker}:{count}")))).unwrap();
                }
            });
        }
    });
    let names: HashSet<String> = listing(&store).into_iter().map(|(name, _)| name).collect();
    assert_eq!((names.len(), files(&store).len()), (80, 3));
}

fn sweep(store: &Store, live: &[Digest], reach: Reach) -> Sweep {
    let guard = store.exclusive().unwrap();
    let needs = Needs { live: live.iter().copied().collect(), gone: HashSet::new() };
    let sweep = store.plan_sweep(&guard, &needs, reach).unwrap();
    store.sweep_derived(&guard, &sweep).unwrap();
    store.sweep_blobs(&guard, &sweep).unwrap();
    sweep
}

#[test]
fn a_sweep_removes_what_is_not_live_and_what_was_derived_from_it() {
    let (_directory, store) = store();
    let (live, dead) = (store.put(b"live").unwrap(), store.put(b"dead!").unwrap());
    let in_place = Digest::of(b"a layer read in place");
    for key in [&live, &dead, &in_place] {
        derive(&store, Derived::Index, key, b"index");
    }
    let swept = sweep(&store, &[live], Reach::Unused);
    assert_eq!((swept.bytes(), swept.blobs), (10, vec![Kept { name: dead, size: 5 }]));
    let indexes = |digest: &Digest| format!("plyfs/indexes/{}", digest.hex());
    let mut expected =
        vec![blob_file(&live), "index.json".into(), "oci-layout".into(), indexes(&live), indexes(&in_place)];
    expected.sort();
    assert_eq!(files(&store), expected);
}

#[test]
fn a_sweep_takes_old_left_overs_and_leaves_new_ones() {
    let (_directory, store) = store();
    let now = SystemTime::now();
    for (name, age) in [("plyfs/tmp/new", 10), ("plyfs/tmp/old", 7200), ("plyfs/aside/blob", 0)] {
        let file = File::create(store.path(name)).unwrap();
        let then = now - Duration::from_secs(age);
        file.set_times(fs::FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
    }
    let unused = Digest::of(b"unused");
    derive(&store, Derived::Tree, &unused, b"tree");
    let month = now - Duration::from_secs(30 * 24 * 3600);
    let tree = store.derived(Derived::Tree, &unused).unwrap().unwrap();
    tree.set_times(fs::FileTimes::new().set_accessed(month).set_modified(month)).unwrap();
    assert_eq!(sweep(&store, &[], Reach::Unused).bytes(), 4);
    assert_eq!(files(&store), ["index.json", "oci-layout", "plyfs/tmp/new"]);
}

#[test]
fn a_sweep_reaches_as_far_as_it_is_told_to() {
    let (_directory, store) = store();
    let (kept, in_place) = (store.put(b"kept").unwrap(), Digest::of(b"a layer read in place"));
    derive(&store, Derived::Index, &kept, b"index");
    derive(&store, Derived::Index, &in_place, b"index");
    let cached = store.files_directory().join(blake3::hash(b"file").to_hex().as_str());
    fs::write(&cached, b"file").unwrap();
    let left = |reach| {
        sweep(&store, &[kept], reach);
        let indexes = store.all_derived(Derived::Index).unwrap().len();
        (indexes, store.cached().unwrap().len())
    };
    assert_eq!([Reach::Unused, Reach::Orphans, Reach::Cache].map(left), [(2, 1), (1, 1), (1, 0)]);
    assert!(store.has_blob(&kept).unwrap());
}

#[test]
fn what_the_holder_of_a_lease_finds_or_puts_stays_until_it_is_done() {
    let (_directory, store) = store();
    let (found, looked_for) = (store.put(b"found").unwrap(), Digest::of(b"to come"));
    let (other, in_place) = (store.put(b"other").unwrap(), Digest::of(b"in place"));
    let sweeper = Store::open(store.root()).unwrap();
    let (lease, again) = (store.lease().unwrap(), store.clone().lease().unwrap());
    assert!(store.has_blob(&found).unwrap() && !store.has_blob(&looked_for).unwrap());
    let put = store.put(b"put").unwrap();
    derive(&store, Derived::Index, &in_place, b"index");
    sweeper.put(b"to come").unwrap();
    drop(again);
    let swept = sweep(&sweeper, &[], Reach::Orphans);
    assert_eq!(swept.blobs, [Kept { name: other, size: 5 }]);
    assert!(sweeper.derived(Derived::Index, &in_place).unwrap().is_some());
    drop(lease);
    let mut gone: Vec<Digest> =
        sweep(&sweeper, &[], Reach::Orphans).blobs.iter().map(|blob| blob.name).collect();
    let mut expected = vec![found, looked_for, put];
    gone.sort();
    expected.sort();
    assert_eq!((gone, files(&store)), (expected, vec!["index.json".to_owned(), "oci-layout".to_owned()]));
}

#[test]
fn a_lease_whose_process_was_killed_pins_nothing_and_goes() {
    let (_directory, store) = store();
    let blob = store.put(b"blob").unwrap();
    fs::write(store.path("plyfs/leases/left"), blob.as_bytes()).unwrap();
    assert_eq!(sweep(&store, &[], Reach::Unused).blobs, [Kept { name: blob, size: 4 }]);
    assert!(!store.path("plyfs/leases/left").exists());
}

#[test]
fn where_a_lease_can_not_be_written_nothing_at_all_is_swept() {
    in_small_file_system("1m", |directory, _| {
        let store = Store::open(&directory.join("store")).unwrap();
        let blob = store.put(b"blob").unwrap();
        let lease = store.lease().unwrap();
        let mut ingest = store.ingest().unwrap();
        (0..64).find_map(|_| ingest.write_all(&[1; 65536]).err()).unwrap();
        assert!(store.has_blob(&blob).unwrap());
        let sweeper = Store::open(store.root()).unwrap();
        assert!(matches!(sweeper.exclusive(), Err(Error::InUse)));
        drop(lease);
        assert_eq!(sweep(&sweeper, &[], Reach::Unused).blobs, [Kept { name: blob, size: 4 }]);
    });
}

/// Runs `body` in a new file system of `size` bytes; where that may not be mounted, says so and does nothing.
fn in_small_file_system(size: &str, body: impl FnOnce(&Path, &dyn Fn(&str))) {
    let directory = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let options = format!("{options},size={size}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "plyfs-test"]).arg(directory.path());
        command.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !mount("rw") {
        writeln!(io::stderr(), "skipped: a tmpfs cannot be mounted here").unwrap();
        return;
    }
    let remount = |options: &str| assert!(mount(&format!("remount,{options}")));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(directory.path(), &remount)));
    let unmounted = Command::new("umount").arg(directory.path()).status().unwrap();
    assert!(unmounted.success());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_full_disk_leaves_the_store_as_it_was() {
    in_small_file_system("1m", |directory, _| {
        let store = Store::open(&directory.join("store")).unwrap();
        let image = image(&store, b"image");
        let before = files(&store);
        let mut ingest = store.ingest().unwrap();
        let error = (0..64).find_map(|_| ingest.write_all(&[1; 65536]).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let named = store.tag(&image, Some(&reference("a")));
        assert!(matches!(&named, Err(Error::Full { doing }) if doing.contains("index.json")), "{named:?}");
        assert!(matches!(store.put(b"more"), Err(Error::Full { .. })));
        assert_eq!(files(&store), before);
        drop(ingest);
        store.tag(&image, Some(&reference("a"))).unwrap();
        assert_eq!(listing(&store), [("a:latest".to_owned(), image.digest)]);
    });
}

#[test]
fn a_read_only_store_can_be_read_and_says_that_it_cannot_be_written() {
    in_small_file_system("1m", |directory, remount| {
        let root = directory.join("store");
        let writable = Store::open(&root).unwrap();
        let image = image(&writable, b"image");
        writable.tag(&image, Some(&reference("a"))).unwrap();
        remount("ro");
        let store = Store::open(&root).unwrap();
        let _lease = store.lease().unwrap();
        assert_eq!(listing(&store), [("a:latest".to_owned(), image.digest)]);
        assert_eq!(store.document(&image.digest, 100).unwrap(), b"image");
        assert!(matches!(store.put(b"more"), Err(Error::ReadOnly { .. })));
        assert!(matches!(store.untag(&reference("a")), Err(Error::ReadOnly { .. })));
    });
}
