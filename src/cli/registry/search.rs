//! `plyfs search`: which images a registry has for a word.

use serde_json::{Map, Value, json};

use crate::cli::error::Usage;
use crate::cli::output::{Column, Format, Listing, printable};
use crate::cli::registry::Connection;
use crate::cli::registry::login::host;
use crate::cli::units;
use crate::registry::{HUB, Hit};

/// Search a registry for images
///
/// On the Hub, unless the word names another registry, as `REGISTRY/WORD`. A registry without a search is asked for all
/// its repositories, and those are listed that have the word in their names.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(value_name = "[REGISTRY/]WORD")]
    term: String,
    /// `stars=N`, `is-official=BOOL` or `is-automated=BOOL`; can be given several times
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// The most that are listed
    #[arg(long, value_name = "COUNT", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
    /// Descriptions at their full length
    #[arg(long)]
    no_trunc: bool,
    /// `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

const HEADINGS: &[Column] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];
const DESCRIPTION: usize = 45;

#[derive(Clone, Copy)]
enum Filter {
    Stars(u64),
    Official(bool),
    Automated(bool),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, Usage> {
        let invalid = || Usage(format!("invalid filter {text:?}"));
        let (key, value) = text.split_once('=').ok_or_else(invalid)?;
        let yes = || value.parse::<bool>().map_err(|_| invalid());
        match key {
            "stars" => value.parse().map(Self::Stars).map_err(|_| invalid()),
            "is-official" => yes().map(Self::Official),
            "is-automated" => yes().map(Self::Automated),
            _ => Err(invalid()),
        }
    }

    fn lets_through(self, hit: &Hit) -> bool {
        match self {
            Self::Stars(least) => hit.star_count >= least,
            Self::Official(wanted) => hit.is_official == wanted,
            Self::Automated(wanted) => hit.is_automated == wanted,
        }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let filters: Vec<Filter> =
        arguments.filter.iter().map(|text| Filter::parse(text)).collect::<Result<_, _>>()?;
    let format = Format::of(arguments.format.as_deref())?;
    let (registry, word) = split(&arguments.term)?;
    let registries = arguments.connection.registries(None)?;
    let limit = usize::try_from(arguments.limit)?;
    let hits = registries.registry(&registry)?.search(word, limit).map_err(anyhow::Error::new);
    let hits = hits.map_err(|error| error.context(format!("searching {registry}")))?;
    let wanted = hits.iter().filter(|hit| filters.iter().all(|filter| filter.lets_through(hit)));
    let rows = wanted.map(|hit| row(hit, &registry, arguments.no_trunc)).collect();
    // docker gave the last column up when its Hub did.
    Listing { columns: &HEADINGS[..4], headings: HEADINGS, rows }.print(&format)
}

/// The registry, if the word begins with one, and the rest.
fn split(term: &str) -> anyhow::Result<(String, &str)> {
    match term.strip_prefix("docker://").unwrap_or(term) {
        term if crate::oci::Reference::names_registry(term) => {
            let (registry, word) = term.split_once('/').unwrap_or((term, ""));
            Ok((host(Some(registry))?, word))
        }
        term => Ok((HUB.to_owned(), term)),
    }
}

fn row(hit: &Hit, registry: &str, whole: bool) -> Map<String, Value> {
    let name = if registry == HUB { hit.name.clone() } else { format!("{registry}/{}", hit.name) };
    let description = printable(hit.description.as_deref().unwrap_or_default().as_bytes());
    let description = if whole { description } else { units::ellipsis(&description, DESCRIPTION) };
    let mark = |yes| if yes { "[OK]" } else { "" };
    let fields = json!({
        "Name": printable(name.as_bytes()),
        "Description": description,
        "StarCount": hit.star_count.to_string(),
        "IsOfficial": mark(hit.is_official),
        "IsAutomated": mark(hit.is_automated),
    });
    match fields {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}
