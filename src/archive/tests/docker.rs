//! `docker save` of all ages.

use super::*;

/// An archive with one image, `manifest.json` last as docker writes it.
fn saved(manifest: &Value, layers: &[(&str, Entry)], config: &Value) -> Vec<u8> {
    let copy = |entry: &Entry| match entry {
        Entry::File(bytes) => file(bytes),
        Entry::Symlink(target) => Entry::Symlink(target),
        Entry::Hardlink(target) => Entry::Hardlink(target),
    };
    let mut entries: Vec<(&str, Entry)> = layers.iter().map(|(name, entry)| (*name, copy(entry))).collect();
    entries.push(("config.json", text(config)));
    entries.push(("manifest.json", text(manifest)));
    tar(&entries)
}

#[test]
fn an_image_is_its_config_and_layers_under_a_manifest_of_our_own() {
    let place = place();
    let (lower, upper) = (layer("a"), layer("b"));
    let config = config(&host(), &[&lower, &upper]);
    let manifest = json!([{"Config": "config.json", "RepoTags": ["x:1", "example.com/y:2"], "Layers": ["0/layer.tar", "1/layer.tar"]}]);
    let layers = [("0/layer.tar", file(&lower)), ("1/layer.tar", file(&upper))];
    let path = place.write("x.tar", &saved(&manifest, &layers, &config));

    let archive = place.open(&path).unwrap();
    let (image, warnings) = archive.image(None, None).unwrap();
    assert_eq!(image.config.bytes(), config.to_string().as_bytes());
    assert_eq!(
        image.manifest.value(),
        &crate::oci::Manifest::new(
            Descriptor::of(media::OCI_CONFIG, config.to_string().as_bytes()),
            vec![Descriptor::of(media::OCI_LAYER, &lower), Descriptor::of(media::OCI_LAYER, &upper)],
        )
    );
    let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["docker.io/library/x:1", "example.com/y:2"]);
    assert_eq!(bytes_of(&archive, &image), [lower, upper]);
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn keys_are_read_in_any_case_and_names_may_be_null_absent_or_empty() {
    let place = place();
    let bottom = layer("a");
    let config = config(&host(), &[&bottom]);
    for manifest in [
        json!([{"config": "config.json", "repoTags": null, "layers": ["l.tar"]}]),
        json!([{"CONFIG": "config.json", "Layers": ["l.tar"], "Unknown": 1}]),
        json!([{"Config": "./config.json", "RepoTags": [], "Layers": ["/l.tar"]}]),
    ] {
        let path = place.write("x.tar", &saved(&manifest, &[("./l.tar", file(&bottom))], &config));
        let (image, _) = place.image(&path, None).unwrap();
        assert_eq!((image.names, image.config.value().rootfs.diff_ids.len()), (vec![], 1), "{manifest}");
    }
}

#[test]
fn an_editors_mark_before_the_text_is_passed_over() {
    let place = place();
    let bottom = layer("a");
    let config = config(&host(), &[&bottom]).to_string();
    let manifest = "\u{feff}[{\"Config\": \"c.json\", \"Layers\": [\"l.tar\"]}]";
    let entries = [
        ("manifest.json", file(manifest.as_bytes())),
        ("c.json", file(config.as_bytes())),
        ("l.tar", file(&bottom)),
    ];
    let (image, _) = place.image(&place.write("x.tar", &tar(&entries)), None).unwrap();
    assert_eq!(image.config.bytes(), config.as_bytes());
}

#[test]
fn a_layer_may_be_a_link_to_another_member_and_never_to_anything_else() {
    let place = place();
    let bottom = layer("a");
    let config = config(&host(), &[&bottom, &bottom, &bottom]);
    let manifest =
        json!([{"Config": "config.json", "Layers": ["0/layer.tar", "1/layer.tar", "2/layer.tar"]}]);
    let with = |last: Entry| {
        let layers = [
            ("0/layer.tar", file(&bottom)),
            ("1/layer.tar", Entry::Symlink("../0/layer.tar")),
            ("2/layer.tar", last),
        ];
        place.write("x.tar", &saved(&manifest, &layers, &config))
    };
    let archive = place.open(&with(Entry::Hardlink("1/layer.tar"))).unwrap();
    let (image, _) = archive.image(None, None).unwrap();
    assert_eq!(bytes_of(&archive, &image), vec![bottom.clone(); 3]);
    for link in
        [Entry::Symlink("/etc/passwd"), Entry::Symlink("layer.tar"), Entry::Hardlink("../../etc/passwd")]
    {
        assert_eq!(place.refusal(&with(link), None), "\"2/layer.tar\" is missing in x.tar");
    }
}

