use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::pass::samples::{bzip2, gzip, layerlike, xz, zstd};
use super::super::pass::{Pass, SidecarPolicy, pass};
use super::super::tarball::{Entry, Tarball};
use super::super::{Blob, Checkpoint, Index, OpenError, Seek, Tree};
use super::*;
use crate::store::files::Limits;

const MIB: usize = 1 << 20;

/// A layer of one file, and how it is stored.
struct Sample {
    name: String,
    blob: Vec<u8>,
    policy: SidecarPolicy,
}

fn tar_of(file: &[u8]) -> Vec<u8> {
    let small = Tarball::new().directory("etc/").file("etc/hostname", "box\n");
    small.entry(&Entry { path: b"file", size: file.len() as u64, body: file, ..Entry::default() }).end()
}

fn stored_in_every_way(tar: &[u8]) -> Vec<Sample> {
    let third = tar.len() / 3;
    let parts = [&tar[..third], &tar[third..2 * third], &tar[2 * third..]];
    let small: Vec<&[u8]> = tar.chunks(50_000).collect();
    let mut ways = vec![
        ("plain", tar.to_vec()),
        ("gzip members", parts.map(|part| gzip(part, 6)).concat()),
        ("small gzip members", small.iter().flat_map(|part| gzip(part, 1)).collect()),
        ("zstd", zstd(tar)),
        ("zstd frames", parts.map(zstd).concat()),
        ("small zstd frames", small.iter().flat_map(|part| zstd(part)).collect()),
        ("xz", xz(tar)),
        ("bzip2", bzip2(tar)),
    ];
    ways.extend([0, 1, 5, 9].map(|level| ("gzip", gzip(tar, level))));
    let sample = |policy| {
        move |(name, blob): &(&str, Vec<u8>)| Sample {
            name: format!("{name}, {policy:?}"),
            blob: blob.clone(),
            policy,
        }
    };
    let needed = ways.iter().map(sample(SidecarPolicy::WhenNeeded));
    needed.chain(ways.iter().step_by(3).map(sample(SidecarPolicy::Always))).collect()
}

fn on_disk(bytes: &[u8]) -> Blob {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before").unwrap();
    file.write_all(bytes).unwrap();
    Blob::new(Arc::new(file), 6, bytes.len() as u64)
}

/// The layer, read from `stored` in the place of the sample's blob.
fn layer_from(sample: &Sample, stored: &[u8]) -> Arc<Layer> {
    let policy = Pass { sidecar: sample.policy, spool: &mut tempfile::tempfile };
    let passed = pass(&sample.blob[..], policy).unwrap();
    let index = Index::from_bytes(passed.index, &passed.identity.digest).unwrap();
    let blob = (sample.policy == SidecarPolicy::WhenNeeded).then(|| on_disk(stored));
    Arc::new(Layer::open(index, blob, passed.sidecar).unwrap())
}

fn contents_of(layer: &Arc<Layer>) -> Contents {
    Contents::new(vec![layer.clone()], Arc::new(ChunkCache::new(0)), None)
}

fn file_of(layer: &Layer) -> Content<'_> {
    let entry = layer.index().lookup(0, b"file").unwrap();
    layer.index().content(entry.id).unwrap()
}

fn read(contents: &Contents, layer: &Layer, offset: usize, length: usize) -> Result<Vec<u8>, Error> {
    contents.read(0, &file_of(layer), offset as u64, length as u32, <[u8]>::to_vec)
}

