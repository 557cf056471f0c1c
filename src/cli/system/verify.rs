//! `plyfs verify`: whether what is in the store is what it should be.

use std::io::Write;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Told as AlreadyTold, Usage};
use crate::cli::output::{Format, Output};
use crate::cli::progress::{self, PULLING, Progress};
use crate::cli::registry::Connection;
use crate::cli::units;
use crate::image::repair::{Outcome, repair};
use crate::image::verify::{Extent, Fault, Verification};
use crate::image::{self, Source};
use crate::oci::{Digest, Reference};
use crate::store::Store;

/// Check everything in the store
///
/// Reads all blobs, indexes, merged trees and cached files, and names what is not what it should be, one a line. Exits
/// with 1 if something is wrong and was not set right. What an image lacks is fetched from where its name says.
#[derive(clap::Args)]
pub struct Arguments {
    /// Set right what can be: make again what was derived, set corrupt blobs aside, take back those that are whole, fetch what images lack
    #[arg(long)]
    repair: bool,
    /// Ask no registry for what images lack
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    connection: Connection,
    /// Say nothing of what is fine
    #[arg(short, long)]
    quiet: bool,
    /// `json`, one object a line, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let format = arguments.format.as_deref().map(Format::parse).transpose()?;
    if matches!(format, Some(Format::Table | Format::TableOf(_))) {
        return Err(Usage("there is no table of what is wrong".to_owned()).into());
    }
    let store = context.store()?;
    // What is being read stays.
    let lease = store.lease()?;
    let verification = Verification::of(&store)?;
    let bar = Bar(progress::checking(verification.extent.bytes, arguments.quiet));
    let faults = verification.run(&bar)?;
    bar.0.finish_and_clear();
    drop(lease);
    let told: Vec<Told> = match arguments.repair {
        true => {
            let repaired = arguments.repair(&store, faults)?.into_iter();
            repaired.map(|(fault, outcome)| (fault, Some(outcome))).collect()
        }
        false => faults.into_iter().map(|fault| (fault, None)).collect(),
    };
    match format {
        Some(format) => print(&told, &format)?,
        None => tell(&told, &verification.extent, arguments.quiet)?,
    }
    match told.iter().all(is_mended) {
        true => Ok(()),
        false => Err(AlreadyTold::FAILED.into()),
    }
}

/// What is wrong, and what became of it where it was to be set right.
type Told = (Fault, Option<Outcome>);

impl Arguments {
    fn repair(&self, store: &Store, faults: Vec<Fault>) -> anyhow::Result<Vec<(Fault, Outcome)>> {
        let bars = match self.quiet {
            true => Progress::Quiet,
            false => Progress::passing(PULLING),
        };
        if self.offline {
            return Ok(repair(store, faults, None, &bars)?);
        }
        let registries = self.connection.registries(None)?;
        let origin = |name: &Reference| match registries.find(name) {
            Ok((repository, _)) => Ok(Box::new(repository) as Box<dyn Source + Send>),
            Err(error) => Err(image::Error::source(error)),
        };
        Ok(repair(store, faults, Some(&origin), &bars)?)
    }
}

fn is_mended((_, outcome): &Told) -> bool {
    matches!(outcome, Some(Outcome::Mended(_) | Outcome::Fetched(_)))
}

/// One bar for everything.
struct Bar(indicatif::ProgressBar);

impl image::Progress for Bar {
    fn begin(&self, _: &Digest, _: u64) {}

    fn advance(&self, _: &Digest, bytes: u64) {
        self.0.inc(bytes);
    }

    fn end(&self, _: &Digest) {}
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Mended(how) => (*how).to_owned(),
        Outcome::Fetched(name) => format!("fetched from {}", name.familiar()),
        Outcome::Open(why) => why.clone(),
    }
}

fn tell(told: &[Told], extent: &Extent, quiet: bool) -> anyhow::Result<()> {
    let mut out = Output::new();
    for (fault, outcome) in told {
        let became = outcome.as_ref().map_or_else(String::new, |outcome| format!("; {}", words(outcome)));
        writeln!(out, "{}: {}{became}", fault.object, fault.problem)?;
    }
    if !quiet {
        let Extent { blobs, derived, cached, bytes } = extent;
        let size = units::size(*bytes);
        let mended = told.iter().filter(|told| is_mended(told)).count();
        let found = match (told.len(), mended) {
            (0, _) => "all is well".to_owned(),
            (wrong, 0) => format!("{wrong} wrong"),
            (wrong, mended) => format!("{wrong} wrong, {mended} set right"),
        };
        writeln!(
            out,
            "Checked {blobs} blobs, {derived} indexes and trees, {cached} cached files, {size}: {found}"
        )?;
    }
    Ok(out.finish()?)
}

fn print(told: &[Told], format: &Format) -> anyhow::Result<()> {
    let mut out = Output::new();
    for told in told {
        let (fault, outcome) = told;
        let row = json!({
            "Object": fault.object.to_string(),
            "Problem": fault.problem.to_string(),
            "Mended": is_mended(told),
            "Outcome": outcome.as_ref().map_or_else(String::new, words),
        });
        match format {
            Format::Template(template) => writeln!(out, "{}", template.render(&row)?)?,
            _ => writeln!(out, "{row}")?,
        }
    }
    Ok(out.finish()?)
}