#[test]
fn a_compressed_layer_is_known_by_its_own_digest_and_read_through_once() {
    let place = place();
    let (lower, upper) = (layer("a"), layer("b"));
    let config = config(&host(), &[&lower, &upper]);
    let manifest = json!([{"Config": "config.json", "Layers": ["0.tar.zst", "1.tar.xz"]}]);
    let layers = [("0.tar.zst", file(&zstd(&lower))), ("1.tar.xz", file(&xz(&upper)))];
    let path = place.write("x.tar", &saved(&manifest, &layers, &config));
    let descriptors = |image: &Image| image.manifest.value().layers.clone();

    let (image, _) = place.image(&path, None).unwrap();
    let expected = [
        Descriptor::of(media::OCI_LAYER_ZSTD, &zstd(&lower)),
        Descriptor::of("application/vnd.oci.image.layer.v1.tar+xz", &xz(&upper)),
    ];
    assert_eq!(descriptors(&image), expected);
    for layer in &expected {
        let index = place.store.derived(crate::store::Derived::Index, &layer.digest);
        assert!(index.unwrap().is_some(), "the pass that found the digest left its index");
        place.store.drop_derived(crate::store::Derived::Index, &layer.digest).unwrap();
    }
    let (image, _) = place.image(&path, None).unwrap();
    assert_eq!(descriptors(&image), expected);
    for layer in &expected {
        let index = place.store.derived(crate::store::Derived::Index, &layer.digest);
        assert!(index.unwrap().is_none(), "what was found out was remembered");
    }
}

#[test]
fn of_several_images_the_one_for_the_platform_is_taken_and_the_others_are_told_of() {
    let place = place();
    let bottom = layer("a");
    let entry = |name: &str, config: &str| json!({"Config": config, "RepoTags": [name], "Layers": ["l.tar"]});
    let manifest = json!([entry("other:1", "s390x.json"), entry("host:1", "host.json")]);
    let bytes = tar(&[
        ("l.tar", file(&bottom)),
        ("s390x.json", text(&config("s390x", &[&bottom]))),
        ("host.json", text(&config(&host(), &[&bottom]))),
        ("manifest.json", text(&manifest)),
    ]);
    let path = place.write("x.tar", &bytes);
    let taken = |wanted: Option<&str>, platform: Option<&str>| {
        let platform: Option<Platform> = platform.map(|platform| platform.parse().unwrap());
        let (image, warnings) = place.open(&path).unwrap().image(wanted, platform.as_ref()).unwrap();
        let shown = format!("{}/", place.directory.path().display());
        (image.names[0].familiar(), warnings.join("\n").replace(&shown, ""))
    };
    let several = "x.tar holds other:1, host:1; took".to_owned();
    assert_eq!(taken(None, None), ("host:1".to_owned(), format!("{several} host:1")));
    assert_eq!(taken(None, Some("linux/s390x")), ("other:1".to_owned(), format!("{several} other:1")));
    assert_eq!(taken(Some("@1"), None), ("host:1".to_owned(), String::new()));
    assert_eq!(taken(Some("docker.io/library/host:1"), None), ("host:1".to_owned(), String::new()));
    let (name, warning) = taken(Some("other:1"), None);
    assert!(name == "other:1" && warning.contains("does not match the host's"), "{warning}");
    assert_eq!(
        place.refusal(&path, Some("none:1")),
        "no image \"none:1\" in x.tar; it holds other:1, host:1"
    );
    assert_eq!(place.refusal(&path, Some("@2")), "no image @2 in x.tar, which holds 2");
    let candidates: Vec<_> =
        place.open(&path).unwrap().images().into_iter().map(|found| (found.reference, found.names)).collect();
    assert_eq!(
        candidates,
        [("@0".to_owned(), vec!["other:1".to_owned()]), ("@1".to_owned(), vec!["host:1".to_owned()])]
    );
}

/// What docker 25 and later write: a layout beside `manifest.json`.
fn saved_by_docker_25(with_manifest: bool) -> (Vec<u8>, Digest) {
    let bottom = layer("a");
    let config = config(&host(), &[&bottom]).to_string();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": Descriptor::of(media::OCI_CONFIG, config.as_bytes()),
        "layers": [Descriptor::of(media::OCI_LAYER, &bottom)], "annotations": {"kept": "as it is"}})
    .to_string();
    let of_manifest = Descriptor::of(media::OCI_MANIFEST, manifest.as_bytes());
    let list = json!([{"Config": blob(config.as_bytes()), "RepoTags": ["x:1"], "Layers": [blob(&bottom)]}]);
    let mut entries = vec![
        (blob(config.as_bytes()), file(config.as_bytes())),
        (blob(&bottom), file(&bottom)),
        ("index.json".to_owned(), text(&json!({"schemaVersion": 2, "manifests": [of_manifest]}))),
        ("manifest.json".to_owned(), text(&list)),
    ];
    if with_manifest {
        entries.push((blob(manifest.as_bytes()), file(manifest.as_bytes())));
    }
    (tar(&entries), of_manifest.digest)
}

#[test]
fn an_image_keeps_its_digest_where_the_layout_beside_it_has_its_manifest() {
    let place = place();
    for with_manifest in [true, false] {
        let (bytes, digest) = saved_by_docker_25(with_manifest);
        let path = place.write("x.tar", &bytes);
        let archive = place.open(&path).unwrap();
        let (image, _) = archive.image(None, None).unwrap();
        assert_eq!(image.descriptor.digest == digest, with_manifest);
        assert_eq!(bytes_of(&archive, &image), [layer("a")]);
    }
}

