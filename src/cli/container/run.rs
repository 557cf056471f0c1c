//! `plyfs run` and `plyfs start`: a process in an image.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::container::root::serve;
use crate::cli::container::wanted;
use crate::cli::context::Context;
use crate::cli::error::{Told, Usage, hinted, tell};
use crate::cli::mounting::mount::digests;
use crate::cli::open::{Opened, open_or_pull};
use crate::cli::output;
use crate::cli::platform::Choice;
use crate::container::{self, Container, Containers, Held, Runtime, process, signals};
use crate::mount;
use crate::mount::daemon::{self, Detached, Launch, Outcome};
use crate::oci::{Platform, RunConfig};

/// Run a command in an image
///
/// The image is mounted with an upper of its own and run by an OCI runtime, crun, runc or youki, under your own ids: no
/// root, no daemon. A plain user is root in it, and other users of the image are ids that /etc/subuid grants, if there
/// are any. What it writes is kept by the container's name until `plyfs rm`. When plyfs, the runtime or the container
/// is killed, nothing of it keeps running and nothing stays mounted. Exit status: the command's, 128 and the signal that
/// ended it, 127 if it is not there, 126 if it can't be run, 125 if anything else is wrong.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    wanted: wanted::Options,
    /// Print the container's id, and leave it in the background
    #[arg(short, long)]
    detach: bool,
    /// Remove the container, with all it wrote, when it ends
    #[arg(long)]
    rm: bool,
    /// By what it is called [default: made of the image's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Another OCI runtime, by name or path [default: the first of crun, runc, youki]
    #[arg(long, value_name = "PROGRAM")]
    runtime: Option<String>,
    /// Of what `plyfs ps` shows and filters
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// What `plyfs stop` sends [default: the image's, or TERM]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// How long `plyfs stop` waits for it [default: the image's, or 10]
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u64>,
    /// Write the container's id to this new file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    #[command(flatten)]
    platform: Choice,
    /// An image of the store, or a file
    image: String,
    /// What is run, in place of the image's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Start containers again that have ended
///
/// What they wrote is there. Prints their names.
#[derive(clap::Args)]
pub struct Start {
    /// Show what it says, pass signals on, and end with its exit status
    #[arg(short, long)]
    attach: bool,
    /// By name, or by id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    ending_as_docker(launch(arguments.detach, |launch| {
        let held = create(context, arguments)?;
        if let Launch::Background { .. } = launch {
            output::line(&held.container.id)?;
        }
        live(context, held, launch)
    }))
}

