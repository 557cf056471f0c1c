//! `plyfs stop`, `kill`, `wait` and `rm`: the ends of containers.

use std::time::{Duration, Instant};

use crate::cli::container::run::explained;
use crate::cli::context::Context;
use crate::cli::error::{Told, Usage, tell};
use crate::cli::output;
use crate::container::{Containers, Error, Found, Held, signal, signals};

/// Ask containers to end, and kill those that do not
///
/// Prints their names.
#[derive(clap::Args)]
pub struct Stop {
    /// How long to wait before killing [default: as the container was made]
    #[arg(short, long, alias = "timeout", value_name = "SECONDS")]
    time: Option<u64>,
    /// In place of the container's stop signal
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// All that run
    #[arg(short, long)]
    all: bool,
    /// By name, or by id
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Send a signal to containers
#[derive(clap::Args)]
pub struct Kill {
    /// By name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    /// By name, or by id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Wait until containers have ended, and print their exit status
#[derive(clap::Args)]
pub struct Wait {
    /// By name, or by id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Remove containers, with all they wrote
///
/// Prints their names.
#[derive(clap::Args)]
pub struct Rm {
    /// Kill those that run, and do not mind those that are not there
    #[arg(short, long)]
    force: bool,
    /// All there are
    #[arg(short, long)]
    all: bool,
    /// By name, or by id
    #[arg(required_unless_present_any = ["all", "force"], conflicts_with = "all", value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn stop(context: &Context, arguments: &Stop) -> anyhow::Result<()> {
    let signals = match &arguments.signal {
        Some(signal) => Signals::This(number(signal)?),
        None => Signals::OfContainer,
    };
    let containers = Containers::of_store(context.root());
    let named = named(&containers, &arguments.containers, arguments.all, |found| found.running().is_ok())?;
    each(&named, |wanted| {
        let seconds = match arguments.time {
            Some(seconds) => seconds,
            None => containers.find(wanted)?.container.stop_timeout,
        };
        end(&containers, wanted, signals, Duration::from_secs(seconds))
    })
}

pub fn kill(context: &Context, arguments: &Kill) -> anyhow::Result<()> {
    let number = number(&arguments.signal)?;
    let containers = Containers::of_store(context.root());
    each(&arguments.containers, |wanted| signal(&containers.find(wanted)?, number))
}

pub fn wait(context: &Context, arguments: &Wait) -> anyhow::Result<()> {
    let containers = Containers::of_store(context.root());
    // All are found first: one that removes itself may be gone before its turn.
    let found = arguments.containers.iter().map(|wanted| containers.find(wanted));
    let found = found.collect::<Result<Vec<_>, _>>().map_err(explained)?;
    for found in found {
        output::line(&found.wait().map_err(explained)?.to_string())?;
    }
    Ok(())
}

pub fn rm(context: &Context, arguments: &Rm) -> anyhow::Result<()> {
    let containers = Containers::of_store(context.root());
    let named = named(&containers, &arguments.containers, arguments.all, |_| true)?;
    each(&named, |wanted| {
        let ended = match arguments.force {
            true => end(&containers, wanted, Signals::This(libc::SIGKILL), PATIENCE),
            false => Ok(()),
        };
        let found = ended.and_then(|()| containers.find(wanted));
        match found.and_then(|found| containers.hold(&found)).and_then(Held::remove) {
            // It was not there, or has gone when it ended.
            Err(Error::NoSuch(_)) if arguments.force => Ok(()),
            removed => removed,
        }
    })
}

/// For what a process that is killed takes to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

fn number(text: &str) -> anyhow::Result<i32> {
    signals::number(text).ok_or_else(|| Usage(format!("{text} is no signal")).into())
}

fn named(
    containers: &Containers,
    given: &[String],
    all: bool,
    which: impl Fn(&Found) -> bool,
) -> anyhow::Result<Vec<String>> {
    if !all {
        return Ok(given.to_vec());
    }
    let found = containers.list().map_err(explained)?;
    Ok(found.into_iter().filter(which).map(|found| found.container.name).collect())
}

/// One that fails does not keep the others.
fn each(containers: &[String], act: impl Fn(&str) -> Result<(), Error>) -> anyhow::Result<()> {
    let mut failed = false;
    for wanted in containers {
        match act(wanted) {
            Ok(()) => output::line(wanted)?,
            Err(error) => {
                failed = true;
                tell(&explained(error));
            }
        }
    }
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

/// Asks, waits, and then does not ask any more. One that has ended is as it should be.
fn end(containers: &Containers, wanted: &str, signals: Signals, patience: Duration) -> Result<(), Error> {
    let Some(found) = ask(containers, wanted, signals)? else { return Ok(()) };
    if found.wait_for(patience)? {
        return Ok(());
    }
    match signal(&found, libc::SIGKILL) {
        Ok(()) | Err(Error::NotRunning(_)) => {}
        Err(error) => return Err(error),
    }
    match found.wait_for(PATIENCE)? {
        true => Ok(()),
        false => Err(Error::StillRunning(found.container.name)),
    }
}

/// Which signal asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signals {
    OfContainer,
    This(i32),
}

/// `None`: it has ended. One that is being started is asked once it is there.
fn ask(containers: &Containers, wanted: &str, signals: Signals) -> Result<Option<Found>, Error> {
    const PAUSE: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = containers.find(wanted)?;
        let number = match signals {
            Signals::OfContainer => found.container.stop_signal,
            Signals::This(number) => number,
        };
        match signal(&found, number) {
            Ok(()) => return Ok(Some(found)),
            Err(Error::NotRunning(_)) if found.wait_for(PAUSE)? => return Ok(None),
            Err(Error::NotRunning(_)) if Instant::now() < deadline => {}
            Err(error) => return Err(error),
        }
    }
}
