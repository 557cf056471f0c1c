//! Bare tars, which are images of one layer, and what is no image at all.

use super::*;

fn read(place: &Place, bytes: &[u8]) -> (Archive, Image) {
    let archive = place.open(&place.write("rootfs", bytes)).unwrap();
    let (image, _) = archive.image(None, None).unwrap();
    (archive, image)
}

#[test]
fn a_tar_is_an_image_of_one_layer_however_it_is_compressed() {
    let place = place();
    let plain = layer("etc/passwd");
    for (bytes, media_type) in [
        (plain.clone(), media::OCI_LAYER),
        (zstd(&plain), media::OCI_LAYER_ZSTD),
        (xz(&plain), "application/vnd.oci.image.layer.v1.tar+xz"),
        (bzip2(&plain), "application/vnd.oci.image.layer.v1.tar+bzip2"),
    ] {
        let (archive, image) = read(&place, &bytes);
        assert_eq!(image.manifest.value().layers, [Descriptor::of(media_type, &bytes)]);
        assert_eq!(image.diff_ids(), [crate::oci::DiffId(Digest::of(&plain))]);
        assert_eq!(image.platform(), Some(Platform::host()));
        assert_eq!(bytes_of(&archive, &image), [bytes]);
        let layers = image.layers().unwrap();
        assert!(archive.place(&layers[0].descriptor).unwrap().is_some(), "it is read in place");
    }
}

#[test]
fn a_layer_is_the_same_image_wherever_it_lies_and_for_the_platform_that_is_asked_for() {
    let place = place();
    let bytes = layer("a");
    let (_, first) = read(&place, &bytes);
    let elsewhere = place.write("other/name", &bytes);
    let (second, _) = place.image(&elsewhere, None).unwrap();
    assert_eq!(first.descriptor, second.descriptor);
    let platform: Platform = "linux/s390x".parse().unwrap();
    let (other, _) = place.open(&elsewhere).unwrap().image(None, Some(&platform)).unwrap();
    assert_eq!(other.platform(), Some(platform));
}

#[test]
fn a_changed_file_is_another_layer() {
    let place = place();
    let (_, first) = read(&place, &layer("a"));
    let (_, second) = read(&place, &layer("b"));
    assert_ne!(first.descriptor.digest, second.descriptor.digest);
    assert_eq!(second.diff_ids(), [crate::oci::DiffId(Digest::of(&layer("b")))]);
}

#[test]
fn a_damaged_memo_is_as_none() {
    let place = place();
    let (_, first) = read(&place, &zstd(&layer("a")));
    let memos = place.path("store/plyfs/archives");
    for memo in std::fs::read_dir(&memos).unwrap().map(Result::unwrap) {
        std::fs::write(memo.path(), b"{\"version\":1").unwrap();
    }
    let (second, _) = place.image(&place.path("rootfs"), None).unwrap();
    assert_eq!(first.descriptor, second.descriptor);
}

#[test]
fn a_system_that_has_a_manifest_json_somewhere_is_a_layer() {
    let place = place();
    let (_, image) = read(&place, &tar(&[("./usr/bin/true", file(b"")), ("./manifest.json", file(b"{}"))]));
    assert_eq!(image.diff_ids().len(), 1);
}

#[test]
fn what_is_no_image_is_refused() {
    let place = place();
    std::fs::create_dir(place.path("directory")).unwrap();
    for (name, bytes) in [
        ("text", b"no tar".to_vec()),
        ("long", vec![b'x'; 4096]),
        ("disk", [vec![0; 1024], vec![1; 1024]].concat()),
        ("packed", zstd(b"no tar")),
    ] {
        assert_eq!(
            place.refusal(&place.write(name, &bytes), None),
            format!("{name} is neither a docker archive, an OCI layout nor a tar")
        );
    }
    assert_eq!(
        place.refusal(&place.path("directory"), None),
        "directory is neither a docker archive, an OCI layout nor a tar"
    );
    assert_eq!(place.refusal(&place.write("empty", b""), None), "empty is empty");
    assert!(place.refusal(&place.path("none"), None).starts_with("cannot open none: No such file"));
}

#[test]
fn an_archive_that_is_cut_off_is_refused() {
    let place = place();
    let whole = tar(&[("manifest.json", file(b"null")), ("0/layer.tar", file(&[0; 4096]))]);
    let refused = place.refusal(&place.write("cut.tar", &whole[..2048]), None);
    assert_eq!(refused, "cut.tar is not a sound tar: entry \"0/layer.tar\" at byte 1536 is cut off");
    let refused = place.refusal(&place.write("cut.zst", &zstd(&whole)[..20]), None);
    assert!(refused.starts_with("cannot unpack cut.zst: "), "{refused}");
}
