//! OCI layouts, as directories and as tars, and `dir:`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// The blobs and the index of a layout.
#[derive(Default)]
struct Layout {
    blobs: Vec<Vec<u8>>,
    manifests: Vec<Value>,
}

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        self.blobs.push(bytes.to_vec());
        Descriptor::of(media_type, bytes)
    }

    /// An image with one file, `name`.
    fn image(&mut self, name: &str) -> Descriptor {
        let bottom = layer(name);
        let config = config(&host(), &[&bottom]).to_string();
        let manifest = json!({"schemaVersion": 2,
            "config": self.blob(media::OCI_CONFIG, config.as_bytes()),
            "layers": [self.blob(media::OCI_LAYER, &bottom)]});
        self.blob(media::OCI_MANIFEST, manifest.to_string().as_bytes())
    }

    fn index(&mut self, manifests: &[Descriptor]) -> Descriptor {
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests});
        self.blob(media::OCI_INDEX, index.to_string().as_bytes())
    }

    fn list(mut self, descriptor: &Descriptor, annotations: Value) -> Self {
        let mut entry = serde_json::to_value(descriptor).unwrap();
        entry["annotations"] = annotations;
        self.manifests.push(entry);
        self
    }

    fn entries(&self) -> Vec<(String, Entry)> {
        let blob = |bytes: &Vec<u8>| (format!("blobs/sha256/{}", Digest::of(bytes).hex()), file(bytes));
        let mut entries: Vec<_> = self.blobs.iter().map(blob).collect();
        entries.push(("index.json".to_owned(), text(&json!({"manifests": self.manifests}))));
        entries
    }

    fn directory(&self, place: &Place, name: &str) -> PathBuf {
        for (member, entry) in self.entries() {
            if let Entry::File(bytes) = entry {
                place.write(&format!("{name}/{member}"), &bytes);
            }
        }
        place.path(name)
    }
}

fn named(name: &str) -> Value {
    json!({"org.opencontainers.image.ref.name": name})
}

#[test]
fn a_layout_is_read_as_a_directory_and_as_a_tar() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("a");
    let layout = layout.list(&image, named("example.com/x:1"));
    for path in [layout.directory(&place, "x"), place.write("x.tar", &tar(&layout.entries()))] {
        let archive = place.open(&path).unwrap();
        let (read, warnings) = archive.image(None, None).unwrap();
        assert_eq!((read.descriptor.digest, warnings), (image.digest, vec![]));
        assert_eq!(read.names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["example.com/x:1"]);
        assert_eq!(bytes_of(&archive, &read), [layer("a")]);
        let layers = read.layers().unwrap();
        assert!(archive.place(&layers[0].descriptor).unwrap().is_some(), "layers are read in place");
    }
}

#[test]
fn a_document_may_stand_in_its_descriptor_alone() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("a");
    let manifest = layout.blobs.pop().unwrap();
    let embedded = |bytes: &[u8]| Descriptor { data: Some(STANDARD.encode(bytes)), ..image.clone() };
    let path = layout.list(&embedded(&manifest), named("v1")).directory(&place, "x");
    let (read, _) = place.image(&path, Some("v1")).unwrap();
    assert_eq!(read.manifest.bytes(), manifest);

    // What is not what the digest names is nothing.
    let mut other = Layout::default();
    other.image("a");
    other.blobs.pop();
    let path = other.list(&embedded(b"{}"), named("v1")).directory(&place, "y");
    let missing = format!("index.json lists {}, which is missing", image.digest);
    assert_eq!(place.refusal(&path, None), format!("no image in y: {missing}"));
}

#[test]
fn an_image_is_chosen_by_tag_by_name_by_the_end_of_its_name_or_by_place() {
    let place = place();
    let mut layout = Layout::default();
    let (a, b) = (layout.image("a"), layout.image("b"));
    let nested = layout.index(std::slice::from_ref(&b));
    let both = json!({"io.containerd.image.name": "docker.io/library/b:2",
        "org.opencontainers.image.ref.name": "2"});
    let layout = layout.list(&a, named("v1")).list(&nested, both);
    let path = layout.directory(&place, "x");
    let chosen = |wanted: Option<&str>| place.image(&path, wanted).unwrap();
    for (wanted, expected) in
        [("v1", &a), ("@0", &a), ("2", &b), ("b:2", &b), ("docker.io/library/b:2", &b), ("@1", &b)]
    {
        let (image, warnings) = chosen(Some(wanted));
        assert_eq!((image.descriptor.digest, warnings), (expected.digest, vec![]), "{wanted}");
    }
    let (first, warnings) = chosen(None);
    let expected = format!("{} holds v1, docker.io/library/b:2; took v1", path.display());
    assert_eq!((first.descriptor.digest, warnings), (a.digest, vec![expected]));
    assert_eq!(chosen(Some("2")).0.names.iter().map(Reference::familiar).collect::<Vec<_>>(), ["b:2"]);
    assert_eq!(place.refusal(&path, Some("v3")), "no image \"v3\" in x; it holds v1, docker.io/library/b:2");
}

#[test]
fn attestations_and_what_is_missing_are_passed_over() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("a");
    let absent = Descriptor::of(media::OCI_INDEX, b"nowhere");
    let statement = layout.blob(media::OCI_MANIFEST, b"{}");
    let mark = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let layout = layout.list(&absent, json!({})).list(&statement, mark).list(&image, named("v1"));
    let (read, warnings) = place.image(&layout.directory(&place, "x"), None).unwrap();
    assert_eq!(read.descriptor.digest, image.digest);
    assert_eq!(warnings, [format!("index.json lists {}, which is missing", absent.digest)]);
}

