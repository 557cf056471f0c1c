//! `plyfs apply`: what was written to an image is made in a directory.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::written::{ExportError, Which};
use crate::union::diff::{self, Making, Opaque};

/// Make in a directory what was written to an image
///
/// DIR is as the image is, unpacked or copied out of a mount; after, it is as the union shows. Files are replaced whole.
/// What is interrupted can be done again. Owners are kept when run as root.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let written = arguments.which.open(context, Opaque::Listed)?;
    let making = if rustix::process::geteuid().is_root() { Making::Kept } else { Making::Callers };
    let applied = diff::apply(&written.diff, &arguments.directory, making).map_err(ExportError::Union);
    applied.and_then(|print| written.check(print)).with_context(|| arguments.which.shown())
}
