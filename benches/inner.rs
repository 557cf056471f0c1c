//! The inner parts, each by itself: `cargo bench`. What users wait for is measured by `plyfs bench`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "a benchmark, with the tests' support"
)]

#[path = "../tests/it/support/fixture.rs"]
mod fixture;
#[path = "../tests/it/support/world.rs"]
mod world;

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use plyfs::layer::pass::{self, Pass, Passed, SidecarPolicy};
use plyfs::layer::{Blob, ChunkCache, Contents, Id, Index, Layer};
use plyfs::lower;
use plyfs::oci::Digest;
use plyfs::union::overlay::Change;
use world::{Side, World};

const ENTRIES: usize = 20_000;
const CHUNK: u32 = 128 << 10;

/// A tar of small files, a thousand to a directory, and of one big file.
fn tar(first: usize, count: usize, big: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut append = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes).unwrap();
    };
    for number in first..first + count {
        append(&format!("tree/{:06}/file-{number:07}", number / 1000), format!("file {number}\n").as_bytes());
    }
    append("big", &words(big));
    tar.into_inner().unwrap()
}

/// Bytes that compress to about a third.
fn words(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    let word = |number: u32| match number % 4 {
        0 => b"return ".to_vec(),
        1 => b"function ".to_vec(),
        _ => vec![number as u8],
    };
    std::iter::repeat_with(|| word(next())).flatten().take(length).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn passed(blob: &[u8]) -> Passed {
    let mut spool = || tempfile::tempfile();
    pass::pass(blob, Pass { sidecar: SidecarPolicy::WhenNeeded, spool: &mut spool }).unwrap()
}

fn index(first: usize) -> Index {
    let passed = passed(&gzip(&tar(first, ENTRIES, 0)));
    Index::from_bytes(passed.index, &passed.identity.digest).unwrap()
}

fn index_pass(c: &mut Criterion) {
    let plain = tar(0, 2000, 16 << 20);
    let packed = gzip(&plain);
    let mut group = c.benchmark_group("index pass");
    group.throughput(Throughput::Bytes(plain.len() as u64)).sample_size(10);
    group.bench_function("gzip", |b| b.iter(|| passed(black_box(&packed))));
    group.bench_function("plain", |b| b.iter(|| passed(black_box(&plain))));
    group.finish();
}

fn index_open(c: &mut Criterion) {
    let passed = passed(&gzip(&tar(0, ENTRIES, 0)));
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&passed.index, 0).unwrap();
    c.bench_function("index open", |b| {
        b.iter(|| Index::open(black_box(&file), &passed.identity.digest).unwrap())
    });
}

fn down(index: &Index, path: &[&[u8]]) -> Option<Id> {
    path.iter().try_fold(0, |directory, name| Some(index.lookup(directory, name)?.id))
}

fn lookup(c: &mut Criterion) {
    let index = index(0);
    let there: [&[u8]; 3] = [b"tree", b"000007", b"file-0007777"];
    let missing: [&[u8]; 3] = [b"tree", b"000007", b"nothing"];
    c.bench_function("lookup, three deep", |b| b.iter(|| down(&index, black_box(&there)).unwrap()));
    c.bench_function("lookup of what is missing", |b| {
        b.iter(|| assert_eq!(down(&index, black_box(&missing)), None))
    });
}

fn merge(c: &mut Criterion) {
    let indexes: Vec<Index> = (0..4).map(|number| index(number * ENTRIES / 2)).collect();
    let layers: Vec<&Index> = indexes.iter().collect();
    let no_tar = |_| Box::new(std::io::empty()) as Box<dyn std::io::Read>;
    let mut group = c.benchmark_group("merge");
    group.throughput(Throughput::Elements(4 * ENTRIES as u64)).sample_size(20);
    group.bench_function("four layers", |b| {
        b.iter(|| lower::merge(black_box(&layers), &no_tar, Digest::of(b"chain")).unwrap())
    });
    group.finish();
}

fn layer(blob: &[u8]) -> Arc<Layer> {
    let passed = passed(blob);
    let file: File = tempfile::tempfile().unwrap();
    file.write_all_at(blob, 0).unwrap();
    let index = Index::from_bytes(passed.index, &passed.identity.digest).unwrap();
    let blob = Blob::new(Arc::new(file), 0, blob.len() as u64);
    Arc::new(Layer::open(index, Some(blob), passed.sidecar).unwrap())
}

fn chunk_read(c: &mut Criterion) {
    let layer = layer(&gzip(&tar(0, 10, 16 << 20)));
    let big = layer.index().lookup(0, b"big").unwrap().id;
    let content = layer.index().content(big).unwrap();
    let contents = || Contents::new(vec![layer.clone()], Arc::new(ChunkCache::new(64 << 20)), None);
    let read = |contents: &Contents, chunk: u64| {
        contents.read(0, &content, chunk * u64::from(CHUNK), CHUNK, |bytes| black_box(bytes.len())).unwrap()
    };
    let mut group = c.benchmark_group("chunk read");
    group.throughput(Throughput::Bytes(u64::from(CHUNK)));
    let warm = contents();
    group.bench_function("in memory", |b| b.iter(|| read(&warm, 7)));
    group.bench_function("decoded", |b| {
        b.iter_batched(contents, |cold| read(&cold, 77), BatchSize::PerIteration)
    });
    group.finish();
}

const COPIED: &str = "
    layer
    dir etc
    file etc/big size=1048576
    file etc/small : a few bytes
";

fn copy_up(c: &mut Criterion) {
    let world = || World::new(Side::Image, COPIED);
    let mut group = c.benchmark_group("copy-up");
    group.sample_size(20);
    for (name, path) in [("a mebibyte", "etc/big"), ("a few bytes", "etc/small")] {
        group.bench_function(name, |b| {
            b.iter_batched(world, |world| world.write(path, 0, b"x").unwrap(), BatchSize::PerIteration);
        });
    }
    group.bench_function("attributes of a mebibyte", |b| {
        let change = Change { permissions: Some(0o600), ..Change::default() };
        b.iter_batched(world, |world| world.change("etc/big", change).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(inner, index_pass, index_open, lookup, merge, chunk_read, copy_up);
criterion_main!(inner);
