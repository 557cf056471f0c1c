//! `plyfs system df`: what takes up space, and what of that could come free.

use serde_json::{Map, Value};

use super::details;
use super::survey::{Survey, bytes};
use crate::cli::context::Context;
use crate::cli::mounting::umount::told;
use crate::cli::output::{Column, Format, Listing};
use crate::cli::units;
use crate::store::Kept;

/// Show what takes up space on disk
///
/// An image is active while it is mounted or has an upper. What could be reclaimed is what `plyfs system prune --all`
/// and, of uppers, `plyfs uppers rm` would remove.
#[derive(clap::Args)]
pub struct Arguments {
    /// Each image and each upper, and compressed, indexed and cached bytes apart
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let format = Format::of(arguments.format.as_deref())?;
    let survey = Survey::of(context)?;
    if arguments.verbose > 0 {
        return details::print(&survey, &format);
    }
    let rows = [images(&survey), uppers(&survey)?, indexes(&survey), cache(&survey), aside(&survey)];
    let rows = rows.iter().map(Row::fields).collect();
    Listing { columns: HEADINGS, headings: HEADINGS, rows }.print(&format)
}

const HEADINGS: &[Column] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

struct Row {
    kind: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

impl Row {
    fn fields(&self) -> Map<String, Value> {
        let reclaimable = match (self.reclaimable * 100).checked_div(self.size) {
            Some(percent) => format!("{} ({percent}%)", units::size(self.reclaimable)),
            None => units::size(self.reclaimable),
        };
        let fields = [
            ("Active", self.active.to_string()),
            ("Reclaimable", reclaimable),
            ("Size", units::size(self.size)),
            ("TotalCount", self.total.to_string()),
            ("Type", self.kind.to_owned()),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
    }
}

fn images(survey: &Survey) -> Row {
    let Survey { store, entries, users, blobs, live, .. } = survey;
    Row {
        kind: "Images",
        total: entries.len(),
        active: entries.iter().filter(|entry| users.of(store, entry) > 0).count(),
        size: bytes(blobs),
        reclaimable: blobs.iter().filter(|blob| !live.contains(&blob.name)).map(|blob| blob.size).sum(),
    }
}

fn uppers(survey: &Survey) -> anyhow::Result<Row> {
    let mut row = Row { kind: "Uppers", total: survey.uppers.len(), active: 0, size: 0, reclaimable: 0 };
    for upper in &survey.uppers {
        let size = upper.size()?;
        row.size += size;
        match upper.is_in_use().map_err(told)? {
            true => row.active += 1,
            false => row.reclaimable += size,
        }
    }
    Ok(row)
}

fn indexes(survey: &Survey) -> Row {
    let all: Vec<_> = survey.derived.iter().flat_map(|(_, files)| files).collect();
    let (live, others): (Vec<_>, Vec<_>) = all.iter().partition(|file| survey.live.contains(&file.name));
    let sum = |files: &[&Kept]| files.iter().map(|file| file.size).sum::<u64>();
    Row { kind: "Indexes", total: all.len(), active: live.len(), size: sum(&all), reclaimable: sum(&others) }
}

/// It only saves time, so all of it can go.
fn cache(survey: &Survey) -> Row {
    let size = bytes(&survey.cached);
    Row { kind: "File Cache", total: survey.cached.len(), active: 0, size, reclaimable: size }
}

fn aside(survey: &Survey) -> Row {
    let size = bytes(&survey.aside);
    Row { kind: "Set Aside", total: survey.aside.len(), active: 0, size, reclaimable: size }
}
