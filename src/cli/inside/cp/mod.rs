//! `plyfs cp`: a part of an image to the host, with no mount: as files below a directory, or as a tar stream.

pub(super) mod archive;
mod extract;

pub use extract::Owners;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::inside::place::place;
use crate::cli::inside::walk::{Last, find, last_name};
use crate::cli::inside::{Images, Inside};
use crate::cli::output::Output;
use crate::cli::platform::Choice;
use crate::layer::{Id, Kind};

/// Copy a file or a directory of an image to this machine, with no mount
///
/// A directory is copied with all that is in it; `IMAGE:/etc/.` means what is in it alone. Into a DEST that is a
/// directory it goes by its own name, else DEST is its name. Modes, times, links and holes stay; owners when run as
/// root. Nothing is written outside of DEST: a symlink that is already there is not followed.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(value_name = "IMAGE:PATH")]
    source: OsString,
    /// A directory or a new name; `-` writes a tar stream to stdout
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    /// Keep owners also when not run as root; fails where they can't be set
    #[arg(short, long)]
    archive: bool,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let place = place(&arguments.source)?;
    let mut images = Images::new(context, arguments.platform.platform()?);
    let inside = images.get(&place.image)?;
    let id = find(inside.tree(), &place.path, Last::Followed)?;
    let is_directory = inside.tree().inode(id).kind() == Kind::Directory;
    // Only a directory has something to be copied without it.
    let name = if place.path.ends_with(b"/.") && is_directory { None } else { last_name(&place.path) };
    if arguments.destination == Path::new("-") {
        let mut out = Output::new();
        archive::write(inside, id, name, &mut out)?;
        images.check_intact()?;
        return Ok(out.finish()?);
    }
    let owners = if arguments.archive || rustix::process::geteuid().is_root() {
        extract::Owners::Kept
    } else {
        extract::Owners::Callers
    };
    let target = target(&arguments.destination, name)?;
    extract::extract(inside, id, &target, owners)?;
    images.check_intact()
}

/// Of a whole tree.
const ROOT: Id = 0;

/// All that an image shows, into a directory that is there.
pub fn copy_out(inside: &Inside, directory: &Path, owners: Owners) -> anyhow::Result<()> {
    let target = Target { directory: directory.to_owned(), name: None };
    extract::extract(inside, ROOT, &target, owners)?;
    // What a damaged index has shown is not the image.
    Ok(inside.tree().intact()?)
}

/// Where a copy goes: a directory that is there, and a name in it.
struct Target {
    directory: PathBuf,
    /// `None`: what is in the source goes straight into the directory.
    name: Option<OsString>,
}

fn target(destination: &Path, name: Option<&[u8]>) -> anyhow::Result<Target> {
    let name = name.map(|name| OsStr::from_bytes(name).to_owned());
    if destination.is_dir() {
        return Ok(Target { directory: destination.to_owned(), name });
    }
    let Some(new) = destination.file_name() else {
        anyhow::bail!("{}: no such directory", destination.display());
    };
    if destination.as_os_str().as_bytes().ends_with(b"/") && name.is_some() {
        anyhow::bail!("{}: no such directory", destination.display());
    }
    let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(Target { directory: parent.unwrap_or(Path::new(".")).to_owned(), name: Some(new.to_owned()) })
}
