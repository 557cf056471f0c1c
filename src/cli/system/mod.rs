//! `plyfs system`: the store as a whole.

mod details;
mod df;
mod prune;
mod survey;
pub mod verify;

use crate::cli::context::Context;

#[derive(clap::Subcommand)]
pub enum Command {
    Df(df::Arguments),
    Prune(prune::Arguments),
    #[command(visible_alias = "fsck")]
    Verify(verify::Arguments),
}

pub fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Df(arguments) => df::run(context, arguments),
        Command::Prune(arguments) => prune::run(context, arguments),
        Command::Verify(arguments) => verify::run(context, arguments),
    }
}
