//! `plyfs image prune` and `plyfs system prune`: what nobody uses goes, once the user has said so.

use std::io::{self, BufRead, Write};

use crate::cli::context::Context;
use crate::cli::image::filter::PruneFilters;
use crate::cli::output::Output;
use crate::cli::units;
use crate::cli::users::Users;
use crate::image::{Candidate, Entry, Image, Removal, Stored, select};
use crate::oci::Reference;
use crate::store::{Reach, Store};

/// Remove images that nobody uses
///
/// Without --all, those that have no name any more. What is mounted, what has an upper and what is being loaded stays.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    choice: Choice,
}

#[derive(clap::Args)]
pub struct Choice {
    /// Also images that have a name, if they are not mounted and have no upper
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only images made before a time (until=TIME), with or without a label (label=KEY[=VALUE], label!=KEY[=VALUE])
    #[arg(long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

const ALL_IMAGES: &str = "all images without at least one container associated to them";
const DANGLING_IMAGES: &str = "all dangling images";

impl Choice {
    pub fn images(&self) -> &'static str {
        if self.all { ALL_IMAGES } else { DANGLING_IMAGES }
    }

    pub fn filters(&self) -> &[String] {
        &self.filters
    }
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let warning = format!("WARNING! This will remove {}.", arguments.choice.images());
    prune(context, &arguments.choice, Reach::Unused, &warning)
}

/// Asks with `warning`, and removes what was chosen and all that goes with it as far as `reach` says.
pub fn prune(context: &Context, choice: &Choice, reach: Reach, warning: &str) -> anyhow::Result<()> {
    let filters = PruneFilters::parse(&choice.filters)?;
    if !choice.force && !choice.dry_run && !confirmed(warning)? {
        return Ok(());
    }
    let store = context.store()?;
    let guard = store.exclusive()?;
    let held = Users::of_store(context)?.digests();
    let goes = |candidate: &Candidate<'_>| goes(&store, choice, &filters, candidate);
    let removal = Removal::plan(&store, guard, held, reach, goes)?;
    // An image's own words are gone with it.
    let removed: Vec<String> = removal.images().iter().flat_map(|entry| lines(&store, entry)).collect();
    if !choice.dry_run {
        removal.apply()?;
    }
    Ok(report(&removed, removal.bytes(), choice.dry_run)?)
}

/// In docker's words. Whoever is no `y` is no.
fn confirmed(warning: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    write!(out, "{warning}\nAre you sure you want to continue? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

fn goes(store: &Store, choice: &Choice, filters: &PruneFilters, candidate: &Candidate<'_>) -> bool {
    let chosen = !candidate.is_used && (choice.all || candidate.entry.names.is_empty());
    chosen && (filters.is_empty() || image(store, candidate.entry).is_some_and(|image| filters.keep(&image)))
}

/// `None` for what can't be read: nothing is known of it, and it is removed only where nothing is asked.
fn image(store: &Store, entry: &Entry) -> Option<Image> {
    let selected = select(&Stored::new(store), std::slice::from_ref(&entry.descriptor), None);
    selected
        .inspect_err(|error| log::info!("{}: {error}", entry.descriptor.digest))
        .ok()
        .map(|found| found.image)
}

fn lines(store: &Store, entry: &Entry) -> Vec<String> {
    let names = entry.names.iter().map(Reference::familiar);
    let id = image(store, entry).map_or(entry.descriptor.digest, |image| image.id());
    names.map(|name| format!("untagged: {name}")).chain([format!("deleted: {id}")]).collect()
}

fn report(removed: &[String], bytes: u64, dry_run: bool) -> io::Result<()> {
    let (heading, total) = match dry_run {
        true => ("Images to be deleted:", "Total reclaimable space:"),
        false => ("Deleted Images:", "Total reclaimed space:"),
    };
    let mut out = Output::new();
    if !removed.is_empty() {
        writeln!(out, "{heading}")?;
        removed.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        writeln!(out)?;
    }
    writeln!(out, "{total} {}", units::size(bytes))?;
    out.finish()
}
