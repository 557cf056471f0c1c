//! Images coming into the store: what is kept, what is refused, and what is never read twice.

use std::sync::Mutex;

use super::*;
use crate::oci::{DiffId, Hasher};
use crate::store::Derived;

/// A tar with one file.
fn tarball(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

/// An image of zstd layers in memory, and which of them were read.
pub(super) struct Shop {
    pub(super) memory: Memory,
    read: Mutex<Vec<Digest>>,
}

impl Source for Shop {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.memory.document(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>> {
        self.read.lock().unwrap().push(descriptor.digest);
        self.memory.blob(descriptor)
    }

    fn place(&self, descriptor: &Descriptor) -> Result<Option<Blob>> {
        self.memory.place(descriptor)
    }
}

impl Shop {
    pub(super) fn new() -> Self {
        Self { memory: Memory::default(), read: Mutex::default() }
    }

    /// The layers that were read since the last call.
    pub(super) fn read(&self) -> Vec<Digest> {
        let mut read = std::mem::take(&mut *self.read.lock().unwrap());
        read.sort();
        read
    }

    pub(super) fn layer(&mut self, name: &str) -> LayerOf {
        let tar = tarball(name, name.as_bytes());
        let diff_id = DiffId(Digest::of(&tar));
        let descriptor =
            self.memory.put(media::OCI_LAYER_ZSTD, &zstd::encode_all(tar.as_slice(), 3).unwrap());
        LayerOf { descriptor, diff_id }
    }

    pub(super) fn image(&mut self, layers: &[LayerOf], names: &[&str]) -> Image {
        let rootfs =
            RootFs { diff_ids: layers.iter().map(|layer| layer.diff_id).collect(), ..RootFs::default() };
        let config = Config { os: "linux".into(), architecture: "amd64".into(), rootfs, ..Config::default() };
        let config = self.memory.put(media::OCI_CONFIG, Raw::encode(config).unwrap().bytes());
        let layers = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let manifest = Raw::encode(Manifest::new(config, layers)).unwrap();
        let manifest = self.memory.put(media::OCI_MANIFEST, manifest.bytes());
        Image {
            names: names.iter().map(|name| reference(name)).collect(),
            ..super::read(self, &manifest).unwrap()
        }
    }
}

pub(super) fn empty_store() -> (tempfile::TempDir, Store) {
    store_of(&Memory::default())
}

fn blobs(store: &Store) -> HashSet<Digest> {
    let names = std::fs::read_dir(store.root().join("blobs/sha256")).unwrap();
    let digest = |name: std::ffi::OsString| format!("sha256:{}", name.to_str().unwrap()).parse().unwrap();
    names.map(|entry| digest(entry.unwrap().file_name())).collect()
}

/// Every file that an image brings, by path.
fn contents(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    for directory in ["blobs/sha256", "plyfs/indexes", "plyfs/sidecars", "plyfs/tmp"] {
        for entry in std::fs::read_dir(store.root().join(directory)).unwrap() {
            found.push(entry.unwrap().path().display().to_string());
        }
    }
    found
}

#[test]
fn an_image_is_loaded_with_all_that_it_needs_and_a_second_time_reads_nothing() {
    let mut shop = Shop::new();
    let layers = [shop.layer("one"), shop.layer("two"), shop.layer("one")];
    let image = shop.image(&layers, &["a", "b:2"]);
    let (_directory, store) = empty_store();
    assert_eq!(load(&store, &shop, &image, &()).unwrap(), image.descriptor.digest);
    let mut distinct = vec![layers[0].descriptor.digest, layers[1].descriptor.digest];
    distinct.sort();
    assert_eq!(shop.read(), distinct);
    assert_eq!(blobs(&store), reachable_blobs(&store));
    let found = Stored::new(&store).find("b:2", Some(&"linux/amd64".parse().unwrap())).unwrap().image;
    assert_eq!((found.descriptor.digest, &found.names), (image.descriptor.digest, &image.names));

    load(&store, &shop, &image, &()).unwrap();
    assert_eq!(shop.read(), []);
    let other = shop.image(&layers[1..2], &["c"]);
    load(&store, &shop, &other, &()).unwrap();
    assert_eq!(shop.read(), []);
    assert_eq!(Stored::new(&store).entries().unwrap().len(), 2);
}

/// What is reachable, but for the chain of layers, which is no blob.
fn reachable_blobs(store: &Store) -> HashSet<Digest> {
    reachable(store).unwrap().into_iter().filter(|digest| store.has_blob(digest).unwrap()).collect()
}

#[test]
fn an_index_that_is_lost_or_damaged_is_made_again_from_the_store() {
    let mut shop = Shop::new();
    let layers = [shop.layer("one")];
    let image = shop.image(&layers, &[]);
    let digest = layers[0].descriptor.digest;
    let (_directory, store) = empty_store();
    load(&store, &shop, &image, &()).unwrap();
    let index = || {
        let mut bytes = Vec::new();
        store.derived(Derived::Index, &digest).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let sound = index();
    shop.read();
    for damage in [None, Some(&b"damaged"[..]), Some(&sound[..sound.len() / 2])] {
        match damage {
            None => store.drop_derived(Derived::Index, &digest).unwrap(),
            Some(bytes) => drop(store.put_derived(Derived::Index, &digest, bytes).unwrap()),
        }
        load(&store, &shop, &image, &()).unwrap();
        assert_eq!((index(), shop.read()), (sound.clone(), vec![]));
    }
}

#[test]
fn a_blob_that_was_damaged_in_the_store_is_read_again_from_the_image() {
    let mut shop = Shop::new();
    let layers = [shop.layer("one")];
    let image = shop.image(&layers, &[]);
    let digest = layers[0].descriptor.digest;
    let (_directory, store) = empty_store();
    load(&store, &shop, &image, &()).unwrap();
    let size = usize::try_from(layers[0].descriptor.size).unwrap();
    for damage in [vec![0; size], vec![0; 3]] {
        std::fs::write(store.root().join("blobs/sha256").join(digest.hex()), damage).unwrap();
        store.drop_derived(Derived::Index, &digest).unwrap();
        shop.read();
        load(&store, &shop, &image, &()).unwrap();
        assert_eq!(shop.read(), [digest]);
        assert_eq!(store.document(&digest, 1 << 20).unwrap(), shop.memory.0[&digest]);
    }
}

/// Why the image is refused; the store must be left as it was.
fn refusal(shop: &Shop, image: &Image) -> String {
    let (_directory, store) = empty_store();
    let error = load(&store, shop, image, &()).unwrap_err().to_string();
    assert_eq!((contents(&store), store.tags().unwrap()), (vec![], vec![]), "{error}");
    error
}

#[test]
fn a_layer_that_is_not_what_the_image_says_is_refused_and_leaves_nothing() {
    let mut shop = Shop::new();
    let sound = shop.layer("one");
    let LayerOf { descriptor: Descriptor { digest, size, .. }, diff_id } = sound.clone();

    let mut longer = sound.clone();
    longer.descriptor.size += 1;
    let image = shop.image(&[longer], &["a"]);
    let said = format!("blob {digest} has {size} bytes, its descriptor says {}", size + 1);
    assert_eq!(refusal(&shop, &image), said);

    let mut shorter = sound.clone();
    shorter.descriptor.size -= 1;
    let image = shop.image(&[shorter], &["a"]);
    let less = size - 1;
    assert_eq!(
        refusal(&shop, &image),
        format!("blob {digest} has more than {less} bytes, its descriptor says {less}")
    );

    let other = DiffId(Digest::of(b"other"));
    let image = shop.image(&[LayerOf { diff_id: other, ..sound.clone() }], &["a"]);
    let said = format!("layer {digest} decompresses to {diff_id}, and its image config says {other}");
    assert_eq!(refusal(&shop, &image), said);

    let image = shop.image(&[sound.clone(), LayerOf { diff_id: other, ..sound.clone() }], &["a"]);
    assert!(refusal(&shop, &image).starts_with(&format!("layer {digest} decompresses to")));
}

#[test]
fn a_layer_with_one_bit_changed_is_refused_and_leaves_nothing() {
    let mut shop = Shop::new();
    let tar = tarball("one", &[7; 5000]);
    let descriptor = shop.memory.put(media::OCI_LAYER, &tar);
    let layer = LayerOf { descriptor, diff_id: DiffId(Digest::of(&tar)) };
    let digest = layer.descriptor.digest;
    let image = shop.image(&[layer], &["a"]);
    let mut changed = tar;
    changed[1000] ^= 1;
    let found = Digest::of(&changed);
    shop.memory.0.insert(digest, changed);
    assert_eq!(refusal(&shop, &image), format!("blob {digest} is corrupt: its digest is {found}"));
}

#[test]
fn a_layer_that_is_no_tar_is_refused_by_name() {
    let mut shop = Shop::new();
    let bytes = [b'x'; 2000];
    let descriptor = shop.memory.put(media::OCI_LAYER, &bytes);
    let layer = LayerOf { descriptor, diff_id: DiffId(Digest::of(&bytes)) };
    let digest = layer.descriptor.digest;
    let image = shop.image(&[layer], &["a"]);
    let said = refusal(&shop, &image);
    assert!(said.starts_with(&format!("layer {digest}: ")), "{said}");
}

#[test]
fn a_layer_that_is_said_to_be_no_tar_is_refused_with_what_it_is() {
    let mut shop = Shop::new();
    let mut layer = shop.layer("one");
    layer.descriptor.media_type = format!("{}+encrypted", media::OCI_LAYER_GZIP);
    let digest = layer.descriptor.digest;
    let image = shop.image(&[layer], &[]);
    let (_directory, store) = empty_store();
    let said = load(&store, &shop, &image, &()).unwrap_err().to_string();
    let expected = "is encrypted, and only tars can be read: \
                    its type is \"application/vnd.oci.image.layer.v1.tar+gzip+encrypted\"";
    assert_eq!(said, format!("layer {digest} {expected}"));
}

#[test]
fn an_absent_layer_is_named_and_a_foreign_one_with_where_it_is() {
    let mut shop = Shop::new();
    let sound = shop.layer("one");
    let mut foreign = shop.layer("two");
    foreign.descriptor.media_type = media::DOCKER_LAYER_FOREIGN.to_owned();
    foreign.descriptor.urls = vec!["https://example.com/layer".to_owned()];
    let (own, away) = (
        shop.image(std::slice::from_ref(&sound), &["a"]),
        shop.image(std::slice::from_ref(&foreign), &["b"]),
    );
    shop.memory.0.remove(&sound.descriptor.digest);
    shop.memory.0.remove(&foreign.descriptor.digest);
    assert_eq!(refusal(&shop, &own), format!("blob {} is missing", sound.descriptor.digest));
    assert_eq!(
        refusal(&shop, &away),
        format!(
            "layer {} is not kept with the image; it is fetched from https://example.com/layer",
            foreign.descriptor.digest
        )
    );
}

/// What is told of each layer: its total, and what came.
#[derive(Default)]
struct Told(Mutex<HashMap<Digest, (u64, u64, bool)>>);

impl Progress for Told {
    fn begin(&self, layer: &Digest, total: u64) {
        self.0.lock().unwrap().insert(*layer, (total, 0, false));
    }
    fn advance(&self, layer: &Digest, bytes: u64) {
        self.0.lock().unwrap().get_mut(layer).unwrap().1 += bytes;
    }
    fn end(&self, layer: &Digest) {
        self.0.lock().unwrap().get_mut(layer).unwrap().2 = true;
    }
}

#[test]
fn progress_tells_of_every_byte_of_every_layer() {
    let mut shop = Shop::new();
    let layers: Vec<LayerOf> = (0..6).map(|number| shop.layer(&format!("layer {number}"))).collect();
    let image = shop.image(&layers, &[]);
    let (_directory, store) = empty_store();
    let told = Told::default();
    load(&store, &shop, &image, &told).unwrap();
    let size = |layer: &LayerOf| layer.descriptor.size;
    let expected = layers.iter().map(|layer| (layer.descriptor.digest, (size(layer), size(layer), true)));
    assert_eq!(*told.0.lock().unwrap(), expected.collect());
}

#[test]
fn images_that_share_layers_can_be_loaded_at_once() {
    let mut shop = Shop::new();
    let layers: Vec<LayerOf> = (0..4).map(|number| shop.layer(&format!("layer {number}"))).collect();
    let images: Vec<Image> =
        (1..=4).map(|count| shop.image(&layers[..count], &[&format!("image:{count}")])).collect();
    let (_directory, store) = empty_store();
    std::thread::scope(|scope| {
        for image in &images {
            let (shop, store) = (&shop, Store::open(store.root()).unwrap());
            scope.spawn(move || load(&store, shop, image, &()).unwrap());
        }
    });
    assert_eq!(Stored::new(&store).entries().unwrap().len(), 4);
    assert_eq!(sweep(&store, HashSet::new()).unwrap(), HashSet::new());
    for (digest, bytes) in &shop.memory.0 {
        let mut hasher = Hasher::default();
        std::io::copy(&mut store.blob(digest).unwrap(), &mut hasher).unwrap();
        assert_eq!((hasher.finish(), store.blob_size(digest).unwrap()), (*digest, Some(bytes.len() as u64)));
    }
}
