//! `plyfs system prune`: images that nobody uses, and whatever can be made again.

use crate::cli::context::Context;
use crate::cli::image::prune::{Choice, prune};
use crate::store::Reach;

/// Remove all that nobody uses
///
/// Images as `plyfs image prune` does, what was derived from images that are not in the store, and with --all the
/// cache of files too. All of that is made again when it is needed.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    choice: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let choice = &arguments.choice;
    let (reach, cache) = match choice.all {
        true => (Reach::Cache, "all indexes of images that are not in the store, and the cache of files"),
        false => (Reach::Orphans, "all indexes of images that are not in the store"),
    };
    prune(context, choice, reach, &warning(&[choice.images(), cache], choice.filters()))
}

/// In docker's words.
fn warning(what: &[&str], filters: &[String]) -> String {
    let mut text = "WARNING! This will remove:\n".to_owned();
    what.iter().for_each(|what| text.push_str(&format!("  - {what}\n")));
    if !filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        filters.iter().for_each(|filter| text.push_str(&format!("  - {filter}\n")));
    }
    text
}
