//! `plyfs doctor`: what this machine lets plyfs do.

use std::io::Write;

use serde_json::json;

use crate::cli::error::Told;
use crate::cli::output::Output;
use crate::container;
use crate::mount::doctor::{Finding, State, findings};

/// Say what keeps mounting from working here, and what would be used instead
///
/// Everything said was tried, not guessed. Exit status 1 if nothing can be mounted; `ls`, `cat`, `cp` and `tree` work
/// all the same.
#[derive(clap::Args)]
pub struct Arguments {
    /// `json`: one object a line
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json"], default_value = "table")]
    format: String,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut findings = findings();
    let verdict = findings.pop();
    findings.extend(container::doctor::findings());
    findings.extend(verdict);
    let mut out = Output::new();
    for finding in &findings {
        if arguments.format == "json" {
            writeln!(out, "{}", as_json(finding))?;
        } else {
            print(finding, &mut out)?;
        }
    }
    out.finish()?;
    // The last finding sums up.
    match findings.last() {
        Some(Finding { state: State::Good, .. }) => Ok(()),
        _ => Err(Told::FAILED.into()),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Good => "ok",
        State::Missing => "missing",
        State::Blocked => "blocked",
    }
}

fn print(finding: &Finding, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{:<9}{:<24}{}", word(finding.state), finding.what, finding.detail)?;
    match &finding.hint {
        Some(hint) => writeln!(out, "{:33}hint: {hint}", ""),
        None => Ok(()),
    }
}

fn as_json(finding: &Finding) -> serde_json::Value {
    json!({"What": finding.what, "State": word(finding.state), "Detail": finding.detail, "Hint": finding.hint})
}
