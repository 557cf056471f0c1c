//! Turn by turn: A B C, A B C. What disturbs the machine for a while disturbs all drivers, and a ratio within a turn
//! hardly at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use rustix::fs::{Advice, fadvise};

use super::driver::{Driver, Mode};
use super::machine::{Watcher, linger};
use super::program::{command, run};
use super::results::{Lane, Row};
use super::site::{Bed, Site};
use super::workload::{Task, Temperature, Workload};
use super::{Error, Pace, work};

pub(super) struct Turns<'a> {
    pub bed: &'a Bed,
    pub drivers: &'a [Driver],
    pub pace: Pace,
    pub watcher: &'a mut Watcher,
}

/// A driver in its row.
struct Running<'a> {
    driver: &'a Driver,
    /// Where its tree is, while it stays.
    root: Option<PathBuf>,
    lane: Lane,
}

impl Turns<'_> {
    /// One kind of work, on all drivers that it suits. One that fails is told and left out from then on.
    pub fn row(&mut self, workload: &Workload, temperature: Temperature) -> Result<Row, Error> {
        let mut row = Row::begun(workload, temperature);
        if let Some(why) = (workload.lacks)(self.bed) {
            row.skipped = Some(why);
            return Ok(row);
        }
        let suited = self.drivers.iter().filter(|driver| workload.suits(driver.kind.abilities()));
        let mut running: Vec<Running<'_>> = suited.map(Running::new).collect();
        let began = Instant::now();
        for turn in 0..=self.pace.rounds {
            if turn > Pace::FEWEST && began.elapsed() > self.pace.row {
                break;
            }
            self.watcher.compute();
            for one in running.iter_mut().filter(|one| one.lane.failed.is_none()) {
                match one.turn(self.bed, workload, temperature) {
                    // The first turn warms up, and is not counted.
                    Ok(seconds) if turn > 0 => one.lane.seconds.push(seconds),
                    Ok(_) => {}
                    Err(error) => one.lane.failed = Some(error.to_string()),
                }
            }
        }
        for one in &running {
            one.driver.down(self.bed)?;
        }
        self.bed.remove_written()?;
        if workload.mode() == Mode::Write {
            // ext4 passes over the inodes of what was removed in the last minutes, one by one, as long as it has them in
            // memory: whoever makes files in the next row would pay for this one.
            forget(self.bed, Temperature::Cold)?;
        }
        row.lanes = running.into_iter().map(|one| one.lane).collect();
        row.compare();
        Ok(row)
    }
}

impl<'a> Running<'a> {
    fn new(driver: &'a Driver) -> Self {
        let lane = Lane {
            driver: driver.name.clone(),
            seconds: Vec::new(),
            spread: None,
            ratio: None,
            failed: None,
        };
        Self { driver, root: None, lane }
    }

    fn turn(&mut self, bed: &Bed, workload: &Workload, temperature: Temperature) -> Result<f64, Error> {
        match (&workload.task, workload.mode(), temperature) {
            (Task::FromFile, ..) => self.start(bed, temperature, || self.driver.open_file(bed)),
            (Task::Mount, ..) => self.start(bed, temperature, || self.driver.up(bed, Mode::Read, &[])),
            (_, Mode::Read, Temperature::Warm) => {
                let root = match &self.root {
                    Some(root) => root.clone(),
                    None => self.driver.up(bed, Mode::Read, &[])?,
                };
                self.root = Some(root.clone());
                self.work(bed, workload, &root)
            }
            (_, Mode::Read, _) => {
                self.driver.down(bed)?;
                forget(bed, temperature)?;
                let root = self.driver.up(bed, Mode::Read, &[])?;
                self.work(bed, workload, &root)
            }
            (_, Mode::Write, _) => {
                self.driver.down(bed)?;
                let root = self.driver.up(bed, Mode::Write, &(workload.needs)(&bed.facts))?;
                (workload.prepare)(&site(bed, &root))?;
                forget(bed, temperature)?;
                self.work(bed, workload, &root)
            }
        }
    }

    /// How long it takes until there is something to read.
    fn start(
        &self,
        bed: &Bed,
        temperature: Temperature,
        open: impl Fn() -> Result<PathBuf, Error>,
    ) -> Result<f64, Error> {
        self.driver.down(bed)?;
        forget(bed, temperature)?;
        let start = Instant::now();
        let root = open()?;
        work::read_first(&site(bed, &root)).map_err(Error::doing("reading the first file"))?;
        linger(start, self.driver.handicap);
        Ok(start.elapsed().as_secs_f64())
    }

    fn work(&self, bed: &Bed, workload: &Workload, root: &Path) -> Result<f64, Error> {
        let site = site(bed, root);
        let start = Instant::now();
        match &workload.task {
            Task::Inside(work) => work(&site).map_err(Error::doing("working"))?,
            Task::Program(program) => drop(run(program(&site).stdout(Stdio::null()))?),
            Task::Own(words) => drop(run(command("sh", &["-c", words]).current_dir(root))?),
            Task::FromFile | Task::Mount => {}
        }
        linger(start, self.driver.handicap);
        Ok(start.elapsed().as_secs_f64())
    }
}

fn site<'a>(bed: &'a Bed, root: &'a Path) -> Site<'a> {
    Site { root, bed, facts: &bed.facts }
}

/// What was written is on the disk before anything is forgotten, so that nobody writes it while another is measured.
fn forget(bed: &Bed, temperature: Temperature) -> Result<(), Error> {
    rustix::fs::sync();
    let level = match temperature {
        Temperature::Cold => "3",
        Temperature::Forgotten => "2",
        Temperature::Warm => return Ok(()),
    };
    if bed.rights.is_root() {
        return fs::write("/proc/sys/vm/drop_caches", level).map_err(Error::doing("dropping the caches"));
    }
    match temperature {
        Temperature::Cold => evict(&bed.directory).map_err(Error::doing("dropping files from the cache")),
        _ => Ok(()),
    }
}

/// Every file below that lies on the same file system.
fn evict(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let device = fs::symlink_metadata(directory)?.dev();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() && metadata.dev() == device {
                open.push(entry.path());
            } else if metadata.is_file()
                && let Ok(file) = File::open(entry.path())
            {
                fadvise(&file, 0, None, Advice::DontNeed)?;
            }
        }
    }
    Ok(())
}
