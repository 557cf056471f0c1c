//! Times by size: four buckets to each doubling, so that what is read out of them is within an eighth of what was put in.

/// Shorter times share the first bucket: 256 ns.
const SHORTEST_BITS: u32 = 8;
/// Longer ones share the last: 17 s.
const LONGEST_BITS: u32 = 34;
const PARTS_BITS: u32 = 2;
const PARTS: u64 = 1 << PARTS_BITS;

pub const BUCKETS: usize = ((LONGEST_BITS - SHORTEST_BITS) as usize * PARTS as usize) + 2;

/// How many times fell into each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

/// The bucket of a time in nanoseconds.
pub(super) fn bucket_of(nanoseconds: u64) -> usize {
    let bits = nanoseconds.checked_ilog2().unwrap_or(0);
    if bits < SHORTEST_BITS {
        return 0;
    }
    if bits >= LONGEST_BITS {
        return BUCKETS - 1;
    }
    let part = nanoseconds >> (bits - PARTS_BITS) & (PARTS - 1);
    1 + (u64::from(bits - SHORTEST_BITS) * PARTS + part) as usize
}

/// The first time that is too long for the bucket.
fn end_of(bucket: usize) -> u64 {
    let (doublings, part) = (bucket as u32 / PARTS as u32, bucket as u64 % PARTS);
    let start = 1u64 << (SHORTEST_BITS + doublings);
    start + (start >> PARTS_BITS) * part
}

impl Histogram {
    pub(super) fn new(buckets: &[u64]) -> Self {
        Self(buckets.to_vec())
    }

    /// The time that this share of all did not exceed, in nanoseconds: the middle of its bucket.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0u64;
        let reached = |count: &u64| {
            seen = seen.saturating_add(*count);
            seen >= rank
        };
        let bucket = self.0.iter().position(reached).unwrap_or(BUCKETS - 1);
        let start = if bucket == 0 { 0 } else { end_of(bucket - 1) };
        Some(start.midpoint(if bucket == BUCKETS - 1 { start } else { end_of(bucket) }))
    }

    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// For each doubling its upper end in nanoseconds, and how many times were below it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut seen = 0u64;
        self.0.iter().enumerate().filter_map(move |(bucket, count)| {
            seen = seen.saturating_add(*count);
            let is_last = bucket == BUCKETS - 1;
            (!is_last && (bucket as u64).is_multiple_of(PARTS)).then(|| (end_of(bucket), seen))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_out_is_within_an_eighth_of_what_was_put_in(time in 256u64..1 << 34) {
            let mut buckets = [0; BUCKETS];
            buckets[bucket_of(time)] = 1;
            let found = Histogram::new(&buckets).quantile(0.5).unwrap();
            prop_assert!(found.abs_diff(time) <= time / 8 + 1, "{time} as {found}");
        }

        #[test]
        fn longer_times_are_in_later_buckets(one in any::<u64>(), other in any::<u64>()) {
            let (shorter, longer) = (one.min(other), one.max(other));
            prop_assert!(bucket_of(shorter) <= bucket_of(longer) && bucket_of(longer) < BUCKETS);
        }
    }

    #[test]
    fn quantiles_are_by_rank() {
        let mut buckets = [0; BUCKETS];
        for time in [300, 3_000, 30_000, 300_000] {
            buckets[bucket_of(time)] += 1;
        }
        let histogram = Histogram::new(&buckets);
        let found = [0.0, 0.25, 0.26, 0.75, 1.0].map(|share| histogram.quantile(share).unwrap());
        assert_eq!(found.map(bucket_of), [300, 300, 3_000, 30_000, 300_000].map(bucket_of));
        assert_eq!(Histogram::new(&[0; BUCKETS]).quantile(0.5), None);
    }

    #[test]
    fn each_doubling_holds_all_that_came_before() {
        let mut buckets = [0; BUCKETS];
        for time in [10, 300, 600, u64::MAX] {
            buckets[bucket_of(time)] += 1;
        }
        let found: Vec<_> = Histogram::new(&buckets).cumulative().take(4).collect();
        assert_eq!(found, [(256, 1), (512, 2), (1024, 3), (2048, 3)]);
    }
}
