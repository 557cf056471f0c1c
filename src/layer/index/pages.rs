//! Verification by page: each 64 KiB of an index is hashed once, when something of it is first used.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::PAGE;

/// Which pages are known to be good.
pub(super) struct Pages {
    /// What the pages are of.
    body: Range<usize>,
    /// Where the digests of the pages are.
    table: Range<usize>,
    verified: Box<[AtomicU64]>,
}

impl Pages {
    pub(super) fn new(body: Range<usize>, table: Range<usize>) -> Self {
        let words = body.len().div_ceil(PAGE).div_ceil(64);
        Self { body, table, verified: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// All that the pages are of.
    pub(super) fn body(&self) -> Range<usize> {
        self.body.clone()
    }

    /// Whether all of `range` of the file is as it was written.
    pub(super) fn verify(&self, file: &[u8], range: Range<usize>) -> bool {
        if range.is_empty() {
            return true;
        }
        let Some(start) = range.start.checked_sub(self.body.start) else { return false };
        let Some(last) = (range.end - 1).checked_sub(self.body.start) else { return false };
        (start / PAGE..=last / PAGE).all(|page| self.is_good(file, page))
    }

    fn is_good(&self, file: &[u8], page: usize) -> bool {
        let Some(word) = self.verified.get(page / 64) else { return false };
        let bit = 1 << (page % 64);
        // A page that two threads hash at once is only hashed twice; the bit guards no other memory.
        if word.load(Ordering::Relaxed) & bit != 0 {
            return true;
        }
        let good = digest(&file[self.body.clone()], page).as_slice() == self.expected(file, page);
        if good {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        good
    }

    fn expected<'a>(&self, file: &'a [u8], page: usize) -> &'a [u8] {
        let start = self.table.start + page * 32;
        file.get(start..start + 32).unwrap_or(&[])
    }
}

fn digest(body: &[u8], page: usize) -> [u8; 32] {
    let start = (page * PAGE).min(body.len());
    let end = (start + PAGE).min(body.len());
    *blake3::hash(&body[start..end]).as_bytes()
}

/// The digests of all pages of `body`, one after another.
pub(in crate::layer) fn table(body: &[u8]) -> Vec<u8> {
    (0..body.len().div_ceil(PAGE)).flat_map(|page| digest(body, page)).collect()
}
