//! Bytes to compress, and the ways to do it.

use std::io::Write;

/// Bytes that compress about as a layer does: words of a small vocabulary, and noise.
pub(in crate::layer) fn layerlike(seed: u64, length: usize) -> Vec<u8> {
    let mut noise = vec![0; length / 8 + 64];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    let mut bytes = Vec::with_capacity(length + 64);
    let mut turn = 0;
    while bytes.len() < length {
        let pick = noise[turn % noise.len()] as usize;
        let from = pick * 37 % (noise.len() - 40);
        bytes.extend_from_slice(&noise[from..from + pick % 40]);
        bytes.push(turn as u8);
        turn += 1;
    }
    bytes.truncate(length);
    bytes
}

pub(in crate::layer) fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(in crate::layer) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(in crate::layer) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(in crate::layer) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}
