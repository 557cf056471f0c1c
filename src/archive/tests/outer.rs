//! Archives of images that are compressed as a whole.

use super::*;

fn archive() -> Vec<u8> {
    let bottom = layer("a");
    let manifest = json!([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["0/layer.tar"]}]);
    tar(&[
        ("0/layer.tar", file(&bottom)),
        ("c.json", text(&config(&host(), &[&bottom]))),
        ("manifest.json", text(&manifest)),
    ])
}

#[test]
fn a_compressed_archive_is_the_same_image() {
    let place = place();
    let (plain, _) = place.image(&place.write("x.tar", &archive()), None).unwrap();
    for (name, bytes) in [("x.zst", zstd(&archive())), ("x.xz", xz(&archive())), ("x.bz2", bzip2(&archive()))]
    {
        let opened = place.open(&place.write(name, &bytes)).unwrap();
        let (image, _) = opened.image(None, None).unwrap();
        assert_eq!(image.descriptor, plain.descriptor, "{name}");
        assert_eq!(bytes_of(&opened, &image), [layer("a")], "{name}");
        let layers = image.layers().unwrap();
        assert!(opened.place(&layers[0].descriptor).unwrap().is_none(), "a layer comes as a stream alone");
    }
}

#[test]
fn what_was_read_of_a_compressed_archive_is_not_unpacked_again() {
    let place = place();
    let bytes = zstd(&archive());
    let path = place.write("x.tar.zst", &bytes);
    let (first, _) = place.image(&path, None).unwrap();

    // The same file with other bytes in it, its times put back: only what is remembered can be read of it.
    let identity = memo::Identity::of(&std::fs::File::open(&path).unwrap()).unwrap();
    let memo = Memo::new(&place.store);
    let content = memo.content(identity).unwrap();
    std::fs::write(&path, &bytes[..16]).unwrap();
    let changed = memo::Identity::of(&std::fs::File::open(&path).unwrap()).unwrap();
    memo.learn_content(changed, content);
    let layer = memo::Known::Plain;
    let memo::Content::Packed { members, .. } = memo.content(changed).unwrap() else { panic!() };
    memo.learn_layer(changed, members.find("0/layer.tar").unwrap(), layer);

    let opened = place.open(&path).unwrap();
    let (second, _) = opened.image(None, None).unwrap();
    assert_eq!(second.descriptor, first.descriptor);
    let layers = second.layers().unwrap();
    assert!(
        opened.blob(&layers[0].descriptor).is_err(),
        "a layer's bytes are unpacked when they are asked for"
    );
}
