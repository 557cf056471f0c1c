//! `plyfs exec`: another process in a container that runs.

use std::path::PathBuf;

use crate::cli::container::run::explained;
use crate::cli::container::wanted::variables;
use crate::cli::context::Context;
use crate::cli::error::Told;
use crate::container::{Containers, Execution, Runtime, execute};

/// Run another command in a container that runs
///
/// With the streams of this command. Exit status: the command's, 128 and the signal that ended it, 127 if it is not
/// there, 126 if it can't be run, 125 if anything else is wrong.
#[derive(clap::Args)]
pub struct Arguments {
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Leave it in the background
    #[arg(short, long)]
    detach: bool,
    /// A variable of its environment, beside the container's; a name alone takes yours
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The same, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Where it starts
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Who it is [default: who the container is]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// By name, or by id
    container: String,
    /// What is run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let found = Containers::of_store(context.root()).find(&arguments.container).map_err(explained)?;
    let runtime = Runtime::find(found.container.runtime.as_deref()).map_err(explained)?;
    let execution = Execution {
        args: arguments.command.clone(),
        env: variables(&arguments.env_file, &arguments.env)?,
        workdir: arguments.workdir.clone(),
        user: arguments.user.clone(),
        terminal: arguments.tty,
        interactive: arguments.interactive,
        detach: arguments.detach,
    };
    match execute(&found, &runtime, &execution).map_err(explained)? {
        0 => Ok(()),
        code => Err(Told(code).into()),
    }
}
