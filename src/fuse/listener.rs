//! The listener's wait for the next request. Where a core that has nothing to do halts, a thread that sleeps takes long
//! to wake, and a program that asks one thing after another waits for that every time. So after an answer the listener
//! stays awake for a moment, if the next request has come sooner that way: it tries both, and keeps to what is faster.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The longest that it stays awake.
const MOMENT: Duration = Duration::from_micros(100);
/// Requests that are further apart do not follow from one another.
const APART: Duration = Duration::from_micros(500);
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

pub struct Listener {
    device: OwnedFd,
    pace: Mutex<Pace>,
}

impl Listener {
    /// Of the thread that reads requests from `device`.
    pub fn new(device: OwnedFd) -> Self {
        Self { device, pace: Mutex::new(Pace::default()) }
    }

    /// Does what a request asks for, on the thread that read it.
    pub fn attend(&self, work: impl FnOnce()) {
        self.pace.lock().asked(Instant::now());
        work();
        let now = Instant::now();
        if self.pace.lock().answered(now) == Wait::Awake {
            self.stay_awake(now + MOMENT);
        }
    }

    /// The core is not yielded meanwhile: who yields is put behind all others, and comes late to the next requests too.
    fn stay_awake(&self, end: Instant) {
        while !self.is_asked() && Instant::now() < end {
            std::hint::spin_loop();
        }
    }

    /// Also when the mount is gone, which the next read tells.
    fn is_asked(&self) -> bool {
        poll(&mut [PollFd::new(&self.device, PollFlags::IN)], Some(&AT_ONCE)).is_ok_and(|ready| ready > 0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Asleep,
    Awake,
}

/// How long the next request takes to come, by how it was waited for.
#[derive(Debug)]
struct Pace {
    waiting: Option<(Wait, Instant)>,
    follows: bool,
    asleep: Duration,
    awake: Duration,
    phase: Phase,
    /// How many requests are waited for as usual before the next trial.
    patience: u32,
}

/// For so many requests yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Usual(u32),
    /// Waiting in the way that is not `usual`.
    Trial {
        usual: Wait,
        left: u32,
    },
}

const TRIAL: u32 = 8;
const LEAST_PATIENCE: u32 = 64;
const MOST_PATIENCE: u32 = 1 << 14;
/// A gap counts so much in the mean of those before.
const WEIGHT: u32 = 8;

impl Default for Pace {
    fn default() -> Self {
        Self {
            waiting: None,
            follows: false,
            asleep: Duration::ZERO,
            awake: Duration::ZERO,
            phase: Phase::Usual(LEAST_PATIENCE),
            patience: LEAST_PATIENCE,
        }
    }
}

impl Pace {
    fn asked(&mut self, now: Instant) {
        let Some((how, since)) = self.waiting.take() else { return };
        let gap = now.duration_since(since);
        self.follows = gap < APART;
        // What came late may have waited for a core: that counts against staying awake, and not for it.
        match how {
            Wait::Awake => {
                self.awake = mean(self.awake, gap.min(APART));
                if gap >= MOMENT {
                    self.end_trial();
                }
            }
            Wait::Asleep if self.follows => self.asleep = mean(self.asleep, gap.min(MOMENT)),
            Wait::Asleep => {}
        }
    }

    /// How to wait for what comes next.
    fn answered(&mut self, now: Instant) -> Wait {
        let how = if self.follows { self.next() } else { Wait::Asleep };
        self.waiting = Some((how, now));
        how
    }

    fn next(&mut self) -> Wait {
        match self.phase {
            Phase::Usual(0) => self.phase = Phase::Trial { usual: self.usual(), left: TRIAL },
            Phase::Usual(left) => self.phase = Phase::Usual(left - 1),
            Phase::Trial { left: 0, .. } => self.end_trial(),
            Phase::Trial { usual, left } => self.phase = Phase::Trial { usual, left: left - 1 },
        }
        match self.phase {
            Phase::Usual(_) => self.usual(),
            Phase::Trial { usual: Wait::Asleep, .. } => Wait::Awake,
            Phase::Trial { usual: Wait::Awake, .. } => Wait::Asleep,
        }
    }

    /// A core is worth more than a small gain.
    fn usual(&self) -> Wait {
        if self.awake * 4 < self.asleep * 3 { Wait::Awake } else { Wait::Asleep }
    }

    /// What has lost again is tried less often.
    fn end_trial(&mut self) {
        if let Phase::Trial { usual, .. } = self.phase {
            let lost = self.usual() == usual;
            self.patience = if lost { MOST_PATIENCE.min(self.patience * 2) } else { LEAST_PATIENCE };
            self.phase = Phase::Usual(self.patience);
        }
    }
}

fn mean(of_those_before: Duration, gap: Duration) -> Duration {
    (of_those_before * (WEIGHT - 1) + gap) / WEIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a listener stays awake for the last thousand of many requests, which come so long after each answer.
    fn awake_of_a_thousand(asleep: u64, awake: u64) -> usize {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..5000 {
            pace.asked(now);
            let how = pace.answered(now);
            waits.push(how);
            now += Duration::from_micros(if how == Wait::Awake { awake } else { asleep });
        }
        waits[4000..].iter().filter(|how| **how == Wait::Awake).count()
    }

    #[test]
    fn it_stays_awake_where_that_is_faster_and_sleeps_where_it_gains_little() {
        assert!(awake_of_a_thousand(35, 17) > 900);
        assert!(awake_of_a_thousand(6, 12) < 100);
        assert!(awake_of_a_thousand(100, 90) < 100);
    }

    #[test]
    fn it_seldom_tries_again_what_keeps_the_core_from_who_asks() {
        assert!(awake_of_a_thousand(6, 4000) < 3);
    }

    #[test]
    fn it_never_stays_awake_after_a_request_that_came_late() {
        assert_eq!(awake_of_a_thousand(600, 17), 0);
    }
}