fn part(file: &[u8], offset: usize, length: usize) -> &[u8] {
    &file[offset.min(file.len())..(offset + length).min(file.len())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn what_is_read_is_what_was_stored_however_it_was_stored(
        seed in any::<u64>(),
        size in 1..5 * MIB,
        reads in proptest::collection::vec((0..5 * MIB, 0..MIB), 1..12),
    ) {
        let file = layerlike(seed, size);
        for sample in stored_in_every_way(&tar_of(&file)) {
            let layer = layer_from(&sample, &sample.blob);
            let contents = contents_of(&layer);
            for (offset, length) in &reads {
                let bytes = read(&contents, &layer, *offset, *length).unwrap();
                prop_assert!(bytes == part(&file, *offset, *length), "{}: {offset}+{length}", sample.name);
            }
        }
    }
}

#[test]
fn a_file_of_zeros_in_one_huge_block_is_read_from_anywhere() {
    let file = vec![0; 40 * MIB];
    for blob in [gzip(&tar_of(&file), 9), zstd(&tar_of(&file))] {
        let sample = Sample { name: "zeros".into(), blob, policy: SidecarPolicy::WhenNeeded };
        let layer = layer_from(&sample, &sample.blob);
        let contents = contents_of(&layer);
        for offset in [0, 39 * MIB, 17 * MIB + 5, 3 * MIB] {
            assert!(read(&contents, &layer, offset, 4096).unwrap() == [0; 4096]);
        }
    }
}

#[test]
fn a_changed_blob_gives_an_error_and_never_a_wrong_byte() {
    let file = layerlike(3, 3 * MIB);
    let tar = tar_of(&file);
    for blob in [tar.clone(), gzip(&tar, 6), zstd(&tar)] {
        let sample = Sample { name: String::new(), blob, policy: SidecarPolicy::WhenNeeded };
        for at in (0..sample.blob.len()).step_by(sample.blob.len() / 9 + 1) {
            let mut changed = sample.blob.clone();
            changed[at] ^= 0x10;
            let layer = layer_from(&sample, &changed);
            let contents = contents_of(&layer);
            let mut faults = 0;
            for offset in (0..file.len()).step_by(100_000) {
                match read(&contents, &layer, offset, 5000) {
                    Ok(bytes) => assert!(bytes == part(&file, offset, 5000)),
                    Err(Error::Corrupt { .. }) => faults += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            // Nothing is read of gzip's header, of the end of the tar, and of zstd what the sidecar has.
            let is_read = at > 0 && changed.len() - at > 20_000 && !sample.blob.starts_with(&[0x28]);
            assert!(faults > 0 || !is_read, "{at} of {}", changed.len());
        }
    }
}

#[test]
fn a_blob_that_was_cut_after_it_was_opened_is_corrupt() {
    let sample = Sample {
        name: String::new(),
        blob: gzip(&tar_of(&layerlike(3, 2 * MIB)), 6),
        policy: SidecarPolicy::WhenNeeded,
    };
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&sample.blob[..sample.blob.len() / 2], 0).unwrap();
    let passed =
        pass(&sample.blob[..], Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut tempfile::tempfile })
            .unwrap();
    let index = Index::from_bytes(passed.index, &passed.identity.digest).unwrap();
    let blob = Blob::new(Arc::new(file), 0, sample.blob.len() as u64);
    let layer = Arc::new(Layer::open(index, Some(blob), None).unwrap());
    let last = read(&contents_of(&layer), &layer, 2 * MIB - 10, 10);
    assert!(matches!(last, Err(Error::Corrupt { .. })), "{last:?}");
}

#[test]
fn readers_side_by_side_decode_a_chunk_about_once() {
    let file = layerlike(5, 24 * MIB);
    let blob = gzip(&tar_of(&file), 1);
    let sample = Sample { name: String::new(), blob, policy: SidecarPolicy::WhenNeeded };
    let layer = layer_from(&sample, &sample.blob);
    let cache = Arc::new(ChunkCache::new(64 * MIB));
    let contents = Contents::new(vec![layer.clone()], cache, None);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (contents, layer, file) = (&contents, &layer, &file);
            scope.spawn(move || {
                for turn in 0..200 {
                    let offset = (turn * 7919 + thread * 104_729) * 4099 % file.len();
                    let bytes = read(contents, layer, offset, 40_000).unwrap();
                    assert!(bytes == part(file, offset, 40_000), "{offset}");
                }
            });
        }
    });
    let decoded = layer.decoded.load(Ordering::Relaxed) as usize;
    assert!(decoded < 2 * file.len(), "{decoded} bytes were decoded");
}

