//! `--filter` of `images`, as docker has it: of one key any has to hold, of different keys all.

use jiff::Timestamp;

use super::facts;
use super::pattern;
use super::time::moment;
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
    labels: Vec<(String, Option<String>)>,
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
            let Some((key, value)) = filter.split_once('=') else {
                anyhow::bail!("filter {filter:?} is not KEY=VALUE");
            };
            parsed.add(key.trim(), value.trim(), stored)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, key: &str, value: &str, stored: &Stored) -> anyhow::Result<()> {
        match key {
            "dangling" => self.dangling = Some(boolean(value)?),
            "label" => self.labels.push(match value.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (value.to_owned(), None),
            }),
            "reference" => self.references.push(value.to_owned()),
            "before" => self.before = Some(made(stored, value)?),
            "since" => self.since = Some(made(stored, value)?),
            "until" => match moment(value) {
                Some(at) => self.before = Some(self.before.map_or(at, |before| before.min(at))),
                None => anyhow::bail!("filter until: {value:?} is no time"),
            },
            _ => anyhow::bail!(
                "filter {key:?} is not known: there are dangling label reference before since until"
            ),
        }
        Ok(())
    }

    pub fn keep(&self, shown: &Shown<'_>) -> bool {
        let created = facts::created(shown.image);
        let config = shown.image.config.value().config.as_ref();
        let has = |(key, value): &(String, Option<String>)| {
            let found = config.and_then(|config| config.labels.get(key));
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        self.dangling.is_none_or(|dangling| dangling == shown.names.is_empty())
            && self.labels.iter().all(has)
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

/// `alpine` alone means all its tags; a whole name is taken in docker's short form.
fn with_all_tags(text: &str) -> String {
    let named = text.parse::<Reference>();
    match named {
        Ok(reference) if !text.contains(['*', '?', '[']) => {
            let has_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
            if has_tag { reference.familiar() } else { reference.familiar_name() }
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
