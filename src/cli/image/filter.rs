//! `--filter` of `images` and of `prune`, as docker has it: of one key any has to hold, of different keys all.

use jiff::Timestamp;

use crate::cli::facts;
use crate::cli::image::pattern;
use crate::cli::time::moment;
use crate::image::{Image, Stored};
use crate::oci::Reference;

/// What is filtered.
pub struct Shown<'a> {
    pub names: &'a [Reference],
    pub image: &'a Image,
}

#[derive(Default)]
pub struct Filters {
    dangling: Option<bool>,
    labels: Vec<Label>,
    references: Vec<String>,
    /// Made before this.
    before: Option<Timestamp>,
    /// Made after this.
    since: Option<Timestamp>,
}

impl Filters {
    /// `reference` is the pattern that stands alone on the command line.
    pub fn parse(filters: &[String], reference: Option<&str>, stored: &Stored) -> anyhow::Result<Self> {
        let mut parsed =
            Self { references: reference.map(with_all_tags).into_iter().collect(), ..Self::default() };
        for filter in filters {
            let (key, value) = pair(filter)?;
            parsed.add(key, value, stored)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, key: &str, value: &str, stored: &Stored) -> anyhow::Result<()> {
        match key {
            "dangling" => self.dangling = Some(boolean(value)?),
            "label" => self.labels.push(Label::parse(value)),
            "reference" => self.references.push(value.to_owned()),
            "before" => self.before = Some(made(stored, value)?),
            "since" => self.since = Some(made(stored, value)?),
            "until" => self.before = earlier(self.before, value)?,
            _ => anyhow::bail!(
                "filter {key:?} is not known: there are dangling label reference before since until"
            ),
        }
        Ok(())
    }

    pub fn keep(&self, shown: &Shown<'_>) -> bool {
        let created = facts::created(shown.image);
        self.dangling.is_none_or(|dangling| dangling == shown.names.is_empty())
            && self.labels.iter().all(|label| label.is_on(shown.image))
            && self.before.is_none_or(|before| created.is_before(before))
            && self.since.is_none_or(|since| created.is_after(since))
            && (self.references.is_empty() || shown.names.iter().any(|name| self.keep_name(name)))
    }

    /// Whether a name is asked for.
    pub fn keep_name(&self, name: &Reference) -> bool {
        let matches = |pattern: &String| {
            pattern::matches(pattern, &name.familiar()) || pattern::matches(pattern, &name.familiar_name())
        };
        self.references.is_empty() || self.references.iter().any(matches)
    }
}

/// Which images a prune is about.
#[derive(Default)]
pub struct PruneFilters {
    until: Option<Timestamp>,
    labels: Vec<Label>,
    other_labels: Vec<Label>,
}

impl PruneFilters {
    pub fn parse(filters: &[String]) -> anyhow::Result<Self> {
        let mut parsed = Self::default();
        for filter in filters {
            match pair(filter)? {
                ("until", value) => parsed.until = earlier(parsed.until, value)?,
                ("label", value) => parsed.labels.push(Label::parse(value)),
                ("label!", value) => parsed.other_labels.push(Label::parse(value)),
                (key, _) => anyhow::bail!("filter {key:?} is not known: there are until label label!"),
            }
        }
        Ok(parsed)
    }

    pub fn is_empty(&self) -> bool {
        self.until.is_none() && self.labels.is_empty() && self.other_labels.is_empty()
    }

    pub fn keep(&self, image: &Image) -> bool {
        self.until.is_none_or(|until| facts::created(image).is_before(until))
            && self.labels.iter().all(|label| label.is_on(image))
            && !self.other_labels.iter().any(|label| label.is_on(image))
    }
}

/// `KEY`, or `KEY=VALUE`.
struct Label {
    key: String,
    value: Option<String>,
}

impl Label {
    fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((key, value)) => Self { key: key.to_owned(), value: Some(value.to_owned()) },
            None => Self { key: text.to_owned(), value: None },
        }
    }

    fn is_on(&self, image: &Image) -> bool {
        let config = image.config.value().config.as_ref();
        let found = config.and_then(|config| config.labels.get(&self.key));
        found.is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found))
    }
}

fn pair(filter: &str) -> anyhow::Result<(&str, &str)> {
    match filter.split_once('=') {
        Some((key, value)) => Ok((key.trim(), value.trim())),
        None => anyhow::bail!("filter {filter:?} is not KEY=VALUE"),
    }
}

/// The time that `until` names, or the one that was named before, if it is earlier.
fn earlier(before: Option<Timestamp>, until: &str) -> anyhow::Result<Option<Timestamp>> {
    let at = moment(until).ok_or_else(|| anyhow::anyhow!("filter until: {until:?} is no time"))?;
    Ok(Some(before.map_or(at, |before| before.min(at))))
}

/// Whether a name says more than a repository: a tag, or a digest.
pub fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// `alpine` alone means all its tags; a whole name is taken in docker's short form.
fn with_all_tags(text: &str) -> String {
    let named = text.parse::<Reference>();
    match named {
        Ok(reference) if !text.contains(['*', '?', '[']) => {
            if has_tag(text) {
                reference.familiar()
            } else {
                reference.familiar_name()
            }
        }
        _ => text.to_owned(),
    }
}

fn boolean(value: &str) -> anyhow::Result<bool> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => anyhow::bail!("filter dangling: {value:?} is neither true nor false"),
    }
}

fn made(stored: &Stored, wanted: &str) -> anyhow::Result<Timestamp> {
    let image = stored.find(wanted, None)?.image;
    facts::created(&image).moment().ok_or_else(|| anyhow::anyhow!("{wanted} does not say when it was made"))
}
