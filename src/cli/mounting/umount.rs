//! `plyfs umount`: mounts taken away, and their daemons ended.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::error::{Told, Usage, hinted, tell};
use crate::mount::{self, Unmount, Which};

/// Take mounts away
///
/// Returns when the daemon has ended. A mount whose daemon was killed is taken away too.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the images are mounted
    #[arg(value_name = "DIR", required_unless_present = "all")]
    directories: Vec<PathBuf>,
    /// Every mount of this store
    #[arg(short, long)]
    all: bool,
    /// Also one that is in use: it leaves the tree at once, and goes for good with its last user
    #[arg(short, long)]
    force: bool,
}

pub fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let how = if arguments.force { Unmount::Detach } else { Unmount::WhenUnused };
    let which: Vec<Which> = match (arguments.all, arguments.directories) {
        (true, directories) if !directories.is_empty() => {
            return Err(Usage("--all takes no directory".to_owned()).into());
        }
        (true, _) => vec![Which::All],
        (false, directories) => directories.into_iter().map(Which::At).collect(),
    };
    let mut failed = false;
    for which in which {
        if let Err(error) = unmount(context, &which, how) {
            failed = true;
            tell(&error);
        }
    }
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

fn unmount(context: &Context, which: &Which, how: Unmount) -> anyhow::Result<()> {
    let gone = mount::unmount(&context.records(), which, how).map_err(told)?;
    gone.iter().for_each(|path| log::info!("unmounted {}", path.display()));
    Ok(())
}

/// The error, with what mounting knows the user can do about it.
pub fn told(error: mount::Error) -> anyhow::Error {
    match error.hint() {
        Some(hint) => hinted(error, hint),
        None => error.into(),
    }
}
