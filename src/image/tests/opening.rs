//! An image's layers opened where they are: indexed once, and read from what the store has from then on.

use std::sync::Arc;

use super::loading::{Shop, empty_store};
use super::*;
use crate::layer::{ChunkCache, Contents, Kind, Layer};
use crate::store::Derived;

/// The files of each layer, bottom first: `name=content`.
fn listing(layers: &[Arc<Layer>]) -> Vec<String> {
    let contents = Contents::new(layers.to_vec(), Arc::new(ChunkCache::new(1 << 20)), None);
    let mut listed = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let index = layer.index();
        for at in 0..index.children(0).len() {
            let entry = index.children(0).get(at).unwrap();
            assert_eq!(entry.kind, Kind::File);
            let content = index.content(entry.id).unwrap();
            let number = u16::try_from(number).unwrap();
            let text =
                contents.read(number, &content, 0, 100, |bytes| String::from_utf8_lossy(bytes).into_owned());
            listed.push(format!("{}={}", String::from_utf8_lossy(entry.name), text.unwrap()));
        }
    }
    listed
}

/// An image of three layers, two of which are one.
fn image(shop: &mut Shop) -> (Image, Vec<Digest>) {
    let layers = [shop.layer("one"), shop.layer("two"), shop.layer("one")];
    let mut digests: Vec<Digest> = layers[..2].iter().map(|layer| layer.descriptor.digest).collect();
    digests.sort();
    (shop.image(&layers, &["a"]), digests)
}

const LISTING: [&str; 3] = ["one=one", "two=two", "one=one"];

#[test]
fn a_stream_is_read_once_and_then_its_sidecar_alone() {
    let mut shop = Shop::new();
    let (image, digests) = image(&mut shop);
    let (_directory, store) = empty_store();
    assert_eq!(listing(&layers(&store, &shop, &image, &()).unwrap()), LISTING);
    assert_eq!(shop.read(), digests);
    assert_eq!(listing(&layers(&store, &shop, &image, &()).unwrap()), LISTING);
    assert_eq!(shop.read(), []);
    assert!(!store.has_blob(&digests[0]).unwrap());
}

#[test]
fn a_lost_or_damaged_index_or_sidecar_is_made_again() {
    let mut shop = Shop::new();
    let (image, digests) = image(&mut shop);
    let (_directory, store) = empty_store();
    layers(&store, &shop, &image, &()).unwrap();
    shop.read();
    for kind in [Derived::Index, Derived::Sidecar] {
        for damage in [None, Some(&b"damaged"[..]), Some(&[0; 4096][..])] {
            store.drop_derived(kind, &digests[0]).unwrap();
            if let Some(bytes) = damage {
                store.put_derived(kind, &digests[0], bytes).unwrap();
            }
            assert_eq!(listing(&layers(&store, &shop, &image, &()).unwrap()), LISTING);
            assert_eq!(shop.read(), [digests[0]], "{kind:?} {damage:?}");
        }
    }
}

#[test]
fn an_image_of_the_store_is_opened_without_being_read_through() {
    let mut shop = Shop::new();
    let (image, _) = image(&mut shop);
    let (_directory, store) = empty_store();
    load(&store, &shop, &image, &()).unwrap();
    let stored = Stored::new(&store);
    let found = stored.find("a", Some(&"linux/amd64".parse().unwrap())).unwrap().image;
    assert_eq!(listing(&layers(&store, &stored, &found, &()).unwrap()), LISTING);
}

/// The shop with its layers in files.
struct Files<'a> {
    shop: &'a Shop,
    directory: &'a std::path::Path,
}

impl Source for Files<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.shop.document(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.shop.blob(descriptor)?;
        Ok(Box::new(self.place(descriptor)?.unwrap().reader()))
    }

    fn place(&self, descriptor: &Descriptor) -> Result<Option<Blob>> {
        let file =
            std::fs::File::open(self.directory.join(descriptor.digest.hex())).map_err(Error::source)?;
        let size = file.metadata().map_err(Error::source)?.len();
        Ok(Some(Blob::new(Arc::new(file), 0, size)))
    }
}

#[test]
fn a_place_is_read_through_before_it_is_trusted_even_if_the_layer_is_known() {
    let mut shop = Shop::new();
    let (image, digests) = image(&mut shop);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(digests[0].hex());
    for digest in &digests {
        std::fs::write(directory.path().join(digest.hex()), &shop.memory.0[digest]).unwrap();
    }
    let files = Files { shop: &shop, directory: directory.path() };
    let (_directory, store) = empty_store();
    load(&store, &shop, &image, &()).unwrap();
    shop.read();
    for _ in 0..2 {
        assert_eq!(listing(&layers(&store, &files, &image, &()).unwrap()), LISTING);
    }
    assert_eq!(shop.read(), []);
    let mut changed = shop.memory.0[&digests[0]].clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let found = Digest::of(&changed);
    std::fs::write(&path, changed).unwrap();
    let error = layers(&store, &files, &image, &()).err().unwrap().to_string();
    assert_eq!(error, format!("blob {} is corrupt: its digest is {found}", digests[0]));
}

#[test]
fn a_blob_that_was_cut_is_refused_before_it_is_opened() {
    let mut shop = Shop::new();
    let (image, digests) = image(&mut shop);
    let (_directory, store) = empty_store();
    load(&store, &shop, &image, &()).unwrap();
    std::fs::write(store.root().join("blobs/sha256").join(digests[0].hex()), "cut").unwrap();
    let error = layers(&store, &Stored::new(&store), &image, &()).err().unwrap().to_string();
    assert!(error.starts_with(&format!("blob {} has 3 bytes", digests[0])), "{error}");
}

#[test]
fn a_layer_that_is_not_what_the_image_says_is_not_opened_even_if_it_is_indexed() {
    let mut shop = Shop::new();
    let layer = shop.layer("one");
    let sound = shop.image(std::slice::from_ref(&layer), &[]);
    let (_directory, store) = empty_store();
    layers(&store, &shop, &sound, &()).unwrap();
    let other = crate::oci::DiffId(Digest::of(b"other"));
    let lying = shop.image(&[LayerOf { diff_id: other, ..layer.clone() }], &[]);
    let error = layers(&store, &shop, &lying, &()).err().unwrap().to_string();
    let digest = layer.descriptor.digest;
    assert!(error.starts_with(&format!("layer {digest} decompresses to")), "{error}");
}
