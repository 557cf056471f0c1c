//! How far a load is: a bar a layer on a terminal, a line a layer elsewhere, nothing where it is asked to be quiet.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::cli::units;
use crate::image;
use crate::oci::Digest;

pub enum Progress {
    Quiet,
    /// Whole layers only, on stderr.
    Lines {
        words: Words,
        totals: Mutex<HashMap<Digest, u64>>,
    },
    Bars {
        words: Words,
        all: MultiProgress,
        layers: Mutex<HashMap<Digest, ProgressBar>>,
    },
}

/// What is said of a layer while it is under way, and once it is through.
#[derive(Clone, Copy)]
pub struct Words {
    doing: &'static str,
    done: &'static str,
}

pub const LOADING: Words = Words { doing: "Loading", done: "Loaded" };
pub const SAVING: Words = Words { doing: "Saving", done: "Saved" };
pub const PULLING: Words = Words { doing: "Pulling", done: "Pull complete," };
pub const PUSHING: Words = Words { doing: "Pushing", done: "Pushed" };

impl Progress {
    /// For a command whose work this is.
    pub fn new(quiet: bool, words: Words) -> Self {
        if quiet {
            return Self::Quiet;
        }
        match Self::passing(words) {
            Self::Quiet => Self::Lines { words, totals: Mutex::default() },
            bars => bars,
        }
    }

    /// For work that another command finds it has to do first: a person sees why it takes a while, a script nothing.
    pub fn passing(words: Words) -> Self {
        if std::io::stderr().is_terminal() {
            Self::Bars { words, all: MultiProgress::new(), layers: Mutex::default() }
        } else {
            Self::Quiet
        }
    }
}

/// A bar for a file that is read through; on a terminal only.
pub fn reading(total: u64) -> ProgressBar {
    one_bar(total, "Importing")
}

/// A bar for all that is checked; on a terminal only.
pub fn checking(total: u64, quiet: bool) -> ProgressBar {
    if quiet { ProgressBar::hidden() } else { one_bar(total, "Checking") }
}

fn one_bar(total: u64, doing: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total).with_style(style());
    bar.set_message(doing);
    bar
}

/// `NO_COLOR` is heeded by indicatif itself.
fn style() -> ProgressStyle {
    let template = "{prefix}: {msg:10} [{bar:40}] {bytes:>10}/{total_bytes:10} {eta:>4}";
    ProgressStyle::with_template(template).map_or_else(
        // The template is ours, and right; another look is no reason to fail.
        |_| ProgressStyle::default_bar(),
        |style| style.progress_chars("=> "),
    )
}

fn say(layer: &Digest, words: &str) {
    // Nobody is left to be told of a stderr that can't be written.
    let _ = writeln!(std::io::stderr().lock(), "{}: {words}", layer.short());
}

impl image::Progress for Progress {
    fn begin(&self, layer: &Digest, total: u64) {
        match self {
            Self::Quiet => {}
            Self::Lines { totals, .. } => {
                totals.lock().insert(*layer, total);
            }
            Self::Bars { words, all, layers } => {
                let bar = all.add(ProgressBar::new(total).with_style(style()));
                bar.set_prefix(layer.short());
                bar.set_message(words.doing);
                layers.lock().insert(*layer, bar);
            }
        }
    }

    fn advance(&self, layer: &Digest, bytes: u64) {
        if let Self::Bars { layers, .. } = self
            && let Some(bar) = layers.lock().get(layer)
        {
            bar.inc(bytes);
        }
    }

    fn end(&self, layer: &Digest) {
        match self {
            Self::Quiet => {}
            Self::Lines { words, totals } => {
                let size = totals.lock().remove(layer).unwrap_or(0);
                say(layer, &format!("{} {}", words.done, units::size(size)));
            }
            Self::Bars { words, layers, .. } => {
                if let Some(bar) = layers.lock().remove(layer) {
                    bar.finish_with_message(words.done.trim_end_matches(','));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Progress as _;

    #[test]
    fn a_bar_can_be_drawn_and_ends_with_its_layer() {
        let progress = Progress::Bars { words: LOADING, all: MultiProgress::new(), layers: Mutex::default() };
        let layer = Digest::of(b"layer");
        progress.begin(&layer, 100);
        progress.advance(&layer, 100);
        progress.end(&layer);
        let Progress::Bars { layers, .. } = progress else { panic!() };
        assert!(layers.lock().is_empty());
        assert!(
            ProgressStyle::with_template(
                "{prefix}: {msg:10} [{bar:40}] {bytes:>10}/{total_bytes:10} {eta:>4}"
            )
            .is_ok()
        );
    }
}
