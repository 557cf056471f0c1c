//! `plyfs bench`: how fast is what turns images into directories, on this machine, with this image?

mod progress;
mod table;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::bench::{self, Axis, Driver, Inside, Pace, Part, Plan, Results, Size, Subject, Workload};
use crate::cli::context::Context;
use crate::cli::error::{Told, Usage, hinted};
use crate::cli::open::open;
use crate::cli::output;
use crate::cli::platform::Choice;

/// Compare what makes a directory of an image, on this machine
///
/// The same work is done on every driver, turn by turn, and each is held against the first one, turn by turn. With no
/// image, one is made that is always the same. Everything happens in a directory and namespaces that go when it ends,
/// however it ends; as a plain user, in a user namespace.
///
/// Drivers: native (the tree unpacked), plyfs, plyfs-rw (with an upper), plyfs-dirs (over unpacked layers), overlay
/// (the kernel's, over unpacked layers), overlay-over-plyfs (over a plyfs mount), fuse-overlayfs[=PROGRAM], squashfuse,
/// erofs, and from the image's file to the first file read also umoci, podman and ratarmount. `cmd:COMMAND` is one of
/// your own: it mounts $PLYFS_BENCH_LOWERS (unpacked, topmost first, colons between) or $PLYFS_BENCH_IMAGE (an OCI
/// layout) at $PLYFS_BENCH_TARGET, with $PLYFS_BENCH_UPPER and $PLYFS_BENCH_WORK where it is written to; umount(2)
/// takes it away.
/// `NAME+20%` is a driver that is a fifth slower than it is, to see what the comparison can tell.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image of the store, or a file
    image: Option<String>,
    /// Compare these, the first of them with the others [default: all that are here]
    #[arg(long = "driver", value_name = "DRIVER")]
    drivers: Vec<String>,
    /// Do this: first-file, mount, find, stat, missing, read-all, tar, open, readers, read, random, fio, python, perl,
    /// create, unlink, rename, mkdir, copy-up, write, write-small, chmod, rm, untar, git-clone, git-status, build,
    /// install; or `cmd:COMMAND`, done by a shell in a tree that it may change [default: all]
    #[arg(long = "workload", value_name = "WORK")]
    workloads: Vec<String>,
    /// Show how cost grows with: entries, layers, size, readers, mounts; `all` or `none` [default: all, unless drivers
    /// or workloads are named]
    #[arg(long = "growth", value_name = "WHAT")]
    axes: Vec<String>,
    /// How many turns count, after one that warms up; a row that takes long has fewer, and three at least [default: 7]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// A smaller image and fewer turns: minutes, not a quarter of an hour
    #[arg(long)]
    quick: bool,
    /// Keep all that was measured in a file; `-` is stdout, in the place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with plots, which needs nothing else to be looked at
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Work in a new directory in this one: the file system that is measured, and several times the image's size
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    scratch: PathBuf,
    #[command(flatten)]
    platform: Choice,
}

impl Arguments {
    fn pace(&self) -> Pace {
        let (rounds, seconds) = if self.quick { (3, 6) } else { (7, 12) };
        Pace {
            rounds: self.rounds.map_or(rounds, usize::from),
            row: Duration::from_secs(seconds),
            is_quick: self.quick,
        }
    }

    fn size(&self) -> Size {
        if self.quick { Size::QUICK } else { Size::USUAL }
    }

    fn drivers(&self) -> Result<Vec<Driver>, Usage> {
        match self.drivers.is_empty() {
            true => Ok(Driver::all()),
            false => Driver::parse_all(&self.drivers).map_err(|error| Usage(error.to_string())),
        }
    }

    fn axes(&self) -> Result<Vec<Axis>, Usage> {
        let words: Vec<&str> = self.axes.iter().map(String::as_str).collect();
        match words[..] {
            [] if self.drivers.is_empty() && self.workloads.is_empty() => Ok(Axis::ALL.to_vec()),
            ["all"] => Ok(Axis::ALL.to_vec()),
            [] | ["none"] => Ok(Vec::new()),
            _ => words.into_iter().map(axis).collect(),
        }
    }

