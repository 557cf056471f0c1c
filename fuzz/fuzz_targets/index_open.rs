//! Any bytes are an index or are refused, also when all digests in them are right; no accessor panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plyfs::layer::{Index, Kind};
use plyfs::oci::Digest;

const KEY: Digest = Digest::from_bytes([0; 32]);
/// Where the header has its section lengths and its root, and where it ends.
const SECTIONS: usize = 104;
const ROOT: usize = 168;
const HEADER: usize = 200;
const PAGE: usize = 64 * 1024;

/// Makes of any bytes an index with right digests: small section lengths, the last takes the rest.
fn sealed(input: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = input.to_vec();
    let mut left = bytes.len().checked_sub(HEADER)?;
    bytes[..16].copy_from_slice(b"plyfsidx\x02\0\0\0\0\0\0\0");
    bytes[16..48].copy_from_slice(KEY.as_bytes());
    for section in 0..8 {
        let at = SECTIONS + section * 8;
        let wanted = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let length = if section == 7 { left } else { wanted.min(left) };
        bytes[at..at + 8].copy_from_slice(&(length as u64).to_le_bytes());
        left -= length;
    }
    bytes[ROOT..HEADER].fill(0);
    let table: Vec<u8> =
        bytes[HEADER..].chunks(PAGE).flat_map(|page| *blake3::hash(page).as_bytes()).collect();
    let root = *blake3::Hasher::new().update(&bytes[..HEADER]).update(&table).finalize().as_bytes();
    bytes[ROOT..HEADER].copy_from_slice(&root);
    bytes.extend_from_slice(&table);
    Some(bytes)
}

fn walk(index: &Index) {
    for id in 0..index.len() {
        for entry in index.children(id).iter() {
            assert_eq!(index.lookup(id, entry.name), Some(entry));
            assert!(entry.kind != Kind::Directory || index.inode(entry.id).parent() == id);
        }
        let _ = (index.target(id), index.content(id).map(|content| content.stored()));
        let _ = index.xattrs(id).map(Iterator::count);
    }
    for checkpoint in index.checkpoints() {
        let _ = index.window(checkpoint);
    }
    (0..index.chunk_count()).for_each(|number| assert!(index.chunk_digest(number).is_ok()));
}

fuzz_target!(|input: &[u8]| {
    let _ = Index::from_bytes(input.to_vec(), &KEY);
    if let Some(Ok(index)) = sealed(input).map(|bytes| Index::from_bytes(bytes, &KEY)) {
        walk(&index);
    }
});
