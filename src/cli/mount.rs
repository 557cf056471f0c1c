//! `plyfs mount`: an image becomes a directory. Without arguments: what is mounted.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::context::Context;
use super::error::{Told, Usage};
use super::inside::lower;
use super::open::{Opened, open};
use super::output::{self, Column, Format, Listing};
use super::platform::Choice;
use super::umount::told;
use super::units;
use crate::mount::daemon::{self, Detached, Launch};
use crate::mount::{self, Mount, Options, Request, State};

/// Mount an image, or list what is mounted
///
/// Prints the directory alone, so that `cd $(plyfs mount alpine)` works. The image is one of the store or a file; a
/// file is read where it is, and must stay there. Returns when the mount is live; a process stays with it until it is
/// unmounted.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image of the store, or a file
    image: Option<String>,
    /// Where; without it, a directory is made and goes with the mount
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Stay in the foreground until it is unmounted
    #[arg(short, long)]
    foreground: bool,
    /// Options of mount(8): allow_other, dev, suid, noexec, uid=N, gid=N, fsname=NAME, max_read=N
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    /// All that there is so far
    #[arg(short, long)]
    read_only: bool,
    /// Of the list: `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT", conflicts_with = "image")]
    format: Option<String>,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let Some(image) = &arguments.image else { return list(context, arguments.format.as_deref()) };
    let options = Options::parse(&arguments.options).map_err(|error| Usage(error.to_string()))?;
    if arguments.foreground {
        return serve(context, image, arguments, options, Launch::Foreground);
    }
    // First of all that starts a thread or opens a file.
    match daemon::detach()? {
        Detached::Parent(0) => Ok(()),
        // The child has said why.
        Detached::Parent(status) => Err(Told(status).into()),
        Detached::Child(launch) => serve(context, image, arguments, options, launch),
    }
}

fn serve(
    context: &Context,
    image: &str,
    arguments: &Arguments,
    options: Options,
    launch: Launch,
) -> anyhow::Result<()> {
    let opened = open(context, image, arguments.platform.platform()?.as_ref())?;
    // Until the mount's record says what it uses.
    let lease = opened.store.lease()?;
    let lower = Arc::new(lower(&opened)?);
    let request = Request {
        store: context.root().to_owned(),
        image: opened.shown(),
        digests: digests(&opened),
        target: arguments.directory.clone(),
        options,
    };
    let live = mount::start(lower, request).map_err(told)?;
    drop(lease);
    output::line(&live.target().display().to_string())?;
    live.stay(launch).map_err(told)
}

/// What of the store the mount uses.
fn digests(opened: &Opened) -> Vec<crate::oci::Digest> {
    let manifest = opened.image.manifest.value();
    let layers = manifest.layers.iter().map(|layer| layer.digest);
    [opened.image.descriptor.digest, manifest.config.digest].into_iter().chain(layers).collect()
}

const HEADINGS: &[Column] = &[
    ("Image", "IMAGE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Pid", "PID"),
    ("Since", "SINCE"),
    ("State", "STATE"),
    ("Options", "OPTIONS"),
    ("ID", "MOUNT ID"),
];

fn list(context: &Context, format: Option<&str>) -> anyhow::Result<()> {
    let mounts = mount::list(&context.records()).map_err(told)?;
    let rows = mounts.iter().map(row).collect();
    let columns = &HEADINGS[..5];
    Listing { columns, headings: HEADINGS, rows }.print(&Format::of(format)?)
}

fn row(mount: &Mount) -> Map<String, Value> {
    let record = &mount.record;
    let ago =
        jiff::Timestamp::now().as_second().saturating_sub(i64::try_from(record.since).unwrap_or(i64::MAX));
    let state = match mount.state {
        State::Live => "live",
        State::Elsewhere => "elsewhere",
        State::Dead => "dead",
    };
    let fields = json!({
        "ID": record.id,
        "Image": record.image,
        "Mountpoint": record.target.display().to_string(),
        "Options": record.options,
        "Pid": record.pid,
        "Since": format!("{} ago", units::duration(ago)),
        "State": state,
    });
    match fields {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}
