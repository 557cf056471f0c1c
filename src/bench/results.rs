//! What was found, as it is kept in a file and shown.

use serde::Serialize;

use super::fit::Fit;
use super::machine::{Disturbance, Machine};
use super::site::Bed;
use super::statistics::{Ratio, Spread, ratio, spread};
use super::workload::{Group, Temperature, Workload};

#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// Of plyfs.
    pub version: String,
    pub image: ImageFacts,
    pub machine: Machine,
    pub rounds: usize,
    /// How caches were emptied.
    pub caches: String,
    pub drivers: Vec<DriverFacts>,
    pub rows: Vec<Row>,
    pub curves: Vec<Curve>,
    pub disturbance: Disturbance,
    /// All of it took.
    pub seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ImageFacts {
    pub name: String,
    pub layers: usize,
    pub paths: usize,
    pub bytes: u64,
    /// Of the directory with many files, which is removed, copied and cloned.
    pub many: usize,
    /// Of the biggest file.
    pub big: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct DriverFacts {
    pub name: String,
    pub version: Option<String>,
    /// Why it was not measured.
    pub absent: Option<String>,
}

/// A kind of work.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub workload: String,
    pub title: String,
    pub group: Group,
    pub temperature: Temperature,
    pub lanes: Vec<Lane>,
    /// Why it was done on none.
    pub skipped: Option<String>,
}

/// The work on one driver.
#[derive(Clone, Debug, Serialize)]
pub struct Lane {
    pub driver: String,
    /// Of each turn; those of one place are of one turn.
    pub seconds: Vec<f64>,
    pub spread: Option<Spread>,
    /// To the first lane.
    pub ratio: Option<Ratio>,
    pub failed: Option<String>,
}

/// How the cost of one thing grows, for one driver.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    pub title: String,
    /// What grows.
    pub axis: String,
    pub unit: Unit,
    pub driver: String,
    pub points: Vec<Point>,
    pub fit: Option<Fit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Seconds,
    Bytes,
}

impl Unit {
    /// In the thousands that leave the fewest digits, three of them significant.
    pub fn shown(self, value: f64) -> String {
        let (mut value, units) = match self {
            Self::Seconds => (value * 1e9, &["ns", "µs", "ms", "s"][..]),
            Self::Bytes => (value, &["B", "kB", "MB", "GB", "TB"][..]),
        };
        let mut at = 0;
        while value >= 999.5 && at + 1 < units.len() {
            value /= 1000.0;
            at += 1;
        }
        let decimals = match value {
            value if value >= 99.5 || value == value.trunc() => 0,
            value if value >= 9.95 => 1,
            _ => 2,
        };
        format!("{value:.decimals$} {}", units[at])
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    pub x: f64,
    #[serde(flatten)]
    pub y: Spread,
}

impl ImageFacts {
    pub(super) fn of(name: &str, bed: &Bed) -> Self {
        let facts = &bed.facts;
        Self {
            name: name.to_owned(),
            layers: bed.blobs.len(),
            paths: facts.all.len(),
            bytes: facts.bytes,
            many: facts.many_count,
            big: facts.big_size,
        }
    }
}

impl Row {
    pub(super) fn begun(workload: &Workload, temperature: Temperature) -> Self {
        Self {
            workload: workload.name.clone(),
            title: workload.title.clone(),
            group: workload.group,
            temperature,
            lanes: Vec::new(),
            skipped: None,
        }
    }

    /// Has each lane compared with the first one that was measured: a lane that failed midway has no ratio.
    pub(super) fn compare(&mut self) {
        let base = self.lanes.iter().find(|lane| lane.failed.is_none()).map(|lane| lane.seconds.clone());
        for lane in &mut self.lanes {
            lane.spread = spread(&lane.seconds);
            lane.ratio =
                base.as_ref().filter(|_| lane.failed.is_none()).and_then(|base| ratio(&lane.seconds, base));
        }
    }
}
