//! `plyfs export`: what an image shows, or what was written to one over it, as one tar.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::image::destination::Destination;
use crate::cli::inside::Images;
use crate::cli::inside::cp::archive;
use crate::cli::platform::Choice;
use crate::cli::written;
use crate::layer::write::Writer;
use crate::union::diff::Unnameable;

/// Write what an image or a container shows as a tar
///
/// All layers together, and what was written over them, with owners, modes, times, hard links, devices and extended
/// attributes; `plyfs import` makes an image of it that shows the same.
#[derive(clap::Args)]
pub struct Arguments {
    /// A container or an upper, by its name or where it is mounted; else an image of the store, or a file
    #[arg(value_name = "CONTAINER|UPPER|IMAGE")]
    image: String,
    /// Where to; without it to stdout, unless that is a terminal
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let destination = Destination::of(arguments.output.as_deref(), "export")?;
    let platform = arguments.platform.platform()?;
    if let Some(written) = written::shown_by(context, &arguments.image, platform.as_ref())? {
        return destination.write(|out| {
            let mut writer = Writer::new(out);
            written.export(&mut writer, Unnameable::Refused).with_context(|| arguments.image.clone())?;
            writer.finish().map(drop).map_err(Into::into)
        });
    }
    let mut images = Images::new(context, platform);
    let inside = images.get(&arguments.image)?;
    destination.write(|mut out| {
        archive::write_all(inside, &mut out)?;
        // What a damaged index has shown is no export of the image: a file does not appear.
        Ok(inside.tree().intact()?)
    })
}