pub fn start(context: &Context, arguments: &Start) -> anyhow::Result<()> {
    if arguments.attach && arguments.containers.len() > 1 {
        return Err(Usage("only one container can be attached to".to_owned()).into());
    }
    let mut failed = false;
    for wanted in &arguments.containers {
        let started = launch(!arguments.attach, |launch| {
            let containers = Containers::of_store(context.root());
            let found = containers.find(wanted).map_err(explained)?;
            let held = containers.hold(&found).map_err(explained)?;
            if let Launch::Background { .. } = launch {
                output::line(wanted)?;
            }
            live(context, held, launch)
        });
        if arguments.attach {
            return ending_as_docker(started);
        }
        if let Err(error) = started {
            failed = true;
            tell_unless_told(&error);
        }
    }
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

/// Goes on in the background, or here: an end that is not 0 is an error that has been told.
fn launch(detach: bool, go_on: impl FnOnce(Launch) -> anyhow::Result<u8>) -> anyhow::Result<()> {
    let code = match detach {
        false => go_on(Launch::Foreground)?,
        // First of all that starts a thread or opens a file.
        true => match daemon::detach()? {
            Detached::Parent(Outcome::Live(_)) => 0,
            Detached::Parent(Outcome::Ended(code)) => code,
            Detached::Child(launch) => go_on(launch)?,
        },
    };
    if code == 0 { Ok(()) } else { Err(Told(code).into()) }
}

/// Everything that is not the command's own end is 125 or what the runtime's words come to.
fn ending_as_docker(ended: anyhow::Result<()>) -> anyhow::Result<()> {
    ended.map_err(|error| {
        if error.is::<Told>() {
            return error;
        }
        tell_unless_told(&error);
        let known = error.chain().find_map(|cause| cause.downcast_ref());
        Told(known.map_or(125, container::Error::status)).into()
    })
}

/// A message is empty where another process has said it.
fn tell_unless_told(error: &anyhow::Error) {
    if !error.is::<Told>() && !error.to_string().is_empty() {
        tell(error);
    }
}

/// The error, with what the user can do about it.
pub fn explained(error: container::Error) -> anyhow::Error {
    match error.hint() {
        Some(hint) => hinted(error, hint),
        None => error.into(),
    }
}

fn create(context: &Context, arguments: &Arguments) -> anyhow::Result<Held> {
    Runtime::find(arguments.runtime.as_deref()).map_err(explained)?;
    let platform = arguments.platform.platform()?;
    let opened = open_or_pull(context, &arguments.image, platform.as_ref())?;
    let container = container(&opened, arguments, platform.as_ref())?;
    let held = Containers::of_store(context.root()).create(container).map_err(explained)?;
    let written = arguments.cidfile.as_ref().map(|file| write_new(file, &held.container.id));
    match written.transpose() {
        Ok(_) => Ok(held),
        Err(error) => {
            held.remove().map_err(explained)?;
            Err(error)
        }
    }
}

fn write_new(file: &Path, id: &str) -> anyhow::Result<()> {
    let written = File::create_new(file).and_then(|mut new| new.write_all(id.as_bytes()));
    written.with_context(|| format!("writing {}", file.display()))
}

fn container(
    opened: &Opened,
    arguments: &Arguments,
    platform: Option<&Platform>,
) -> anyhow::Result<Container> {
    let config: RunConfig = opened.image.config.value().config.clone().unwrap_or_default();
    let wanted = arguments.wanted.wanted(arguments.command.clone())?;
    let id = Container::new_id();
    let image = opened.shown();
    let signal = arguments.stop_signal.as_ref().or(config.stop_signal.as_ref());
    let stop_signal = match signal {
        None => libc::SIGTERM,
        Some(text) => signals::number(text).ok_or_else(|| Usage(format!("{text} is no signal")))?,
    };
    let timeout = config.stop_timeout.and_then(|seconds| u64::try_from(seconds).ok());
    Ok(Container {
        name: arguments
            .name
            .clone()
            .unwrap_or_else(|| format!("{}-{}", mount::Uppers::name_for(&image), &id[..6])),
        image,
        opened_by: opened.lasting()?,
        platform: platform.map(ToString::to_string),
        digests: digests(opened),
        created: Container::now(),
        args: process::args(&config, &wanted).map_err(explained)?,
        wanted,
        runtime: arguments.runtime.clone(),
        remove: arguments.rm,
        stop_signal,
        stop_timeout: arguments.stop_timeout.or(timeout).unwrap_or(10),
        labels: labels(&config, &arguments.label),
        config,
        id,
    })
}

fn labels(config: &RunConfig, given: &[String]) -> Vec<(String, String)> {
    let of_image = config.labels.clone().into_iter();
    let of_user = given.iter().map(|label| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        (key.to_owned(), value.to_owned())
    });
    of_image.chain(of_user).collect::<std::collections::BTreeMap<_, _>>().into_iter().collect()
}

fn live(context: &Context, held: Held, launch: Launch) -> anyhow::Result<u8> {
    let runtime = Runtime::find(held.container.runtime.as_deref()).map_err(explained)?;
    log::info!("container {} is run by {}", held.container.name, runtime.program().display());
    let mut serve = |held: &Held, launch: Launch| match serve(context, held, launch) {
        Ok(()) => 0,
        Err(error) => {
            tell(&error);
            1
        }
    };
    container::run(held, &runtime, launch, &mut serve).map_err(explained)
}