#[test]
fn reading_in_order_decodes_once_though_little_is_kept_in_memory() {
    let file = layerlike(6, 20 * MIB);
    let blob = gzip(&tar_of(&file), 1);
    let sample = Sample { name: String::new(), blob, policy: SidecarPolicy::WhenNeeded };
    let layer = layer_from(&sample, &sample.blob);
    let contents = contents_of(&layer);
    for offset in (0..file.len()).step_by(100_000) {
        assert!(read(&contents, &layer, offset, 100_000).unwrap() == part(&file, offset, 100_000));
    }
    let decoded = layer.decoded.load(Ordering::Relaxed) as usize;
    assert!(decoded < file.len() * 5 / 4, "{decoded} bytes were decoded");
}

#[test]
fn what_lies_between_the_data_of_a_sparse_file_is_zeros() {
    let file = layerlike(7, 300_000);
    let sample =
        Sample { name: String::new(), blob: gzip(&tar_of(&file), 6), policy: SidecarPolicy::WhenNeeded };
    let layer = layer_from(&sample, &sample.blob);
    let extent = |offset: u64, length: u64| Extent { offset: offset.into(), length: length.into() };
    let extents = [extent(1000, 100_000), extent(150_000, 50_000), extent(1 << 40, 150_000)];
    let size = (1 << 40) + 1_000_000;
    let sparse = Content { size, extents: Some(&extents), ..file_of(&layer) };
    let contents = contents_of(&layer);
    let mut expected = vec![0; 210_000];
    expected[1000..101_000].copy_from_slice(&file[..100_000]);
    expected[150_000..200_000].copy_from_slice(&file[100_000..150_000]);
    let start = contents.read(0, &sparse, 0, 210_000, <[u8]>::to_vec).unwrap();
    assert!(start == expected);
    let end = contents.read(0, &sparse, (1 << 40) + 149_990, 4096, <[u8]>::to_vec).unwrap();
    assert!(end[..10] == file[299_990..] && end[10..] == [0; 4086]);
}

#[test]
fn a_file_that_is_read_in_order_for_long_is_kept_whole() {
    let file = layerlike(8, 9 * MIB);
    let blob = gzip(&tar_of(&file), 1);
    let sample = Sample { name: String::new(), blob, policy: SidecarPolicy::WhenNeeded };
    let layer = layer_from(&sample, &sample.blob);
    let directory = tempfile::tempdir().unwrap();
    let files = FileCache::new(directory.path().into(), Limits { bytes: 1 << 30, reserve: 0 });
    let contents = Contents::new(vec![layer.clone()], Arc::new(ChunkCache::new(0)), Some(files));
    let content = file_of(&layer);
    assert!(contents.file(0, &content).is_none());
    for offset in (0..file.len()).step_by(100_000) {
        assert!(read(&contents, &layer, offset, 100_000).unwrap() == part(&file, offset, 100_000));
    }
    let start = Instant::now();
    while contents.file(0, &content).is_none() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut whole = vec![0; file.len()];
    contents.file(0, &content).unwrap().read_exact_at(&mut whole, 0).unwrap();
    assert!(whole == file);
    assert!(read(&contents, &layer, 5 * MIB, MIB).unwrap() == part(&file, 5 * MIB, MIB));
}

#[test]
fn a_layer_that_cannot_be_read_in_place_is_not_opened_without_its_sidecar() {
    for blob in [xz(&tar_of(b"x")), bzip2(&tar_of(b"x"))] {
        let policy = Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut tempfile::tempfile };
        let passed = pass(&blob[..], policy).unwrap();
        let index = Index::from_bytes(passed.index, &passed.identity.digest).unwrap();
        let opened = Layer::open(index, Some(on_disk(&blob)), None);
        assert!(matches!(opened, Err(OpenError::NeedsSidecar { .. })));
    }
}

