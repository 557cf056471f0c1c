//! `plyfs stats`: what mounts have been asked, how long the answers took, and what they had to do for them.

mod prometheus;
mod table;
mod trace;

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::error::{Told, Usage, tell};
use crate::cli::mounting::umount::told;
use crate::cli::output;
use crate::mount::{self, Mount};
use crate::stats::{Counter, Histogram, Snapshot};

/// Show what mounts were asked, and how long the answers took
///
/// Every mount counts, always. Requests are named as FUSE names them: an answer that the kernel had itself is none. A
/// time is from when a request was read to when it was answered; times are within an eighth. Without a directory, of
/// every mount of this store. A mount of `plyfs -o` keeps no record, and none of this.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where an image is mounted
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// `table`; `json`, a line a mount; `prometheus`, the text that a scraper reads
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_possible_values = true)]
    format: Format,
    /// Follow one mount: a line for each request from now on, until it is unmounted
    #[arg(long, conflicts_with = "format")]
    trace: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Prometheus,
}

/// A mount, and what it had counted when it was asked.
struct Counted {
    mount: Mount,
    snapshot: Snapshot,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.trace {
        let [directory] = &arguments.directories[..] else {
            return Err(Usage("--trace follows one mount: name its directory".to_owned()).into());
        };
        return trace::follow(context, &mount::find(&context.records(), directory).map_err(told)?);
    }
    let (counted, failed) = counted(context, &arguments.directories)?;
    match arguments.format {
        Format::Table => table::print(&counted)?,
        Format::Json => counted.iter().try_for_each(|one| output::line(&one.json().to_string()))?,
        Format::Prometheus => prometheus::print(&counted)?,
    }
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

/// Those that can be read, and whether one could not, which has been told.
fn counted(context: &Context, directories: &[PathBuf]) -> anyhow::Result<(Vec<Counted>, bool)> {
    let records = context.records();
    let mounts: Vec<anyhow::Result<Mount>> = if directories.is_empty() {
        mount::list(&records).map_err(told)?.into_iter().map(Ok).collect()
    } else {
        directories.iter().map(|directory| mount::find(&records, directory).map_err(told)).collect()
    };
    let mut failed = false;
    let counted = mounts.into_iter().filter_map(|mount| {
        let read = mount.and_then(|mount| Counted::read(context, mount));
        read.inspect_err(|error| {
            failed = true;
            tell(error);
        })
        .ok()
    });
    Ok((counted.collect(), failed))
}

impl Counted {
    fn read(context: &Context, mount: Mount) -> anyhow::Result<Self> {
        let target = mount.record.target.display();
        let file = context.records().open_stats(&mount.record, mount::Reading::Once);
        let snapshot = file.map_err(anyhow::Error::from).and_then(|file| Ok(Snapshot::read(&file)?));
        match snapshot {
            Ok(snapshot) => Ok(Self { mount, snapshot }),
            Err(error) => Err(error.context(format!("what {target} has counted"))),
        }
    }

    fn json(&self) -> Value {
        let record = &self.mount.record;
        let counters = Counter::ALL
            .iter()
            .map(|counter| (counter.name().to_owned(), self.snapshot.counter(*counter).into()));
        let requests = self.snapshot.requests.iter().map(|(opcode, answers)| {
            let quantile = |share| nanoseconds(&answers.times, share);
            let fields = json!({
                "Count": answers.count,
                "Errors": answers.failed,
                "Nanoseconds": answers.total,
                "P50": quantile(0.5),
                "P90": quantile(0.9),
                "P99": quantile(0.99),
            });
            (opcode.name().to_owned(), fields)
        });
        json!({
            "ID": record.id,
            "Image": record.image,
            "Mountpoint": record.target.display().to_string(),
            "Pid": record.pid,
            "Counters": Map::from_iter(counters),
            "Requests": Map::from_iter(requests),
        })
    }
}

fn nanoseconds(times: &Histogram, share: f64) -> u64 {
    times.quantile(share).unwrap_or(0)
}
