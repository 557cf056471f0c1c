//! How long is waited, and how often tried again.

use std::thread;
use std::time::{Duration, SystemTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A connection on which nothing moves for so long is given up.
    pub stall: Duration,
    pub connect: Duration,
    /// How often something is tried again that came no farther.
    pub retries: u32,
    /// Before the first time; each next one is twice as long.
    pub pause: Duration,
    /// The longest that a registry may ask to be waited for.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            connect: Duration::from_secs(30),
            retries: 5,
            pause: Duration::from_millis(500),
            longest: Duration::from_secs(300),
        }
    }
}

/// The tries of one thing.
pub struct Tries {
    patience: Patience,
    left: u32,
    pause: Duration,
}

impl Tries {
    pub fn new(patience: Patience) -> Self {
        Self { patience, left: patience.retries, pause: patience.pause }
    }

    /// It came farther: what follows is tried as often again.
    pub fn renew(&mut self) {
        *self = Self::new(self.patience);
    }

    /// Waits before the next try; `false` if there is none left.
    pub fn wait(&mut self, at_least: Option<Duration>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        thread::sleep(self.pause.max(at_least.unwrap_or_default()) + self.jitter());
        self.pause = (self.pause * 2).min(self.patience.longest);
        true
    }

    /// Up to a quarter, so that those who were cut off together do not come back together.
    fn jitter(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.pause * (now.subsec_nanos() % 256) / 1024
    }
}

/// What `Retry-After` says: seconds, or a date.
pub fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    let wait = date.as_second().saturating_sub(jiff::Timestamp::now().as_second());
    Some(Duration::from_secs(u64::try_from(wait).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_says_in_seconds_or_by_a_date_when_to_come_back() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let far = retry_after("Tue, 01 Jan 2999 00:00:00 GMT").unwrap();
        assert!(far > Duration::from_secs(1 << 30), "{far:?}");
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("-1"), None);
    }

    #[test]
    fn tries_end_and_begin_anew_where_it_came_farther() {
        let patience = Patience { retries: 2, pause: Duration::from_millis(1), ..Patience::default() };
        let mut tries = Tries::new(patience);
        assert!(tries.wait(None) && tries.wait(None) && !tries.wait(None));
        tries.renew();
        assert!(tries.wait(None));
    }
}
