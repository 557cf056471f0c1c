//! `plyfs unshare`: a command as root of a user namespace.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::error::{Usage, hinted};
use crate::cli::mounting::umount::told;
use crate::mount::namespace::{self, IdsOf};

/// Run a command as root of a user namespace
///
/// There a plain user's files can have any owner that /etc/subuid and /etc/subgid grant, and `plyfs mount` needs no
/// set-user-id program. Mounts made there are seen only there, and end with it. Without a command, a shell is run.
#[derive(clap::Args)]
pub struct Arguments {
    /// What is run, with its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Err(Usage("root has every id already, and needs no namespace".to_owned()).into());
    }
    if let IdsOf::User = namespace::become_root().map_err(told)? {
        crate::cli::error::warn(
            "only your own id is mapped: /etc/subuid grants no others, or newuidmap is missing",
        );
    }
    let shell = || std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let (program, words) = match arguments.command.split_first() {
        Some((program, words)) => (program.clone(), words),
        None => (shell(), &[][..]),
    };
    // The same store: that of the user, not of root.
    let error = Command::new(&program).args(words).env("PLYFS_ROOT", context.root()).exec();
    let program = program.to_string_lossy().into_owned();
    match error.kind() {
        std::io::ErrorKind::NotFound => Err(hinted(error, format!("is {program} in PATH?"))).context(program),
        _ => Err(error).context(program),
    }
}
