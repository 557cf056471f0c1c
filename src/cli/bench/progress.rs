//! How far a run is: a line that changes on a terminal, a line a row elsewhere; on stderr.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::bench::{Event, Row};

pub enum Progress {
    Line(ProgressBar),
    Lines,
}

impl Progress {
    pub fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Line(bar)
    }

    pub fn tell(&mut self, event: &Event<'_>) {
        match (self, event) {
            (Self::Line(bar), Event::Preparing(what)) => bar.set_message((*what).to_owned()),
            (Self::Line(bar), Event::Row(row, number, all)) => {
                bar.set_message(format!("{number}/{all} {}", named(row)))
            }
            (Self::Line(_), Event::Done(_)) | (Self::Lines, Event::Row(..)) => {}
            (Self::Lines, Event::Preparing(what)) => say(what),
            (Self::Lines, Event::Done(row)) => say(&named(row)),
        }
    }

    pub fn end(&self) {
        if let Self::Line(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn named(row: &Row) -> String {
    format!("{}, {}", row.title, row.temperature.name())
}

fn say(words: &str) {
    // Nobody is left to be told of a stderr that can't be written.
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}
