//! The machine: what it is, and whether it did something else meanwhile.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::thread::available_parallelism;
use std::time::Instant;

use serde::Serialize;

use super::program::{command, run};
use super::site::Rights;
use super::statistics::spread;

#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory: u64,
    pub kernel: String,
    /// Of where everything lay.
    pub file_system: String,
    /// When it began, in seconds since 1970.
    pub at: u64,
}

/// What speaks against the figures.
#[derive(Clone, Debug, Serialize)]
pub struct Disturbance {
    /// Programs that waited for a processor before it began.
    pub load: f64,
    /// The share of the processors' time that another machine on the same host had.
    pub stolen: f64,
    /// How far apart the same computation's times were, between the turns.
    pub jitter: f64,
    pub warnings: Vec<String>,
}

impl Machine {
    pub fn here(scratch: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after_colon = |line: &str| line.split_once(':').map(|(_, rest)| rest.trim().to_owned());
        let field =
            |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).and_then(after_colon);
        let memory = field(&text("/proc/meminfo"), "MemTotal");
        let kilobytes: u64 = memory.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
        let file_system = run(command("stat", &["-f", "-c", "%T"]).arg(scratch)).unwrap_or_default();
        Self {
            processor: field(&text("/proc/cpuinfo"), "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: available_parallelism().map_or(1, usize::from),
            memory: kilobytes * 1024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system,
            at: std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs(),
        }
    }
}

/// How caches are emptied for what is cold.
pub(super) fn caches(rights: Rights) -> &'static str {
    match rights {
        Rights::Root => "dropped by the kernel (/proc/sys/vm/drop_caches)",
        Rights::Mapped | Rights::OneId => {
            "file by file with posix_fadvise, which leaves names and inodes cached; only root can drop those"
        }
    }
}

/// Watches over a whole run.
pub(super) struct Watcher {
    load: f64,
    ticks: Option<Ticks>,
    computed: Vec<f64>,
}

#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    stolen: u64,
}

const BUSY: f64 = 0.5;
const MUCH_STOLEN: f64 = 0.01;
const MUCH_JITTER: f64 = 0.05;
/// Long enough to be interrupted, short enough to be done at every turn.
const COMPUTATION: u64 = 4_000_000;

impl Watcher {
    pub fn begin() -> Self {
        let load =
            fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse().ok());
        Self { load: load.unwrap_or(0.0), ticks: Ticks::now(), computed: Vec::new() }
    }

    /// The same computation every time: what its times differ by is not of the drivers' making.
    pub fn compute(&mut self) {
        let start = Instant::now();
        let mut value = black_box(1u64);
        for number in 0..COMPUTATION {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number);
        }
        black_box(value);
        self.computed.push(start.elapsed().as_secs_f64());
    }

    pub fn end(self) -> Disturbance {
        let stolen = match (self.ticks, Ticks::now()) {
            (Some(before), Some(after)) => {
                let all = after.all.saturating_sub(before.all).max(1);
                after.stolen.saturating_sub(before.stolen) as f64 / all as f64
            }
            _ => 0.0,
        };
        let jitter = spread(&self.computed).map_or(0.0, |spread| spread.relative());
        let mut disturbance = Disturbance { load: self.load, stolen, jitter, warnings: Vec::new() };
        disturbance.warnings = disturbance.found();
        disturbance
    }
}

impl Disturbance {
    fn found(&self) -> Vec<String> {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let mut found = Vec::new();
        if self.load > BUSY {
            found.push(format!("{:.1} other programs were running when it began", self.load));
        }
        if self.stolen > MUCH_STOLEN {
            found.push(format!("the host took {} of the processors' time away", percent(self.stolen)));
        }
        if self.jitter > MUCH_JITTER {
            found.push(format!("the same computation took times that are {} apart", percent(self.jitter)));
        }
        found
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`
    fn parse(text: &str) -> Option<Self> {
        let words = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        Some(Self { all: numbers.iter().take(8).sum(), stolen: *numbers.get(7)? })
    }
}

/// Spends a share of the time since `start` once more.
pub(super) fn linger(start: Instant, share: f64) {
    if share > 0.0 {
        let until = start.elapsed().mul_f64(1.0 + share);
        while start.elapsed() < until {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_number() {
        let ticks = Ticks::parse("cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1\n").unwrap();
        assert_eq!((ticks.all, ticks.stolen), (36, 8));
        assert!(Ticks::parse("cpu 1 2\n").is_none() && Ticks::parse("").is_none());
    }

    #[test]
    fn a_quiet_machine_gives_no_warning_and_a_busy_one_says_why() {
        let mut disturbance = Disturbance { load: 0.1, stolen: 0.0, jitter: 0.01, warnings: Vec::new() };
        assert_eq!(disturbance.found(), Vec::<String>::new());
        disturbance = Disturbance { load: 3.0, stolen: 0.05, jitter: 0.2, ..disturbance };
        assert_eq!(disturbance.found().len(), 3);
    }
}
