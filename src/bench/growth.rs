//! Cost as work grows: the same work on more and more, and a line through the times.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::driver::{Driver, Kind};
use super::fit::fit;
use super::program::{command, run};
use super::results::{Curve, Point, Row, Unit};
use super::site::{Bed, Facts, Subject};
use super::statistics::{Spread, spread};
use super::synthetic::{Building, Layer};
use super::turns::Turns;
use super::workload::{Group, Task, Temperature, Workload};
use super::{Error, Event, Plan, work};
use crate::oci::Descriptor;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    Entries,
    Layers,
    Size,
    Readers,
    Mounts,
}

impl Axis {
    pub const ALL: [Self; 5] = [Self::Entries, Self::Layers, Self::Size, Self::Readers, Self::Mounts];

    pub fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Layers => "layers",
            Self::Size => "size",
            Self::Readers => "readers",
            Self::Mounts => "mounts",
        }
    }

    /// As an axis of a plot is named.
    fn title(self) -> &'static str {
        match self {
            Self::Entries => "entries of the image",
            Self::Layers => "layers of the image",
            Self::Size => "bytes of the file",
            Self::Readers => "readers at once",
            Self::Mounts => "mounts at once",
        }
    }

    fn steps(self, is_quick: bool) -> &'static [u64] {
        match (self, is_quick) {
            (Self::Entries, true) => &[1_000, 4_000, 16_000],
            (Self::Entries, false) => &[1_000, 10_000, 100_000, 1_000_000],
            (Self::Layers, true) => &[1, 4, 16],
            (Self::Layers, false) => &[1, 8, 32, 127],
            (Self::Size, true) => &[1 << 20, 4 << 20, 16 << 20],
            (Self::Size, false) => &[1 << 20, 8 << 20, 64 << 20, 256 << 20],
            (Self::Readers, _) => &[1, 2, 4, 8, 16],
            (Self::Mounts, true) => &[1, 4, 16],
            (Self::Mounts, false) => &[1, 10, 100, 500],
        }
    }
}

/// More entries than this take minutes to be unpacked; only what needs no unpacking is measured beyond.
const MOST_UNPACKED: u64 = 100_000;
const FILES_OF_A_LAYER: u64 = 50;

pub(super) fn curves(
    plan: &Plan<'_>,
    turns: &mut Turns<'_>,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<Curve>, Error> {
    let mut curves = Vec::new();
    for axis in &plan.axes {
        let mut found = Curves::new(*axis);
        for step in axis.steps(plan.pace.is_quick) {
            tell(Event::Preparing(&format!("growth: {step} {}", axis.title())));
            match axis {
                Axis::Mounts => found.mounts(turns.bed, *step)?,
                Axis::Readers => found.readers(turns, *step)?,
                Axis::Entries | Axis::Layers | Axis::Size => found.images(plan, turns, *step)?,
            }
        }
        curves.extend(found.finish());
    }
    Ok(curves)
}

/// The curves of one axis on their way.
struct Curves {
    axis: Axis,
    curves: Vec<Curve>,
}

impl Curves {
    fn new(axis: Axis) -> Self {
        Self { axis, curves: Vec::new() }
    }

    fn add(&mut self, title: &str, unit: Unit, driver: &str, x: u64, y: Spread) {
        let point = Point { x: x as f64, y };
        let known = self.curves.iter_mut().find(|curve| curve.title == title && curve.driver == driver);
        match known {
            Some(curve) => curve.points.push(point),
            None => self.curves.push(Curve {
                title: title.to_owned(),
                axis: self.axis.title().to_owned(),
                unit,
                driver: driver.to_owned(),
                points: vec![point],
                fit: None,
            }),
        }
    }

    fn add_row(&mut self, title: &str, x: u64, row: &Row) {
        for lane in &row.lanes {
            if let (Some(spread), None) = (lane.spread, &lane.failed) {
                self.add(title, Unit::Seconds, &lane.driver, x, spread);
            }
        }
    }

    fn finish(self) -> Vec<Curve> {
        let fitted = |curve: Curve| {
            let points: Vec<(f64, f64)> =
                curve.points.iter().map(|point| (point.x, point.y.median)).collect();
            Curve { fit: fit(&points), ..curve }
        };
        self.curves.into_iter().map(fitted).collect()
    }

    fn readers(&mut self, turns: &mut Turns<'_>, count: u64) -> Result<(), Error> {
        let task = Task::Inside(Box::new(move |site| work::readers(site, count as usize)));
        let workload = Workload::new("readers", "small files read at once", Group::Read, &[], task);
        let row = turns.row(&workload, Temperature::Forgotten)?;
        self.add_row("small files, read by several at once", count, &row);
        Ok(())
    }

