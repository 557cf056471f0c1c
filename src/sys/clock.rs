//! The clock that is never set.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine started, the same for every process.
pub fn steady() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}