#[test]
fn an_archive_unpacked_in_a_directory_is_read_as_well_and_not_left() {
    let place = place();
    let bottom = layer("a");
    let config = config(&host(), &[&bottom]).to_string();
    let manifest = |layer: &str| json!([{"Config": "config.json", "Layers": [layer]}]).to_string();
    place.write("secret.tar", &bottom);
    place.write("x/config.json", config.as_bytes());
    place.write("x/l.tar", &bottom);
    place.write("x/manifest.json", manifest("l.tar").as_bytes());
    std::os::unix::fs::symlink("../secret.tar", place.path("x/out.tar")).unwrap();

    let archive = place.open(&place.path("x")).unwrap();
    let (image, _) = archive.image(None, None).unwrap();
    assert_eq!(bytes_of(&archive, &image), [bottom]);
    for layer in ["../secret.tar", "out.tar", "/etc/passwd"] {
        place.write("x/manifest.json", manifest(layer).as_bytes());
        assert_eq!(
            place.refusal(&place.path("x"), None),
            format!("cannot read {layer:?} in x: it leads out of the directory")
                .replace(&format!("{}/", place.directory.path().display()), ""),
        );
    }
}

#[test]
fn what_lists_no_image_or_not_what_it_should_is_refused() {
    let place = place();
    let refusal = |manifest: &str| {
        place.refusal(&place.write("x.tar", &tar(&[("manifest.json", file(manifest.as_bytes()))])), None)
    };
    assert_eq!(refusal("null"), "no image in x.tar");
    assert_eq!(refusal("[]"), "no image in x.tar");
    assert_eq!(refusal(r#"[{"Config":"c.json"}]"#), "\"c.json\" is missing in x.tar");
    assert!(refusal("foobar").starts_with("\"manifest.json\" in x.tar: expected"));
    assert!(refusal(r#"[{"Layers":"a"}]"#).starts_with("\"manifest.json\" in x.tar: invalid type"));
    let huge = format!("[{}]", " ".repeat(5 << 20));
    assert_eq!(
        refusal(&huge),
        "\"manifest.json\" in x.tar has 5242882 bytes, more than the limit of 4194304"
    );
    let bottom = layer("a");
    let manifest = json!([{"Config": "config.json", "RepoTags": ["x:1"], "Layers": ["l.tar"]}]);
    let config = config(&host(), &[&bottom, &bottom]);
    let path = place.write("x.tar", &saved(&manifest, &[("l.tar", file(&bottom))], &config));
    assert_eq!(place.refusal(&path, None), "image x:1 in x.tar has 1 layers, and its config has 2 diff ids");
}

#[test]
fn format_1_0_is_read_from_its_chain_of_parents() {
    let place = place();
    let (lower, upper) = (layer("a"), layer("b"));
    let tip = json!({"id": "bb", "parent": "aa", "os": "linux", "architecture": host(), "author": "me",
        "created": "2015-01-01T00:00:00Z", "config": {"Cmd": ["sh"]}, "container_config": {"Cmd": ["make", "b"]}});
    let mut entries = vec![
        ("bb/json".to_owned(), text(&tip)),
        ("bb/layer.tar".to_owned(), file(&zstd(&upper))),
        ("aa/json".to_owned(), text(&json!({"id": "aa", "created": "2014-01-01T00:00:00Z"}))),
        ("aa/layer.tar".to_owned(), file(&lower)),
    ];
    let expected = json!({"architecture": host(), "os": "linux", "created": "2015-01-01T00:00:00Z", "author": "me",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&lower), Digest::of(&upper)]},
        "history": [{"created": "2014-01-01T00:00:00Z"},
            {"created": "2015-01-01T00:00:00Z", "created_by": "make b", "author": "me"}]});
    let read = |entries: &[(String, Entry)]| {
        let (image, _) = place.image(&place.write("x.tar", &tar(entries)), None).unwrap();
        let config: Value = serde_json::from_slice(image.config.bytes()).unwrap();
        (config, image.names.iter().map(Reference::familiar).collect::<Vec<_>>())
    };
    assert_eq!(read(&entries), (expected.clone(), vec![]));
    entries.push(("repositories".to_owned(), text(&json!({"busybox": {"latest": "bb"}}))));
    assert_eq!(read(&entries), (expected, vec!["busybox:latest".to_owned()]));
}

#[test]
fn a_chain_of_parents_that_goes_round_is_refused() {
    let place = place();
    let entries = [
        ("aa/json", text(&json!({"parent": "bb"}))),
        ("aa/layer.tar", file(b"")),
        ("bb/json", text(&json!({"parent": "aa"}))),
        ("repositories", text(&json!({"x": {"1": "aa"}}))),
    ];
    let path = place.write("x.tar", &tar(&entries));
    assert_eq!(place.refusal(&path, None), "image aa in x.tar has more than 1000 layers");
}
