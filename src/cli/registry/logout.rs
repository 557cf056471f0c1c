//! `plyfs logout`: nobody in particular at a registry from now on.

use std::path::PathBuf;

use crate::cli::error::Usage;
use crate::cli::output;
use crate::cli::registry::Connection;
use crate::cli::registry::login::host;

/// Log out of a registry
///
/// Its logins are removed from podman's and docker's files and their credential helpers, or from the file that
/// REGISTRY_AUTH_FILE or --authfile names.
#[derive(clap::Args)]
pub struct Arguments {
    /// The registry [default: docker.io]
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
    /// Out of all registries
    #[arg(short, long)]
    all: bool,
    /// Where logins are kept [env: REGISTRY_AUTH_FILE] [default: the files of podman and docker]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.all && arguments.registry.is_some() {
        return Err(Usage("--all takes no registry".to_owned()).into());
    }
    let connection = Connection { authfile: arguments.authfile.clone(), ..Connection::default() };
    let registries = connection.registries(None)?;
    let credentials = registries.credentials();
    if arguments.all {
        credentials.forget_all()?;
        return Ok(output::line("Removed login credentials for all registries")?);
    }
    let host = host(arguments.registry.as_deref())?;
    let changed = credentials.forget(&host)?;
    let words = match changed.is_empty() {
        true => format!("Not logged in to {host}"),
        false => format!("Removed login credentials for {host}"),
    };
    Ok(output::line(&words)?)
}
