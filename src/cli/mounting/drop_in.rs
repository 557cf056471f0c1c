//! `plyfs -o OPTIONS TARGET`, and the same by the name `fuse-overlayfs`: the overlay mount program that podman, buildah
//! and CRI-O run, and that fstab knows. It ends with success only once the mount is live, and the daemon then holds no
//! descriptor of whoever waits for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::cli::error::{self, Told, Usage};
use crate::cli::logger;
use crate::cli::mounting::umount::told;
use crate::mount::daemon::{self, Detached, Launch, Outcome};
use crate::mount::{self, Options, Overlay, Request, open};

/// Unites directories: `lowerdir=A:B` is shown, and what is changed goes to `upperdir`
#[derive(Parser)]
#[command(name = "plyfs", version, max_term_width = 100)]
struct Arguments {
    /// lowerdir=DIR[:DIR...], upperdir=DIR, workdir=DIR, and those of overlayfs, fuse-overlayfs and mount(8)
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    /// Stay in the foreground until it is unmounted
    #[arg(short, long)]
    foreground: bool,
    /// Tell every request, and stay in the foreground
    #[arg(short, long)]
    debug: bool,
    /// Accepted, without effect
    #[arg(short, hide = true)]
    single: bool,
    /// Where; mount(8) gives a word before it that means nothing
    #[arg(required = true, num_args = 1..=2, value_name = "TARGET")]
    target: Vec<PathBuf>,
}

/// Whether the program was called as a mount program.
pub fn is_meant(words: &[OsString]) -> bool {
    let name = words.first().and_then(|program| Path::new(program).file_name());
    let is_flag = |word: &&OsString| matches!(word.as_encoded_bytes(), b"-f" | b"-d" | b"-s");
    let first = words.iter().skip(1).find(|word| !is_flag(word));
    name.is_some_and(|name| name == "fuse-overlayfs")
        || first.is_some_and(|word| word.as_encoded_bytes().starts_with(b"-o"))
}

pub fn main() -> std::process::ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return error::report_usage(&error),
    };
    logger::start(0);
    match run(&arguments) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => error::report(&error),
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let asked = Overlay::parse(&arguments.options, defaults()).map_err(|error| Usage(error.to_string()))?;
    asked.warnings.iter().for_each(|warning| error::warn(warning));
    if arguments.foreground || arguments.debug {
        return serve(asked, arguments, Launch::Foreground);
    }
    match daemon::detach()? {
        Detached::Parent(Outcome::Live(_) | Outcome::Ended(0)) => Ok(()),
        // The child has said why.
        Detached::Parent(Outcome::Ended(status)) => Err(Told(status).into()),
        Detached::Child(launch) => serve(asked, arguments, launch),
    }
}

/// Root's union is a root file system like any other.
fn defaults() -> Options {
    let root = rustix::process::geteuid().is_root();
    Options { devices: root, set_id: root, ..Options::default() }
}

fn serve(asked: Overlay, arguments: &Arguments, launch: Launch) -> anyhow::Result<()> {
    let tree = open::directories(&asked).map_err(told)?;
    let mut options = asked.options;
    options.debug |= arguments.debug;
    let request = Request {
        store: None,
        log: None,
        image: "plyfs".to_owned(),
        digests: Vec::new(),
        target: arguments.target.last().cloned(),
        upper: None,
        options,
    };
    mount::start(tree, request).map_err(told)?.stay(launch).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_meant_by_its_name_or_by_options_without_a_command() {
        let is = |words: &[&str]| is_meant(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(is(&["/usr/bin/fuse-overlayfs", "--version"]));
        assert!(is(&["plyfs", "-o", "lowerdir=a", "t"]) && is(&["plyfs", "-olowerdir=a", "t"]));
        assert!(is(&["plyfs", "-f", "-d", "-o", "lowerdir=a", "t"]) && !is(&["plyfs", "-f", "mount"]));
        assert!(!is(&["plyfs", "mount", "-o", "ro"]) && !is(&["plyfs"]) && !is(&[]));
    }
}
