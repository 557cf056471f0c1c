//! Objects that are made in `work`, out of sight, and then get their name in the upper.

use std::sync::atomic::AtomicU64;

/// Names for what is staged. The directory is ours alone and empty at the start, so that counting is enough.
#[derive(Default)]
pub(super) struct Names(AtomicU64);
