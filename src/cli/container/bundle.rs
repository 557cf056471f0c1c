//! `plyfs bundle`: an image as an OCI runtime wants it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::cli::container::run::explained;
use crate::cli::container::wanted;
use crate::cli::context::Context;
use crate::cli::error::{Told, Usage};
use crate::cli::inside::lower;
use crate::cli::mounting::mount::{digests, kept};
use crate::cli::mounting::umount::told;
use crate::cli::open::open_or_pull;
use crate::cli::output;
use crate::cli::platform::Choice;
use crate::container::{Placement, write_bundle};
use crate::mount::daemon::{self, Detached, Launch, Outcome};
use crate::mount::{self, Driver, Options, Request, Uppers};

/// Make a bundle for an OCI runtime: an image mounted at DIR/rootfs, and DIR/config.json
///
/// `crun run --bundle DIR NAME` runs it, and so do runc and youki. What is written goes to an upper of the store, as
/// with `plyfs mount --rw`. A plain user's config makes a user namespace in which root is that user and there are no
/// others; in `plyfs unshare` it is root's, with all ids that there are. `plyfs umount DIR/rootfs` ends the mount.
/// Prints DIR.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    wanted: wanted::Options,
    /// Of the upper that is written to [default: made of the image's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    platform: Choice,
    /// An image of the store, or a file
    image: String,
    /// Made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// What is run, in place of the image's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    match daemon::detach()? {
        Detached::Parent(Outcome::Live(_) | Outcome::Ended(0)) => Ok(()),
        // The child has said why.
        Detached::Parent(Outcome::Ended(status)) => Err(Told(status).into()),
        Detached::Child(launch) => bundle(context, arguments, launch),
    }
}

fn bundle(context: &Context, arguments: &Arguments, launch: Launch) -> anyhow::Result<()> {
    let opened = open_or_pull(context, &arguments.image, arguments.platform.platform()?.as_ref())?;
    let lower = Arc::new(lower(&opened)?);
    let directory = std::path::absolute(&arguments.directory)?;
    let rootfs = directory.join("rootfs");
    std::fs::create_dir_all(&rootfs).with_context(|| rootfs.display().to_string())?;
    let root = rustix::process::geteuid().is_root();
    let words = if root { &["suid"][..] } else { &[] };
    let options = Options::parse(words).map_err(|error| Usage(error.to_string()))?.of_a_writer();
    let name = arguments.name.clone().unwrap_or_else(|| Uppers::name_for(&opened.shown()));
    let tree = kept(context, &opened, lower, &name, &options, Driver::Fuse)?;
    let request = Request {
        store: Some(context.root().to_owned()),
        log: None,
        image: opened.shown(),
        digests: digests(&opened),
        target: Some(rootfs),
        upper: Some(name),
        options,
    };
    let live = mount::start(tree, request).map_err(told)?;
    let placement = match root {
        true => Placement::here(directory).map_err(explained)?,
        false => Placement::of_user(directory),
    };
    let image = opened.image.config.value().config.clone().unwrap_or_default();
    // From here on the mount's record says what is used.
    drop(opened);
    let wanted = arguments.wanted.wanted(arguments.command.clone())?;
    write_bundle(&image, &wanted, &placement, "plyfs").map_err(explained)?;
    output::line(&placement.directory.display().to_string())?;
    live.stay(launch).map_err(told)
}
