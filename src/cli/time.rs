//! Times as docker writes them. An image says when it was made in RFC 3339; one that says nothing, or something else,
//! has no time.

use anyhow::Context as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::units;

/// When an image or a layer was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Created(Option<Timestamp>);

impl Created {
    pub fn parse(text: Option<&str>) -> Self {
        // Go's zero time, which builders write for want of another.
        let known = |text: &&str| *text != "0001-01-01T00:00:00Z";
        Self(text.filter(known).and_then(|text| text.parse().ok()))
    }

    /// `3 weeks ago`.
    pub fn since(self) -> String {
        self.0.map_or_else(
            || "N/A".to_owned(),
            |at| {
                let seconds = Timestamp::now().as_second().saturating_sub(at.as_second());
                format!("{} ago", units::duration(seconds))
            },
        )
    }

    /// As in `images --format {{.CreatedAt}}`.
    pub fn here(self) -> String {
        self.0.map_or_else(
            || "N/A".to_owned(),
            |at| at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        )
    }

    /// To the second, here, as in `history --format {{.CreatedAt}}`.
    pub fn rfc3339(self) -> String {
        self.0.map_or_else(
            || "N/A".to_owned(),
            |at| {
                at.to_zoned(TimeZone::system())
                    .strftime("%Y-%m-%dT%H:%M:%S%:z")
                    .to_string()
                    .replace("+00:00", "Z")
            },
        )
    }

    pub fn moment(self) -> Option<Timestamp> {
        self.0
    }

    pub fn is_after(self, moment: Timestamp) -> bool {
        self.0.is_some_and(|at| at > moment)
    }

    pub fn is_before(self, moment: Timestamp) -> bool {
        self.0.is_some_and(|at| at < moment)
    }
}

/// When something that is made now is said to be made. `SOURCE_DATE_EPOCH` lets the same give the same.
pub fn made() -> anyhow::Result<String> {
    Ok(epoch()?.unwrap_or_else(Timestamp::now).to_string())
}

/// `SOURCE_DATE_EPOCH`.
pub fn epoch() -> anyhow::Result<Option<Timestamp>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let wrong = || format!("SOURCE_DATE_EPOCH {text:?}");
    let seconds = text.parse().with_context(wrong)?;
    Timestamp::from_second(seconds).map(Some).with_context(wrong)
}

/// A moment as a filter gives it: RFC 3339, a date, seconds since 1970, or how long ago (`24h`, `1h30m`).
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(there) = text.parse::<jiff::civil::DateTime>() {
        return there.to_zoned(TimeZone::system()).ok().map(|at| at.timestamp());
    }
    let ago = text.parse::<jiff::SignedDuration>().ok()?;
    Timestamp::now().checked_sub(ago).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        assert_eq!(moment("1714557600"), Some("2024-05-01T10:00:00Z".parse().unwrap()));
        assert_eq!(moment("2024-05-01T12:00:00+02:00"), Some("2024-05-01T10:00:00Z".parse().unwrap()));
        assert!(moment("2024-05-01").is_some());
        let day = Timestamp::now().as_second() - moment("24h").unwrap().as_second();
        assert!((86399..=86401).contains(&day));
        assert_eq!(moment("yesterday"), None);
    }

    #[test]
    fn what_says_no_time_has_none() {
        assert_eq!(Created::parse(None).since(), "N/A");
        assert_eq!(Created::parse(Some("0001-01-01T00:00:00Z")), Created(None));
        assert_eq!(Created::parse(Some("soon")), Created(None));
    }
}
