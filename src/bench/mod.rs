//! Drivers compared at what users wait for: the same work on each, turn by turn, with the spread of the figures and a
//! word on whether the machine was quiet. What is measured on is one image, laid out for all of them.

mod driver;
mod fit;
mod growth;
mod layout;
mod machine;
mod private;
mod program;
pub mod report;
mod results;
mod site;
mod statistics;
mod synthetic;
mod turns;
mod work;
mod workload;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use driver::{Driver, Kind, UnknownDriver};
pub use fit::{Fit, Growth};
pub use growth::Axis;
pub use machine::{Disturbance, Machine};
pub use private::{Inside, Part, enter};
pub use results::{Curve, DriverFacts, ImageFacts, Lane, Point, Results, Row, Unit};
pub use site::{Rights, Subject};
pub use statistics::{Ratio, Spread, Verdict};
pub use synthetic::Size;
pub use workload::{Group, Temperature, UnknownWorkload, Workload};

use machine::Watcher;
use site::Bed;
use turns::Turns;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{name}: {said}")]
    Program { name: String, said: String },
    #[error(transparent)]
    Image(#[from] crate::image::Error),
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
    #[error("none of the drivers that were asked for can be measured here")]
    NoDriver,
}

impl Error {
    fn doing(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// What is to be compared.
pub struct Plan<'a> {
    pub image: String,
    pub subject: Subject<'a>,
    pub drivers: Vec<Driver>,
    pub workloads: Vec<Workload>,
    pub axes: Vec<Axis>,
    pub pace: Pace,
    pub rights: Rights,
    /// An empty directory, for all that is made.
    pub directory: PathBuf,
}

/// How long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Turns that count; one before them warms up.
    pub rounds: usize,
    /// After this no turn of a row is begun, once there are `Pace::FEWEST`.
    pub row: Duration,
    /// Growth up to what takes seconds, or minutes.
    pub is_quick: bool,
}

impl Pace {
    const FEWEST: usize = 3;
}

/// How far it is.
pub enum Event<'a> {
    Preparing(&'a str),
    /// The row that is begun, which one it is, and of how many.
    Row(&'a Row, usize, usize),
    /// It is done.
    Done(&'a Row),
}

/// Does it all. Nothing stays mounted, and nothing but `plan.directory` is written to.
pub fn run(plan: &Plan<'_>, tell: &mut dyn FnMut(Event<'_>)) -> Result<Results, Error> {
    let (began, mut watcher) = (Instant::now(), Watcher::begin());
    tell(Event::Preparing("laying the image out for every driver"));
    let directory = plan.directory.join("image");
    std::fs::create_dir(&directory).map_err(Error::doing("making a directory"))?;
    let bed = Bed::lay_out(directory, plan.rights, &plan.subject)?;
    let (drivers, facts) = driver::present(&plan.drivers, &bed);
    if drivers.is_empty() {
        return Err(Error::NoDriver);
    }
    let mut turns = Turns { bed: &bed, drivers: &drivers, pace: plan.pace, watcher: &mut watcher };
    let asked: Vec<_> = plan
        .workloads
        .iter()
        .flat_map(|work| work.temperatures.iter().map(move |temperature| (work, *temperature)))
        .collect();
    let mut rows = Vec::new();
    for (number, (workload, temperature)) in asked.iter().enumerate() {
        tell(Event::Row(&Row::begun(workload, *temperature), number + 1, asked.len()));
        let row = turns.row(workload, *temperature)?;
        tell(Event::Done(&row));
        rows.push(row);
    }
    let curves = growth::curves(plan, &mut turns, tell)?;
    Ok(Results {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        image: ImageFacts::of(&plan.image, &bed),
        machine: Machine::here(&plan.directory),
        rounds: plan.pace.rounds,
        caches: machine::caches(plan.rights).to_owned(),
        drivers: facts,
        rows,
        curves,
        disturbance: watcher.end(),
        seconds: began.elapsed().as_secs_f64(),
    })
}
