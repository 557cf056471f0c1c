//! `plyfs uppers` and `plyfs discard`: the writable layers that the store keeps.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::error::{Told, tell};
use crate::cli::inside::lower;
use crate::cli::mounting::umount::told;
use crate::cli::open::open;
use crate::cli::output::{self, Column, Format, Listing};
use crate::cli::units;
use crate::mount::{self, Kept, Options, Uppers};

/// List what was written to images, or remove it
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(clap::Subcommand)]
enum Command {
    #[command(visible_alias = "list")]
    Ls(List),
    #[command(visible_alias = "remove")]
    Rm(Names),
    Seal(Seal),
}

/// List the uppers that the store keeps
#[derive(clap::Args)]
struct List {
    /// `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only the names
    #[arg(short, long)]
    quiet: bool,
}

/// Remove uppers, with all that was written
#[derive(clap::Args)]
pub struct Names {
    /// As `plyfs uppers` lists them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Make uppers readable for the kernel's overlayfs
///
/// A file whose mode, owner, times or attributes alone were changed is kept without its bytes, which stay in the image;
/// of a large file that was written to, only what was written is kept. The kernel cannot follow either. This fills in
/// what is missing, from the image. Ended early, it goes on where it was when it is run again.
#[derive(clap::Args)]
pub struct Seal {
    #[command(flatten)]
    names: Names,
}

/// Throw away what was written, and keep the upper
///
/// The next `plyfs mount --rw` shows the image as it is.
#[derive(clap::Args)]
pub struct Discard {
    #[command(flatten)]
    names: Names,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let uppers = Uppers::of_store(context.root());
    match &arguments.command {
        Some(Command::Rm(names)) => each(names, |name| uppers.remove(name).map_err(told)),
        Some(Command::Ls(list)) => self::list(&uppers, list),
        Some(Command::Seal(seal)) => each(&seal.names, |name| self::seal(context, &uppers, name)),
        None => list(&uppers, &arguments.list),
    }
}

pub fn discard(context: &Context, arguments: &Discard) -> anyhow::Result<()> {
    let uppers = Uppers::of_store(context.root());
    each(&arguments.names, |name| uppers.discard(name).map_err(told))
}

/// One that fails does not keep the others.
fn each(names: &Names, mut act: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut failed = false;
    for name in &names.names {
        match act(name) {
            Ok(()) => output::line(name)?,
            Err(error) => {
                failed = true;
                tell(&error);
            }
        }
    }
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

fn seal(context: &Context, uppers: &Uppers, name: &str) -> anyhow::Result<()> {
    let kept = uppers.get(name).map_err(told)?;
    kept.refuse_in_use().map_err(told)?;
    let opened = open(context, &kept.base.wanted, None)?;
    kept.check_base(opened.image.descriptor.digest).map_err(told)?;
    let lower = Arc::new(lower(&opened)?);
    let sealed = mount::open::seal(lower, &kept.paths(), &kept.options(&Options::default())).map_err(told)?;
    log::info!("{name}: filled in {} files, {}", sealed.files, units::size(sealed.bytes));
    Ok(())
}

pub const HEADINGS: &[Column] =
    &[("Name", "NAME"), ("Image", "IMAGE"), ("State", "STATE"), ("Created", "CREATED"), ("Size", "SIZE")];

fn list(uppers: &Uppers, list: &List) -> anyhow::Result<()> {
    let kept = uppers.list().map_err(told)?;
    if list.quiet {
        return kept.iter().try_for_each(|upper| Ok(output::line(&upper.name)?));
    }
    let rows = kept.iter().map(row).collect::<anyhow::Result<_>>()?;
    Listing { columns: HEADINGS, headings: HEADINGS, rows }.print(&Format::of(list.format.as_deref())?)
}

pub fn row(upper: &Kept) -> anyhow::Result<Map<String, Value>> {
    let now = jiff::Timestamp::now().as_second();
    let ago = now.saturating_sub(i64::try_from(upper.base.since).unwrap_or(i64::MAX));
    let state = if upper.is_in_use().map_err(told)? { "mounted" } else { "free" };
    let fields = json!({
        "Name": upper.name,
        "Image": upper.base.image,
        "State": state,
        "Created": format!("{} ago", units::duration(ago)),
        "Size": units::size(upper.size()?),
    });
    Ok(match fields {
        Value::Object(row) => row,
        _ => Map::new(),
    })
}
