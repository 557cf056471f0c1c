//! How a command's failure is told: `plyfs: what: why: the cause`, then `hint: ...` where the user can act.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const BROKEN_PIPE: u8 = 3;

/// An error with a word on what the user can do about it.
#[derive(Debug)]
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// A command line that clap lets through and that still asks for what can't be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Something is wrong and has been told already; only this exit status is left to give.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
pub struct Told(pub u8);

impl Told {
    pub const FAILED: Self = Self(FAILED);
}

/// The error, with what the user can do about it.
pub fn hinted(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted { error: error.into(), hint: hint.into() })
}

/// Tells the user, and says how the program exits.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let status = status(error);
    if status != BROKEN_PIPE && !error.is::<Told>() {
        tell(error);
    }
    ExitCode::from(status)
}

/// Says on stderr what is wrong, where a command goes on with its next object.
pub fn tell(error: &anyhow::Error) {
    let mut message = format!("plyfs: {}\n", chain(error));
    for hint in error.chain().filter_map(|cause| cause.downcast_ref::<Hinted>()) {
        message.push_str(&format!("hint: {}\n", hint.hint));
    }
    // Nobody is left to be told of a stderr that can't be written.
    let _ = io::stderr().lock().write_all(message.as_bytes());
}

/// Says what is being done that was not asked for by name.
pub fn note(message: &str) {
    // As above.
    let _ = writeln!(io::stderr().lock(), "plyfs: {message}");
}

/// Says something that is worth knowing and not an error.
pub fn warn(message: &str) {
    // As above.
    let _ = writeln!(io::stderr().lock(), "plyfs: warning: {message}");
}

fn status(error: &anyhow::Error) -> u8 {
    if let Some(Told(status)) = error.downcast_ref() {
        return *status;
    }
    if error.is::<Usage>() {
        return USAGE;
    }
    let broken = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if broken { BROKEN_PIPE } else { FAILED }
}

/// The causes joined by `: `, each once: many errors already end in the text of their source.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// clap's words in our form. Help and version go to stdout and are no failure.
pub fn report_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(&error.into()),
        };
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).replace("\n  tip: ", "\nhint: ");
    // As above.
    let _ = write!(io::stderr().lock(), "plyfs: {text}");
    ExitCode::from(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_and_none_is_said_twice() {
        let inner = io::Error::other("disk on fire");
        let error = anyhow::Error::new(inner).context("reading x: disk on fire").context("loading y");
        assert_eq!(chain(&error), "loading y: reading x: disk on fire");
    }

    #[test]
    fn a_hint_does_not_change_the_message() {
        let error = hinted(io::Error::other("no such image"), "run it").context("mounting x");
        assert_eq!(chain(&error), "mounting x: no such image");
        assert_eq!(status(&error), FAILED);
    }

    #[test]
    fn a_broken_pipe_anywhere_in_the_chain_is_told_by_status_alone() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert_eq!(status(&error), BROKEN_PIPE);
        assert_eq!(status(&Usage("x".to_owned()).into()), USAGE);
    }
}
