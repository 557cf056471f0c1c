//! Images going to a sink: what is sent, in which order, and what is refused.

use std::sync::Mutex;

use super::*;

/// Keeps what it is given, and the order in which it came.
#[derive(Default)]
struct Shelf {
    blobs: Mutex<HashMap<Digest, Vec<u8>>>,
    manifests: Mutex<Vec<(Digest, Vec<String>)>>,
}

impl Sink for Shelf {
    fn has(&self, blob: &Descriptor) -> Result<bool> {
        Ok(self.blobs.lock().unwrap().contains_key(&blob.digest))
    }

    fn put_blob(&self, blob: &Outgoing<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        // Opened again, it is the same from the start.
        blob.open()?.read_exact(&mut [0]).map_err(Error::source)?;
        blob.open()?.read_to_end(&mut bytes).map_err(Error::source)?;
        self.blobs.lock().unwrap().insert(blob.descriptor().digest, bytes);
        Ok(())
    }

    fn put_manifest(&self, descriptor: &Descriptor, bytes: &[u8], names: &[Reference]) -> Result<()> {
        assert_eq!(Digest::of(bytes), descriptor.digest);
        let names = names.iter().map(Reference::familiar).collect();
        self.manifests.lock().unwrap().push((descriptor.digest, names));
        Ok(())
    }
}

/// How many bytes of each blob went by.
#[derive(Default)]
struct Counted(Mutex<HashMap<Digest, u64>>);

impl Progress for Counted {
    fn begin(&self, _: &Digest, _: u64) {}

    fn advance(&self, layer: &Digest, bytes: u64) {
        *self.0.lock().unwrap().entry(*layer).or_default() += bytes;
    }

    fn end(&self, _: &Digest) {}
}

fn image(source: &mut Memory, platform: &str, layers: &[Descriptor]) -> Descriptor {
    let platform: Platform = platform.parse().unwrap();
    let config = Config { os: platform.os, architecture: platform.architecture, ..Config::default() };
    let config = source.put(media::OCI_CONFIG, Raw::encode(config).unwrap().bytes());
    let manifest = Raw::encode(Manifest::new(config, layers.to_vec())).unwrap();
    source.put(media::OCI_MANIFEST, manifest.bytes())
}

#[test]
fn an_index_is_sent_after_all_that_it_needs_and_each_blob_once() {
    let mut source = Memory::default();
    let (shared, own) =
        (source.put(media::OCI_LAYER, b"shared"), source.put(media::OCI_LAYER_GZIP, b"a layer"));
    let foreign = Descriptor::of(media::DOCKER_LAYER_FOREIGN, b"not ours to pass on");
    let one = image(&mut source, "linux/amd64", &[shared.clone(), own.clone(), foreign]);
    let two = image(&mut source, "linux/arm64", &[shared.clone(), shared.clone()]);
    let inner = source.index(&[two.clone(), one.clone()]);
    let outer = source.index(&[inner.clone(), one.clone()]);
    let shelf = Shelf::default();
    shelf.blobs.lock().unwrap().insert(own.digest, b"a layer".to_vec());
    let (parts, counted) = (Parts::of(&source, &outer).unwrap(), Counted::default());
    copy(&source, &shelf, &parts, &["a:1".parse().unwrap()], &counted).unwrap();

    let mut expected: HashMap<Digest, Vec<u8>> = source.0.clone();
    for manifest in [&one, &two, &inner, &outer] {
        expected.remove(&manifest.digest);
    }
    assert_eq!(*shelf.blobs.lock().unwrap(), expected);
    let named = |descriptor: &Descriptor, names: &[&str]| {
        (descriptor.digest, names.iter().map(|name| (*name).to_owned()).collect())
    };
    let order = [named(&two, &[]), named(&one, &[]), named(&inner, &[]), named(&outer, &["a:1"])];
    assert_eq!(*shelf.manifests.lock().unwrap(), order);
    assert_eq!(*counted.0.lock().unwrap(), HashMap::from([(shared.digest, 6)]));
}

#[test]
fn a_layer_that_is_not_what_its_descriptor_says_is_not_sent_and_no_manifest_follows() {
    let mut source = Memory::default();
    let layer = source.put(media::OCI_LAYER, b"layer");
    let root = image(&mut source, "linux/amd64", std::slice::from_ref(&layer));
    let parts = Parts::of(&source, &root).unwrap();
    for (bytes, said) in [
        (&b"liar!"[..], format!("blob {} is corrupt: its digest is {}", layer.digest, Digest::of(b"liar!"))),
        (b"lay", format!("blob {} has 3 bytes, its descriptor says 5", layer.digest)),
        (b"layers", format!("blob {} has more than 5 bytes, its descriptor says 5", layer.digest)),
    ] {
        source.0.insert(layer.digest, bytes.to_vec());
        let shelf = Shelf::default();
        let error = copy(&source, &shelf, &parts, &[], &()).unwrap_err().to_string();
        assert_eq!(error, said);
        assert_eq!((shelf.blobs.lock().unwrap().len(), shelf.manifests.lock().unwrap().len()), (0, 0));
    }
}

#[test]
fn an_index_of_which_a_part_is_absent_or_that_is_nested_without_end_is_refused() {
    let mut source = Memory::default();
    let absent = Descriptor::of(media::OCI_MANIFEST, b"absent");
    let half = source.index(std::slice::from_ref(&absent));
    assert!(matches!(Parts::of(&source, &half), Err(Error::Missing(digest)) if digest == absent.digest));
    let deepest = source.index(&[]);
    let deep = (0..9).fold(deepest, |inner, _| source.index(&[inner]));
    assert!(matches!(Parts::of(&source, &deep), Err(Error::TooDeep(_))));
}
