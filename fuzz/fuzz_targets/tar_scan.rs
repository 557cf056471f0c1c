//! Any bytes are a layer or are refused, the same ones however they are cut, and an index of what was read opens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plyfs::layer::{Identity, Index, Scan, Seek};
use plyfs::oci::Digest;

const KEY: Digest = Digest::from_bytes([0; 32]);

fn index(tar: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut scan = Scan::new();
    tar.chunks(piece).try_for_each(|piece| scan.push(piece)).ok()?;
    Some(scan.finish().ok()?.into_index(&Identity::of_merged(KEY), &Seek::default()))
}

/// A checksum that does not fit would end most inputs at their first header.
fn signed(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    for block in tar.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    tar
}

fuzz_target!(|input: &[u8]| {
    let tar = signed(input);
    let whole = index(&tar, usize::MAX);
    assert!(whole == index(&tar, 100), "it depends on the pieces");
    if let Some(bytes) = whole {
        Index::from_bytes(bytes, &KEY).expect("an index that was just made");
    }
});
