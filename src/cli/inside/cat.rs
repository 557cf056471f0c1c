//! `plyfs cat`: files of an image to stdout, with no mount.

use std::ffi::OsString;
use std::io::Write;

use crate::cli::context::Context;
use crate::cli::error::{Told, tell};
use crate::cli::inside::place::{Place, places};
use crate::cli::inside::walk::{Last, find};
use crate::cli::inside::{Images, Inside};
use crate::cli::output::{Output, printable};
use crate::cli::platform::Choice;
use crate::layer::Kind;

/// Print files of an image, with no mount
///
/// `plyfs cat nginx.tar:/etc/nginx/nginx.conf` or `plyfs cat nginx.tar /etc/nginx/nginx.conf`.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image of the store, or a file; and the files in it
    #[arg(value_name = "IMAGE:PATH", required = true)]
    what: Vec<OsString>,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let places = places(&arguments.what)?;
    let mut images = Images::new(context, arguments.platform.platform()?);
    let mut out = Output::new();
    let mut failed = false;
    for place in &places {
        if let Err(error) = images.get(&place.image).and_then(|inside| print(inside, place, &mut out)) {
            out.flush()?;
            if is_of_stdout(&error) {
                return Err(error);
            }
            tell(&error);
            failed = true;
        }
    }
    out.finish()?;
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

/// Where stdout takes nothing more there is no use in going on.
fn is_of_stdout(error: &anyhow::Error) -> bool {
    error.is::<std::io::Error>()
}

fn print(inside: &Inside, place: &Place, out: &mut Output) -> anyhow::Result<()> {
    let id = find(inside.tree(), &place.path, Last::Followed)?;
    let shown = || printable(&place.path);
    match inside.tree().inode(id).kind() {
        Kind::File => inside.read(id, |bytes| out.write_all(bytes)),
        Kind::Directory => anyhow::bail!("{}: is a directory", shown()),
        _ => anyhow::bail!("{}: is not a regular file", shown()),
    }
}