    /// Images made for this: measured as any other image is.
    fn images(&mut self, plan: &Plan<'_>, turns: &mut Turns<'_>, step: u64) -> Result<(), Error> {
        let axis = self.axis;
        let make = move |building: &mut Building<'_>| fill(axis, step, building);
        let directory = plan.directory.join(format!("{}-{step}", axis.name()));
        fs::create_dir(&directory).map_err(Error::doing("making a directory"))?;
        let is_unpacked = axis != Axis::Entries || step <= MOST_UNPACKED;
        let subject = Subject::Made(&make);
        let bed = match is_unpacked {
            true => Bed::lay_out(directory.clone(), plan.rights, &subject)?,
            false => {
                Bed::lay_out_packed(directory.clone(), plan.rights, &subject, Facts::of_made(first(axis)))?
            }
        };
        let grows = |driver: &&Driver| match driver.kind {
            Kind::Plyfs => true,
            Kind::Native | Kind::Overlay | Kind::FuseOverlayfs(_) => is_unpacked,
            _ => false,
        };
        let drivers: Vec<Driver> = turns.drivers.iter().filter(grows).cloned().collect();
        let mut turns =
            Turns { bed: &bed, drivers: &drivers, pace: turns.pace, watcher: &mut *turns.watcher };
        for (title, name, temperature) in measures(axis) {
            for workload in Workload::parse_all(&[name]).unwrap_or_default() {
                let row = turns.row(&workload, *temperature)?;
                self.add_row(title, step, &row);
            }
        }
        fs::remove_dir_all(&directory).map_err(Error::doing("removing an image"))
    }

    /// plyfs alone: a process for each mount.
    fn mounts(&mut self, bed: &Bed, count: u64) -> Result<(), Error> {
        let targets: Vec<PathBuf> =
            (0..count).map(|number| bed.path("mounts").join(number.to_string())).collect();
        for target in &targets {
            fs::create_dir_all(target).map_err(Error::doing("making a directory"))?;
        }
        let mut times = Vec::new();
        for target in &targets {
            let start = Instant::now();
            bed.mount_image(target)?;
            fs::read(target.join(&bed.facts.first)).map_err(Error::doing("reading the first file"))?;
            times.push(start.elapsed().as_secs_f64());
        }
        let daemons = daemons(bed)?;
        for target in &targets {
            bed.unmount_image(target)?;
        }
        let own = "plyfs";
        if let Some(spread) = spread(&times) {
            self.add("one mount more", Unit::Seconds, own, count, spread);
        }
        // Of processes that can't be looked into there is nothing to tell.
        for (title, unit, amount) in daemons.measures().into_iter().filter(|(_, _, amount)| *amount > 0.0) {
            self.add(title, unit, own, count, Spread { median: amount, low: amount, high: amount });
        }
        Ok(())
    }
}

/// What all mounts' processes have taken.
#[derive(Default)]
struct Daemons {
    bytes: f64,
    seconds: f64,
}

impl Daemons {
    fn measures(&self) -> [(&'static str, Unit, f64); 2] {
        [
            ("memory of all mounts", Unit::Bytes, self.bytes),
            ("processor time of all mounts", Unit::Seconds, self.seconds),
        ]
    }
}

fn daemons(bed: &Bed) -> Result<Daemons, Error> {
    let mut list = command(&bed.plyfs, &["--root"]);
    let pids = run(list.arg(bed.store()).args(["mount", "--format", "{{.Pid}}"]))?;
    let mut all = Daemons::default();
    for pid in pids.lines() {
        all.bytes += proportional_bytes(pid).unwrap_or(0.0);
        all.seconds += processor_seconds(pid).unwrap_or(0.0);
    }
    Ok(all)
}

/// Memory that several share is counted in parts.
fn proportional_bytes(pid: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn processor_seconds(pid: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have spaces in it.
    let words: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
    Some((ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64)
}

fn measures(axis: Axis) -> &'static [(&'static str, &'static str, Temperature)] {
    match axis {
        Axis::Entries => &[
            ("mount, and read a file", "mount", Temperature::Forgotten),
            ("find with the size of each file", "find", Temperature::Forgotten),
        ],
        Axis::Layers => &[
            ("mount, and read a file", "mount", Temperature::Forgotten),
            ("find with the size of each file", "find", Temperature::Forgotten),
        ],
        Axis::Size => &[("a file, front to back, cold", "read", Temperature::Cold)],
        Axis::Readers | Axis::Mounts => &[],
    }
}

fn first(axis: Axis) -> &'static str {
    match axis {
        Axis::Size => "big",
        _ => "tree/000000/file-0000000",
    }
}

fn fill(axis: Axis, step: u64, image: &mut Building<'_>) -> Result<Vec<Descriptor>, Error> {
    match axis {
        Axis::Size => image.layer(|layer| layer.filled("big", step as usize))?,
        Axis::Layers => {
            for number in 0..step {
                image.layer(|layer| files(layer, number * FILES_OF_A_LAYER, FILES_OF_A_LAYER))?;
            }
        }
        _ => image.layer(|layer| files(layer, 0, step))?,
    }
    image.finish()
}

/// A thousand to a directory.
fn files(layer: &mut Layer, start: u64, count: u64) -> std::io::Result<()> {
    (start..start + count)
        .try_for_each(|number| layer.file(&format!("tree/{:06}/file-{number:07}", number / 1000), b"x\n"))
}
