//! `plyfs images`: what is in the store.

use std::io::Write;

use serde_json::{Map, Value};

use crate::cli::context::Context;
use crate::cli::facts;
use crate::cli::image::filter::{Filters, Shown};
use crate::cli::output::{Column, Format, Listing, Output, write_table};
use crate::cli::time::Created;
use crate::cli::units;
use crate::image::{Entry, Image, Selection, Stored, select};
use crate::oci::Reference;
use crate::store::Store;

/// List the images of the store
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these: a name, or a pattern of names
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
    /// For those who are used to it: there are no intermediate images, so all are listed always
    #[arg(short, long)]
    all: bool,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
    /// dangling=BOOL, label=KEY[=VALUE], reference=PATTERN, before=IMAGE, since=IMAGE or until=TIME
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The manifests' digests too
    #[arg(long)]
    digests: bool,
    /// Ids at their full length
    #[arg(long)]
    no_trunc: bool,
    /// The platforms of each image, one below the other
    #[arg(long, conflicts_with_all = ["quiet", "format", "digests", "no_trunc"])]
    tree: bool,
}

const HEADINGS: &[Column] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let store = context.store()?;
    let stored = Stored::new(&store);
    let mut shown = images(&stored)?;
    let filters = Filters::parse(&arguments.filters, arguments.reference.as_deref(), &stored)?;
    shown.retain(|image| filters.keep(&Shown { names: &image.entry.names, image: &image.image }));
    // The newest first; of the same age, as they came.
    shown.sort_by_key(|image| std::cmp::Reverse(facts::created(&image.image)));
    if arguments.tree {
        return print_tree(&store, &shown);
    }
    let rows: Vec<_> = shown.iter().flat_map(|image| image.rows(&store, arguments, &filters)).collect();
    if arguments.quiet && arguments.format.is_none() {
        let format = Format::parse("{{.ID}}")?;
        return Listing { columns: &[], headings: HEADINGS, rows }.print(&format);
    }
    let columns: Vec<Column> = columns(arguments.digests);
    Listing { columns: &columns, headings: HEADINGS, rows }.print(&Format::of(arguments.format.as_deref())?)
}

fn columns(digests: bool) -> Vec<Column> {
    let shown: &[&str] = if digests {
        &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    } else {
        &["Repository", "Tag", "ID", "CreatedSince", "Size"]
    };
    HEADINGS.iter().filter(|(field, _)| shown.contains(field)).copied().collect()
}

struct Listed {
    entry: Entry,
    image: Image,
}

/// Every image that can be read; of each that can't, the log says why.
fn images(stored: &Stored) -> anyhow::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for entry in stored.entries()? {
        match select(stored, std::slice::from_ref(&entry.descriptor), None) {
            Ok(Selection { image, .. }) => listed.push(Listed { entry, image }),
            Err(error) if error.is_absence() => log::info!("{}: {error}", entry.descriptor.digest),
            Err(error) => log::warn!("{}: {error}", entry.descriptor.digest),
        }
    }
    Ok(listed)
}

impl Listed {
    /// One for each name, one if there is none.
    fn rows(&self, store: &Store, arguments: &Arguments, filters: &Filters) -> Vec<Map<String, Value>> {
        let size = units::size(facts::size(store, &self.image));
        let id = self.image.id();
        let id = if arguments.no_trunc { id.to_string() } else { id.short() };
        let created = facts::created(&self.image);
        let names: Vec<Option<&Reference>> = match self.entry.names.as_slice() {
            [] => vec![None],
            names => names.iter().filter(|name| filters.keep_name(name)).map(Some).collect(),
        };
        names.into_iter().map(|name| self.row(name, &id, &size, created)).collect()
    }

    fn row(&self, name: Option<&Reference>, id: &str, size: &str, created: Created) -> Map<String, Value> {
        let not_known = || Value::from("N/A");
        let repository = name.map_or_else(|| facts::NONE.to_owned(), Reference::familiar_name);
        let digest = self.entry.descriptor.digest.to_string();
        Map::from_iter([
            ("Containers".to_owned(), not_known()),
            ("CreatedAt".to_owned(), created.here().into()),
            ("CreatedSince".to_owned(), created.since().into()),
            ("Digest".to_owned(), digest.into()),
            ("ID".to_owned(), id.into()),
            ("Repository".to_owned(), repository.into()),
            ("SharedSize".to_owned(), not_known()),
            ("Size".to_owned(), size.into()),
            ("Tag".to_owned(), name.and_then(Reference::tag).unwrap_or(facts::NONE).into()),
            ("UniqueSize".to_owned(), not_known()),
            ("VirtualSize".to_owned(), size.into()),
        ])
    }

    /// The image's own line, and one for each platform that is here.
    fn branch(&self, store: &Store) -> Vec<Vec<String>> {
        let names: Vec<String> = self.entry.names.iter().map(Reference::familiar).collect();
        let name = if names.is_empty() { facts::NONE.to_owned() } else { names.join(", ") };
        let platforms = Stored::new(store).platforms(&self.entry);
        let total = platforms.iter().map(|image| facts::size(store, image)).sum();
        let packed =
            |image: &Image| image.manifest.value().layers.iter().map(|layer| layer.size).sum::<u64>();
        let content = platforms.iter().map(packed).sum();
        let mut lines = vec![branch_line(name, &self.image, total, content)];
        let last = platforms.len().saturating_sub(1);
        for (at, image) in platforms.iter().enumerate() {
            let arm = if at == last { "└─" } else { "├─" };
            let platform =
                image.platform().map_or_else(|| "unknown".to_owned(), |platform| platform.to_string());
            lines.push(branch_line(
                format!("{arm} {platform}"),
                image,
                facts::size(store, image),
                packed(image),
            ));
        }
        lines
    }
}

fn branch_line(name: String, image: &Image, total: u64, content: u64) -> Vec<String> {
    vec![name, image.id().short(), units::size(total), units::size(content)]
}

fn print_tree(store: &Store, shown: &[Listed]) -> anyhow::Result<()> {
    let heading = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE"].map(str::to_owned).to_vec();
    let mut rows = vec![heading];
    rows.extend(shown.iter().flat_map(|image| image.branch(store)));
    let mut out = Output::new();
    write_table(rows, &mut out)?;
    out.flush()?;
    Ok(out.finish()?)
}
