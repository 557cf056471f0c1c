//! `plyfs verify`: whether what is in the store is what it should be.

use std::io::Write;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Told, Usage};
use crate::cli::output::{Format, Output};
use crate::cli::progress;
use crate::cli::units;
use crate::image::verify::{Extent, Fault, Outcome, Verification, repair};
use crate::image::{self};
use crate::oci::Digest;

/// Check everything in the store
///
/// Reads all blobs, indexes, merged trees and cached files, and names what is not what it should be, one a line. Exits
/// with 1 if something is wrong and was not set right.
#[derive(clap::Args)]
pub struct Arguments {
    /// Set right what can be: make again what was derived, set corrupt blobs aside, take back those that are whole
    #[arg(long)]
    repair: bool,
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
    let outcomes: Vec<Option<Outcome>> = match arguments.repair {
        true => repair(&store, &faults)?.into_iter().map(Some).collect(),
        false => vec![None; faults.len()],
    };
    let told: Vec<(&Fault, Option<&Outcome>)> =
        faults.iter().zip(outcomes.iter().map(Option::as_ref)).collect();
    match format {
        Some(format) => print(&told, &format)?,
        None => tell(&told, &verification.extent, arguments.quiet)?,
    }
    let is_open = |(_, outcome): &(&Fault, Option<&Outcome>)| !matches!(outcome, Some(Outcome::Mended(_)));
    if told.iter().any(is_open) { Err(Told::FAILED.into()) } else { Ok(()) }
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

fn words(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Mended(words) | Outcome::Open(words) => words,
    }
}

fn tell(told: &[(&Fault, Option<&Outcome>)], extent: &Extent, quiet: bool) -> anyhow::Result<()> {
    let mut out = Output::new();
    for (fault, outcome) in told {
        let became = outcome.map_or_else(String::new, |outcome| format!("; {}", words(outcome)));
        writeln!(out, "{}: {}{became}", fault.object, fault.problem)?;
    }
    if !quiet {
        let Extent { blobs, derived, cached, bytes } = extent;
        let size = units::size(*bytes);
        let mended = told.iter().filter(|(_, outcome)| matches!(outcome, Some(Outcome::Mended(_)))).count();
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

fn print(told: &[(&Fault, Option<&Outcome>)], format: &Format) -> anyhow::Result<()> {
    let mut out = Output::new();
    for (fault, outcome) in told {
        let row = json!({
            "Object": fault.object.to_string(),
            "Problem": fault.problem.to_string(),
            "Mended": matches!(outcome, Some(Outcome::Mended(_))),
            "Outcome": outcome.map_or("", words),
        });
        match format {
            Format::Template(template) => writeln!(out, "{}", template.render(&row)?)?,
            _ => writeln!(out, "{row}")?,
        }
    }
    Ok(out.finish()?)
}
