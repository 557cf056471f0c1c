//! `plyfs export`: what an image shows, as one tar.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::image::destination::Destination;
use crate::cli::inside::Images;
use crate::cli::inside::cp::archive;
use crate::cli::platform::Choice;

/// Write what an image shows as a tar
///
/// All layers together, with owners, modes, times, hard links, devices and extended attributes; `plyfs import` makes an
/// image of it that shows the same.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image of the store, or a file
    image: String,
    /// Where to; without it to stdout, unless that is a terminal
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let destination = Destination::of(arguments.output.as_deref(), "export")?;
    let mut images = Images::new(context, arguments.platform.platform()?);
    let inside = images.get(&arguments.image)?;
    destination.write(|mut out| {
        archive::write_all(inside, &mut out)?;
        // What a damaged index has shown is no export of the image: a file does not appear.
        Ok(inside.tree().intact()?)
    })
}
