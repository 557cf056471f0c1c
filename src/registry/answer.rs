//! What a registry answered: bounded before it is read, and said in its own words where it refuses.

use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, Uri};
use ureq::{Body, Timeout};

use super::patience::{Patience, retry_after};
use super::{Error, Result};

/// How much of a refusal is read.
const SAID_LIMIT: u64 = 64 << 10;
/// And shown.
const SAID_LETTERS: usize = 300;

pub struct Answer {
    pub host: String,
    /// Where it came from, after all redirects.
    pub uri: Uri,
    pub patience: Patience,
    pub response: Response<Body>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    errors: Option<Vec<Reason>>,
    message: Option<String>,
    details: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reason {
    code: Option<String>,
    message: Option<String>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The answer, if its status is one of those.
    pub fn expect(self, statuses: &[u16], what: impl FnOnce() -> String) -> Result<Self> {
        match self.status() {
            status if statuses.contains(&status) => Ok(self),
            404 => Err(Error::NotFound { host: self.host, what: what() }),
            _ => Err(self.refused()),
        }
    }

    pub fn refused(self) -> Error {
        let (host, status) = (self.host.clone(), self.status());
        let said = self.read(SAID_LIMIT, "an error").map(|text| said(&text)).unwrap_or_default();
        Error::Refused { host, status, said }
    }

    /// The registry has too much to do: how long it asks to wait, if it says.
    pub fn busy(&self) -> Result<Option<Option<Duration>>> {
        if !matches!(self.status(), 408 | 429 | 500 | 502..=504) {
            return Ok(None);
        }
        let wait = self.header("retry-after").and_then(retry_after);
        match wait {
            Some(wait) if wait > self.patience.longest => {
                Err(Error::TooBusy { host: self.host.clone(), wait })
            }
            wait => Ok(Some(wait)),
        }
    }

    pub fn read(self, limit: u64, what: &'static str) -> Result<Vec<u8>> {
        let (host, patience) = (self.host.clone(), self.patience);
        let mut bytes = Vec::new();
        let read = self.into_reader().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| interrupted(&host, &patience, &error))?;
        match bytes.len() as u64 {
            length if length > limit => Err(Error::TooLarge { host, what, limit }),
            _ => Ok(bytes),
        }
    }

    pub fn into_reader(self) -> impl Read + Send + 'static {
        self.response.into_body().into_reader()
    }
}

/// The first error of the spec's list; of what is no such list, nothing.
fn said(text: &[u8]) -> String {
    let Ok(said) = serde_json::from_slice::<Said>(text) else { return String::new() };
    let reason = said.errors.into_iter().flatten().next();
    let text = match reason {
        Some(Reason { message: Some(message), .. }) if !message.is_empty() => message,
        Some(Reason { code, .. }) => code.unwrap_or_default(),
        None => said.details.or(said.message).unwrap_or_default(),
    };
    text.chars().filter(|letter| !letter.is_control()).take(SAID_LETTERS).collect()
}

/// A fault before an answer came.
pub fn failed(host: &str, patience: &Patience, error: ureq::Error) -> Error {
    let host = host.to_owned();
    match error {
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            Error::Unreachable { host, why: "no connection in time".to_owned() }
        }
        ureq::Error::Timeout(_) => Error::Stalled { host, after: patience.stall },
        ureq::Error::HostNotFound => Error::Unreachable { host, why: "there is no such host".to_owned() },
        ureq::Error::Io(error) if is_cut(&error) => Error::Cut { host, why: error.to_string() },
        ureq::Error::Io(error) => Error::Unreachable { host, why: error.to_string() },
        ureq::Error::Protocol(error) => Error::Malformed { host, what: format!("no proper HTTP: {error}") },
        ureq::Error::LargeResponseHeader(..) => {
            Error::Malformed { host, what: "too long a header".to_owned() }
        }
        other => Error::Unreachable { host, why: other.to_string() },
    }
}

/// A fault while the body came.
pub fn interrupted(host: &str, patience: &Patience, error: &io::Error) -> Error {
    let host = host.to_owned();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match inner {
        Some(ureq::Error::Timeout(_)) => Error::Stalled { host, after: patience.stall },
        _ => Error::Cut { host, why: error.to_string() },
    }
}

fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_registrys_words_and_cannot_steer_the_terminal() {
        for (text, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
                "requested access to the resource is denied",
            ),
            (r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#, "TOOMANYREQUESTS"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            ("{\"errors\":[{\"message\":\"a\\u001b[31mb\\n\"}]}", "a[31mb"),
            ("<html>", ""),
            (r#"{"errors":null}"#, ""),
        ] {
            assert_eq!(said(text.as_bytes()), expected, "{text}");
        }
    }
}