#[test]
fn a_blob_of_another_size_is_not_opened() {
    let blob = gzip(&tar_of(b"x"), 6);
    let policy = Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut tempfile::tempfile };
    let passed = pass(&blob[..], policy).unwrap();
    let index = Index::from_bytes(passed.index, &passed.identity.digest).unwrap();
    let opened = Layer::open(index, Some(on_disk(&blob[1..])), None);
    assert!(matches!(opened, Err(OpenError::Size { .. })));
}

/// The index of `layer`, with other checkpoints.
fn with_checkpoints(layer: &Layer, change: impl Fn(&mut Checkpoint)) -> Index {
    let index = layer.index();
    let mut seek = Seek::default();
    seek.chunks.extend((0..index.chunk_count()).map(|chunk| *index.chunk_digest(chunk).unwrap()));
    for checkpoint in index.checkpoints() {
        seek.windows.extend_from_slice(index.window(checkpoint).unwrap());
        seek.checkpoints.push(*checkpoint);
    }
    seek.checkpoints.iter_mut().for_each(change);
    let bytes = Tree::new().into_index(index.identity(), &seek);
    Index::from_bytes(bytes, &index.key()).unwrap()
}

#[test]
fn hostile_checkpoints_give_errors_and_never_a_wrong_byte() {
    let file = layerlike(9, 4 * MIB);
    let changes: [fn(&mut Checkpoint); 9] = [
        |checkpoint| checkpoint.input = u64::MAX.into(),
        |checkpoint| checkpoint.input = (checkpoint.input.get() + 1).into(),
        |checkpoint| checkpoint.input = 0.into(),
        |checkpoint| checkpoint.output = (checkpoint.output.get() + 1).into(),
        |checkpoint| checkpoint.output = u64::MAX.into(),
        |checkpoint| checkpoint.output = 0.into(),
        |checkpoint| checkpoint.bits = 9,
        |checkpoint| checkpoint.window_len = 0.into(),
        |checkpoint| checkpoint.window_at = u64::MAX.into(),
    ];
    for blob in [gzip(&tar_of(&file), 6), zstd(&tar_of(&file))] {
        let sample = Sample { name: String::new(), blob, policy: SidecarPolicy::WhenNeeded };
        let good = layer_from(&sample, &sample.blob);
        let content = file_of(&good);
        for change in changes {
            let index = with_checkpoints(&good, change);
            let layer = Arc::new(Layer::open(index, Some(on_disk(&sample.blob)), None).unwrap());
            let contents = contents_of(&layer);
            for offset in (0..file.len()).step_by(500_000) {
                if let Ok(bytes) = contents.read(0, &content, offset as u64, 5000, <[u8]>::to_vec) {
                    assert!(bytes == part(&file, offset, 5000));
                }
            }
        }
    }
}

#[test]
fn a_file_outside_the_layer_is_a_damaged_index() {
    let sample =
        Sample { name: String::new(), blob: gzip(&tar_of(b"x"), 6), policy: SidecarPolicy::WhenNeeded };
    let layer = layer_from(&sample, &sample.blob);
    for (offset, size) in [(0, 1 << 40), (u64::MAX, 2), (1 << 40, 1)] {
        let content = Content { offset, size, ..file_of(&layer) };
        let read = contents_of(&layer).read(0, &content, 0, 10, <[u8]>::to_vec);
        assert!(matches!(read, Err(Error::Index { .. })), "{read:?}");
    }
    let nowhere = contents_of(&layer).read(1, &file_of(&layer), 0, 10, <[u8]>::to_vec);
    assert!(matches!(nowhere, Err(Error::NoLayer(1))));
}