#[test]
fn blobs_may_be_links_inside_the_layout_and_never_out_of_it() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("a");
    let layout = layout.list(&image, named("v1"));
    let path = layout.directory(&place, "x");
    let blob = path.join("blobs/sha256").join(Digest::of(&layer("a")).hex());
    let link_to = |target: &str| {
        std::fs::remove_file(&blob).unwrap();
        std::os::unix::fs::symlink(target, &blob).unwrap();
    };
    place.write("x/rootfs.tar", &layer("a"));
    place.write("outside.tar", &layer("a"));

    link_to("../../rootfs.tar");
    let archive = place.open(&path).unwrap();
    let (read, _) = archive.image(None, None).unwrap();
    assert_eq!(bytes_of(&archive, &read), [layer("a")]);
    link_to("../../../outside.tar");
    let layers = read.layers().unwrap();
    let refused = archive.place(&layers[0].descriptor).unwrap_err().to_string();
    assert!(refused.ends_with("it leads out of the directory"), "{refused}");
}

#[test]
fn links_that_git_checked_out_as_text_are_links() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("a");
    let layout = layout.list(&image, named("v1"));
    let path = layout.directory(&place, "x");
    let blob = format!("x/blobs/sha256/{}", Digest::of(&layer("a")).hex());
    place.write("x/rootfs.tar", &layer("a"));
    place.write("outside.tar", &layer("a"));

    place.write(&blob, b"../../rootfs.tar");
    let archive = place.open(&path).unwrap();
    let (read, _) = archive.image(None, None).unwrap();
    assert_eq!(bytes_of(&archive, &read), [layer("a")]);
    place.write(&blob, b"../../../outside.tar");
    assert_eq!(bytes_of(&archive, &read), [b"../../../outside.tar"]);
}

#[test]
fn a_document_that_is_not_what_its_digest_says_is_refused() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("a");
    let layout = layout.list(&image, named("v1"));
    let path = layout.directory(&place, "x");
    place.write(&format!("x/blobs/sha256/{}", image.digest.hex()), b"{}");
    assert_eq!(
        place.refusal(&path, None),
        format!("x: blob {} is corrupt: its digest is {}", image.digest, Digest::of(b"{}"))
    );
}

#[test]
fn a_layout_without_an_image_is_refused_with_the_reason() {
    let place = place();
    let refusal = |index: &str| {
        place.write("x/index.json", index.as_bytes());
        place.refusal(&place.path("x"), None)
    };
    for index in ["{}", "null", r#"{"manifests":null}"#, r#"{"manifests":[]}"#] {
        assert_eq!(refusal(index), "no image in x", "{index}");
    }
    assert!(refusal("foobar").starts_with("\"index.json\" in x: expected"));
    let entry = |digest: &str, size: i64| {
        json!({"manifests": [{"mediaType": media::OCI_MANIFEST, "digest": digest, "size": size}]}).to_string()
    };
    let digest = Digest::of(b"").to_string();
    assert!(refusal(&entry(&digest, -1)).contains("size -1 is negative"));
    assert!(refusal(&entry("sha256:../../../../etc/passwd", 1)).contains("is not sha256:"));
    assert!(refusal(&entry("md5:00", 1)).contains("only sha256 is supported"));
    assert_eq!(
        refusal(&entry(&digest, 0)),
        format!("no image in x: index.json lists {digest}, which is missing")
    );
}

#[test]
fn an_index_nested_without_end_is_refused() {
    let place = place();
    let mut layout = Layout::default();
    let mut nested = layout.image("a");
    for _ in 0..2000 {
        nested = layout.index(&[nested]);
    }
    let layout = layout.list(&nested, named("v1"));
    let refused = place.refusal(&place.write("x.tar", &tar(&layout.entries())), None);
    assert!(refused.contains("is nested too deeply"), "{refused}");
}

#[test]
fn dir_is_one_image_with_its_blobs_beside_its_manifest() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("a");
    for blob in &layout.blobs {
        let name = if Digest::of(blob) == image.digest {
            "manifest.json".to_owned()
        } else {
            Digest::of(blob).hex()
        };
        place.write(&format!("x/{name}"), blob);
    }
    for form in [Form::Dir, Form::Any] {
        let location = Location { form, path: place.path("x"), reference: None };
        let archive = Archive::open(&place.store, &location).unwrap();
        let (read, _) = archive.image(None, None).unwrap();
        assert_eq!(read.descriptor.digest, image.digest);
        assert_eq!(bytes_of(&archive, &read), [layer("a")]);
    }
}

#[test]
fn what_the_user_says_it_is_must_be_there() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("a");
    let path = layout.list(&image, named("v1")).directory(&place, "x");
    let refusal = |form| {
        let location = Location { form, path: path.clone(), reference: None };
        let refused = Archive::open(&place.store, &location).map(|_| ()).unwrap_err().to_string();
        refused.replace(&format!("{}/", place.directory.path().display()), "")
    };
    assert_eq!(
        refusal(Form::Docker),
        "x is not a docker archive: it has neither manifest.json nor repositories"
    );
    assert_eq!(refusal(Form::Dir), "x is not a dir: image: it has no manifest.json");
}
