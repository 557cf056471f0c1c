//! `plyfs diff`: what an upper changes of its image.

mod changes;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::attributes::{kind_word, mode};
use super::context::Context;
use super::inside::Images;
use super::output::{self, Column, Format, Listing, printable};
use super::umount::told;
use crate::mount::{self, Kept, Uppers};
use changes::{Change, Changed};

/// Show what was written to an image
///
/// One line each: A for what was added, C for what was changed, D for what was deleted. A directory is changed when
/// something in it is. What is written while it is looked at may be missed.
#[derive(clap::Args)]
pub struct Arguments {
    /// As `plyfs uppers` lists it, or where it is mounted
    upper: String,
    /// `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let upper = find(context, &arguments.upper)?;
    let mut images = Images::new(context, None);
    let tree = images.get(&upper.base.wanted)?.tree();
    let changed = changes::changes(tree, &upper.paths().upper, upper.namespace())?;
    match &arguments.format {
        None => changed.iter().try_for_each(|one| {
            let letter = one.change.letter();
            Ok(output::line(&format!("{letter} /{}", printable(&one.path)))?)
        }),
        Some(format) => {
            let rows = changed.iter().map(row).collect();
            Listing { columns: HEADINGS, headings: HEADINGS, rows }.print(&Format::parse(format)?)
        }
    }
}

/// By its name, or as the upper of the mount that is there.
fn find(context: &Context, wanted: &str) -> anyhow::Result<Kept> {
    let uppers = Uppers::of_store(context.root());
    if let Ok(place) = Path::new(wanted).canonicalize() {
        let mounts = mount::list(&context.records()).map_err(told)?;
        let at = mounts.into_iter().rfind(|mount| mount.record.target == place);
        if let Some(name) = at.and_then(|mount| mount.record.upper) {
            return uppers.get(&name).map_err(told);
        }
    }
    uppers.get(wanted).map_err(told)
}

const HEADINGS: &[Column] =
    &[("Change", "CHANGE"), ("Type", "TYPE"), ("Mode", "MODE"), ("Size", "SIZE"), ("Path", "PATH")];

fn row(changed: &Changed) -> Map<String, Value> {
    let fields = json!({
        "Change": changed.change.letter(),
        "Type": kind_word(changed.kind),
        "Mode": mode(changed.kind, changed.permissions),
        "Size": changed.size,
        "Path": format!("/{}", printable(&changed.path)),
    });
    match fields {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

impl Change {
    fn letter(self) -> &'static str {
        match self {
            Self::Added => "A",
            Self::Changed => "C",
            Self::Deleted => "D",
        }
    }
}
