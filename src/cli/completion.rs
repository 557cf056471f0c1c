//! `plyfs completion`: what a shell needs to complete our command line.

use std::io::Write;

use crate::cli::output::Output;

/// Print completions for a shell
#[derive(clap::Args)]
pub struct Arguments {
    shell: clap_complete::Shell,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    // Into memory first: the generator panics where its writer fails, as stdout does behind `head`.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "plyfs", &mut script);
    let mut out = Output::new();
    out.write_all(&script)?;
    Ok(out.finish()?)
}
