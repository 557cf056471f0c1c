//! `plyfs man`: the man pages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::output::Output;

/// Print the man page, or write one for each command into a directory
#[derive(clap::Args)]
pub struct Arguments {
    /// Where plyfs.1, plyfs-mount.1 and so on are written
    directory: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut command = super::command();
    command.build();
    match &arguments.directory {
        Some(directory) => write_all(&command, directory),
        None => {
            let mut out = Output::new();
            out.write_all(&page(&command)?)?;
            Ok(out.finish()?)
        }
    }
}

fn write_all(command: &clap::Command, directory: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page(command)?).with_context(|| format!("writing {}", path.display()))?;
    command.get_subcommands().try_for_each(|sub| write_all(sub, directory))
}

fn page(command: &clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
