//! `plyfs diff`: what an upper changes of its image, or one image of another, told or as a layer's tar.

use std::io::IsTerminal;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::error::Usage;
use crate::cli::inside::attributes::{kind_word, mode};
use crate::cli::output::{self, Column, Format, Listing, Output, printable};
use crate::cli::written::{Form, Which, Written};
use crate::layer::Kind;
use crate::layer::write::Writer;
use crate::union::diff::{Change, Facts, Unnameable, What};

/// Show what was written to an image
///
/// One line each: A for what was added, C for what was changed, D for what was deleted. A directory is changed when
/// something in it is. Of two images it is told what the second shows that the first does not.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// An image; then the first is one too
    #[arg(value_name = "IMAGE", conflicts_with_all = ["base", "userxattr"])]
    image: Option<String>,
    /// `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT", conflicts_with = "tar")]
    format: Option<String>,
    /// Write it to stdout as a tar: the layer that over the image gives what was written
    #[arg(long)]
    tar: bool,
    #[command(flatten)]
    form: Form,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let written = match &arguments.image {
        Some(image) => arguments.which.against(context, image, arguments.form.opaque())?,
        None => arguments.which.open(context, arguments.form.opaque())?,
    };
    if arguments.tar {
        return tar(&written, arguments).with_context(|| arguments.which.shown());
    }
    if arguments.form.unnameable() == Unnameable::Skipped {
        return Err(Usage("--skip is for --tar".to_owned()).into());
    }
    let changed = rows(&written)?;
    match &arguments.format {
        None => changed
            .iter()
            .try_for_each(|one| Ok(output::line(&format!("{} /{}", one.letter, printable(&one.path)))?)),
        Some(format) => {
            let rows = changed.iter().map(Row::fields).collect();
            Listing { columns: HEADINGS, headings: HEADINGS, rows }.print(&Format::parse(format)?)
        }
    }
}

/// Without its end when something went wrong, so that nobody takes it for whole.
fn tar(written: &Written, arguments: &Arguments) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() {
        return Err(Usage("a tar is not for a terminal; redirect it".to_owned()).into());
    }
    let mut writer = Writer::new(Output::new());
    written.export(&mut writer, arguments.form.unnameable())?;
    Ok(writer.finish()?.finish()?)
}

struct Row {
    path: Vec<u8>,
    letter: &'static str,
    kind: Kind,
    permissions: u16,
    size: u64,
}

/// In the order of paths.
fn rows(written: &Written) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    written.diff.walk(&mut |change| {
        rows.extend(Row::of(change));
        Ok(())
    })?;
    rows.sort_by(|one, other| names(&one.path).cmp(names(&other.path)));
    Ok(rows)
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

const HEADINGS: &[Column] =
    &[("Change", "CHANGE"), ("Type", "TYPE"), ("Mode", "MODE"), ("Size", "SIZE"), ("Path", "PATH")];

impl Row {
    /// None for the root, which docker does not tell of.
    fn of(change: &Change<'_>) -> Option<Self> {
        let (letter, facts): (_, &Facts) = match change.what {
            _ if change.path.is_empty() => return None,
            What::Deleted(facts) => ("D", facts),
            What::Added(changed) => ("A", changed.facts),
            What::Changed(changed) => ("C", changed.facts),
            What::Emptied => return None,
        };
        let (kind, permissions, size) = (facts.kind, facts.permissions, facts.size);
        Some(Self { path: change.path.to_vec(), letter, kind, permissions, size })
    }

    fn fields(&self) -> Map<String, Value> {
        let fields = json!({
            "Change": self.letter,
            "Type": kind_word(self.kind),
            "Mode": mode(self.kind, self.permissions),
            "Size": self.size,
            "Path": format!("/{}", printable(&self.path)),
        });
        match fields {
            Value::Object(row) => row,
            _ => Map::new(),
        }
    }
}
