//! `plyfs history`: how an image was made, newest step first.

use serde_json::{Map, Value};

use crate::cli::context::Context;
use crate::cli::facts;
use crate::cli::open::open;
use crate::cli::output::{Column, Format, Listing, printable};
use crate::cli::platform::Choice;
use crate::cli::time::Created;
use crate::cli::units;
use crate::image::Image;
use crate::oci::History;

/// Show how an image was made
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Sizes and times for people; `--human=false` for bytes and dates
    #[arg(short = 'H', long, default_value_t = true, default_missing_value = "true", num_args = 0..=1)]
    #[arg(require_equals = true, action = clap::ArgAction::Set)]
    human: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    /// Ids and commands at their full length
    #[arg(long)]
    no_trunc: bool,
    /// `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    platform: Choice,
}

const HEADINGS: &[Column] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

const MISSING: &str = "<missing>";

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let opened = open(context, &arguments.image, arguments.platform.platform()?.as_ref())?;
    let sizes = facts::layer_sizes(&opened.store, &opened.image.layers()?);
    let rows = rows(&opened.image, sizes, arguments);
    if arguments.quiet && arguments.format.is_none() {
        return Listing { columns: &[], headings: HEADINGS, rows }.print(&Format::parse("{{.ID}}")?);
    }
    let hidden = if arguments.human { "CreatedAt" } else { "CreatedSince" };
    let columns: Vec<Column> = HEADINGS.iter().filter(|(field, _)| *field != hidden).copied().collect();
    Listing { columns: &columns, headings: HEADINGS, rows }.print(&Format::of(arguments.format.as_deref())?)
}

/// A step, and the bytes that its layer has.
struct Step {
    history: History,
    size: u64,
}

/// Each step with its layer; layers that no step speaks of come on top, by the image's time.
fn steps(image: &Image, sizes: Vec<u64>) -> Vec<Step> {
    let config = image.config.value();
    let mut sizes = sizes.into_iter();
    let of_step = |history: &History| {
        let size = if history.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
        Step { history: history.clone(), size }
    };
    let mut steps: Vec<Step> = config.history.iter().map(of_step).collect();
    let untold = || History { created: config.created.clone(), ..History::default() };
    steps.extend(sizes.map(|size| Step { history: untold(), size }));
    steps
}

fn rows(image: &Image, sizes: Vec<u64>, arguments: &Arguments) -> Vec<Map<String, Value>> {
    let mut rows: Vec<_> = steps(image, sizes).iter().map(|step| row(step, arguments)).collect();
    rows.reverse();
    if let Some(first) = rows.first_mut() {
        let id = image.id();
        first["ID"] = if arguments.no_trunc { id.to_string() } else { id.short() }.into();
    }
    rows
}

fn row(step: &Step, arguments: &Arguments) -> Map<String, Value> {
    let created = Created::parse(step.history.created.as_deref());
    let by = step.history.created_by.as_deref().unwrap_or_default();
    let by = printable(by.replace(['\t', '\n'], " ").as_bytes());
    let by = if arguments.no_trunc { by } else { units::ellipsis(&by, 45) };
    let size = if arguments.human { units::size(step.size) } else { step.size.to_string() };
    let comment = printable(step.history.comment.as_deref().unwrap_or_default().as_bytes());
    Map::from_iter([
        ("Comment".to_owned(), comment.into()),
        ("CreatedAt".to_owned(), created.rfc3339().into()),
        ("CreatedBy".to_owned(), by.into()),
        ("CreatedSince".to_owned(), created.since().into()),
        ("ID".to_owned(), MISSING.into()),
        ("Size".to_owned(), size.into()),
    ])
}