    /// With growth alone there are no rows.
    fn workloads(&self) -> Result<Vec<Workload>, Usage> {
        let only_growth = !self.axes.is_empty() && self.workloads.is_empty() && self.axes != ["none"];
        match only_growth {
            true => Ok(Vec::new()),
            false => Workload::parse_all(&self.workloads).map_err(|error| Usage(error.to_string())),
        }
    }
}

fn axis(word: &str) -> Result<Axis, Usage> {
    let found = Axis::ALL.into_iter().find(|axis| axis.name() == word);
    let names = || Axis::ALL.map(Axis::name).join(", ");
    found.ok_or_else(|| Usage(format!("unknown growth `{word}`; there are {}, all and none", names())))
}

/// What is asked for, of which nothing is wrong.
struct Asked {
    drivers: Vec<Driver>,
    workloads: Vec<Workload>,
    axes: Vec<Axis>,
    files: Files,
}

/// Where results go. They are there before an hour's work, so that it is not lost for want of a directory.
struct Files {
    json: Option<File>,
    report: Option<File>,
}

impl Files {
    fn create(arguments: &Arguments) -> anyhow::Result<Self> {
        let create =
            |path: &PathBuf| File::create(path).with_context(|| format!("writing {}", path.display()));
        let json = arguments.json.as_ref().filter(|path| *path != Path::new("-"));
        Ok(Self {
            json: json.map(create).transpose()?,
            report: arguments.report.as_ref().map(create).transpose()?,
        })
    }
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let (drivers, workloads, axes) = (arguments.drivers()?, arguments.workloads()?, arguments.axes()?);
    let asked = Asked { drivers, workloads, axes, files: Files::create(arguments)? };
    let scratch = std::path::absolute(&arguments.scratch)?;
    let entered = bench::enter(&scratch).with_context(|| format!("preparing a run in {}", scratch.display()));
    match entered.map_err(|error| hinted(error, "`plyfs doctor` says what keeps namespaces from working"))? {
        Part::Outside(0) => Ok(()),
        // The one inside has said why.
        Part::Outside(status) => Err(Told(status).into()),
        Part::Inside(inside) => measure(context, arguments, asked, inside),
    }
}

fn measure(context: &Context, arguments: &Arguments, asked: Asked, inside: Inside) -> anyhow::Result<()> {
    let opened = match &arguments.image {
        Some(image) => Some(open(context, image, arguments.platform.platform()?.as_ref())?),
        None => None,
    };
    let subject = match &opened {
        Some(opened) => Subject::Given { image: &opened.image, source: opened.source() },
        None => Subject::Synthetic(arguments.size()),
    };
    let plan = Plan {
        image: opened
            .as_ref()
            .map_or_else(|| "made by plyfs bench".to_owned(), crate::cli::open::Opened::shown),
        subject,
        drivers: asked.drivers,
        workloads: asked.workloads,
        axes: asked.axes,
        pace: arguments.pace(),
        rights: inside.rights,
        directory: inside.directory,
    };
    let mut progress = progress::Progress::new();
    let results = bench::run(&plan, &mut |event| progress.tell(&event));
    progress.end();
    Ok(keep(&results?, arguments, asked.files)?)
}

fn keep(results: &Results, arguments: &Arguments, files: Files) -> io::Result<()> {
    let json = serde_json::to_string_pretty(results)?;
    if let Some(mut file) = files.json {
        writeln!(file, "{json}")?;
    }
    if let Some(mut file) = files.report {
        file.write_all(bench::report::html(results).as_bytes())?;
    }
    match &arguments.json {
        Some(path) if path == Path::new("-") => output::line(&json),
        _ => table::print(results),
    }
}
