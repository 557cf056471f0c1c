//! `plyfs ps`: which containers there are.

use serde_json::{Map, Value, json};

use crate::cli::container::run::explained;
use crate::cli::context::Context;
use crate::cli::output::{self, Column, Format, Listing};
use crate::cli::units;
use crate::container::{Container, Containers, Found, State};
use crate::oci::Reference;

/// List containers
///
/// Those that run, the newest first.
#[derive(clap::Args)]
pub struct Arguments {
    /// Those that have ended, too
    #[arg(short, long)]
    all: bool,
    /// Only their ids
    #[arg(short, long)]
    quiet: bool,
    /// Those of which this holds: id, name, label, exited, status, ancestor; implies --all for exited and status
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
}

/// Of one key any has to hold, of different keys all.
#[derive(Default)]
struct Filters {
    ids: Vec<String>,
    names: Vec<String>,
    labels: Vec<String>,
    exited: Vec<u8>,
    statuses: Vec<String>,
    ancestors: Vec<String>,
}

const STATUSES: [&str; 3] = ["created", "running", "exited"];

impl Filters {
    fn parse(filters: &[String]) -> anyhow::Result<Self> {
        let mut parsed = Self::default();
        for filter in filters {
            let Some((key, value)) = filter.split_once('=') else {
                anyhow::bail!("filter {filter:?} is not KEY=VALUE");
            };
            parsed.add(key.trim(), value.trim().to_owned())?;
        }
        Ok(parsed)
    }

    fn add(&mut self, key: &str, value: String) -> anyhow::Result<()> {
        match key {
            "id" => self.ids.push(value),
            "name" => self.names.push(value),
            "label" => self.labels.push(value),
            "ancestor" => self.ancestors.push(value),
            "exited" => match value.parse() {
                Ok(code) => self.exited.push(code),
                Err(_) => anyhow::bail!("filter exited: {value:?} is no exit status"),
            },
            "status" if STATUSES.contains(&value.as_str()) => self.statuses.push(value),
            "status" => anyhow::bail!("filter status: {value:?} is none of {}", STATUSES.join(" ")),
            _ => anyhow::bail!("filter {key:?} is not known: there are id name label exited status ancestor"),
        }
        Ok(())
    }

    /// Whether it speaks of containers that have ended.
    fn names_ended(&self) -> bool {
        !self.exited.is_empty() || !self.statuses.is_empty()
    }

    fn keep(&self, found: &Found) -> bool {
        let container = &found.container;
        let any =
            |list: &[String], holds: &dyn Fn(&String) -> bool| list.is_empty() || list.iter().any(holds);
        any(&self.ids, &|id| container.id.starts_with(id.as_str()))
            && any(&self.names, &|name| container.name.contains(name.as_str()))
            && any(&self.labels, &|label| has_label(container, label))
            && any(&self.statuses, &|status| word(&found.state) == status)
            && any(&self.ancestors, &|image| is_of(container, image))
            && (self.exited.is_empty()
                || matches!(found.state, State::Exited { code, .. } if self.exited.contains(&code)))
    }
}

fn has_label(container: &Container, label: &str) -> bool {
    let (key, value) = label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value)));
    container.labels.iter().any(|(name, found)| name == key && value.is_none_or(|value| value == found))
}

/// By a name that is the whole of the image's, in its long form or its short one, or its end behind a slash; with or
/// without the tag.
fn is_of(container: &Container, image: &str) -> bool {
    let full = container.image.as_str();
    let untagged = full.rsplit_once(':').map_or(full, |(name, _)| name);
    let short = image.parse::<Reference>().map_or_else(|_| image.to_owned(), |image| image.familiar());
    [full, untagged].iter().any(|name| *name == short || name.ends_with(&format!("/{image}")))
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let filters = Filters::parse(&arguments.filter)?;
    let all = arguments.all || filters.names_ended();
    let mut found = Containers::of_store(context.root()).list().map_err(explained)?;
    found.retain(|found| (all || matches!(found.state, State::Running(_))) && filters.keep(found));
    if arguments.quiet {
        return found.iter().try_for_each(|found| {
            let id = if arguments.no_trunc { &found.container.id } else { found.container.short_id() };
            Ok(output::line(id)?)
        });
    }
    let rows = found.iter().map(|found| row(found, arguments.no_trunc)).collect();
    Listing { columns: COLUMNS, headings: HEADINGS, rows }.print(&Format::of(arguments.format.as_deref())?)
}

const COLUMNS: &[Column] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAgo", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];

const HEADINGS: &[Column] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedAgo", "CREATED"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Pid", "PID"),
    ("Rootfs", "ROOTFS"),
];

const WIDTH_OF_COMMAND: usize = 20;

fn row(found: &Found, whole: bool) -> Map<String, Value> {
    let container = &found.container;
    let command = container.args.join(" ");
    let command = if whole { command } else { units::ellipsis(&command, WIDTH_OF_COMMAND) };
    let created = i64::try_from(container.created).unwrap_or(i64::MAX);
    let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let fields = json!({
        "ID": if whole { &container.id } else { container.short_id() },
        "Image": container.image,
        "Command": format!("\"{}\"", output::printable(command.as_bytes())),
        "CreatedAt": jiff::Timestamp::from_second(created).unwrap_or_default().to_string(),
        "CreatedAgo": format!("{} ago", ago(container.created)),
        "RunningFor": format!("{} ago", ago(container.created)),
        "Status": status(&found.state),
        "State": word(&found.state),
        "Names": container.name,
        "Labels": labels.join(","),
        "Pid": found.running().map_or(0, |running| running.process),
        "Rootfs": found.directory.join("rootfs").display().to_string(),
    });
    match fields {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

fn ago(since: u64) -> String {
    units::duration(i64::try_from(Container::now().saturating_sub(since)).unwrap_or(i64::MAX))
}

pub fn word(state: &State) -> &'static str {
    match state {
        State::Created => "created",
        State::Running(_) => "running",
        State::Exited { .. } => "exited",
    }
}

fn status(state: &State) -> String {
    match state {
        State::Created => "Created".to_owned(),
        State::Running(running) => format!("Up {}", ago(running.since)),
        State::Exited { code, since } => format!("Exited ({code}) {} ago", ago(*since)),
    }
}
