//! `plyfs login`: who to be at a registry from now on.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::cli::error::{Usage, hinted, warn};
use crate::cli::output;
use crate::cli::registry::Connection;
use crate::registry::{Credential, HUB, Kept};

/// Where a password or a token ends.
const LONGEST: u64 = 1 << 20;

/// Log in to a registry
///
/// The name and the password are tried before they are kept: in REGISTRY_AUTH_FILE or --authfile, else in the first of
/// podman's and docker's files that is there, with the credential helper that it names.
#[derive(clap::Args)]
pub struct Arguments {
    /// The registry [default: docker.io]
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
    /// The name; without it, it is asked for
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// The password; others on this machine can see it while plyfs runs
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let host = host(arguments.registry.as_deref())?;
    let registries = arguments.connection.registries(None)?;
    let credential = credential(arguments, &host)?;
    let kept = registries.log_in(&host, credential).map_err(|error| {
        let refused = error.wants_login().is_some();
        let error = anyhow::Error::new(error).context(format!("logging in to {host}"));
        if refused { hinted(error, "the name or the password is wrong there") } else { error }
    })?;
    if let Kept::File(path) = registries.credentials().keep(&host, &kept)? {
        warn(&format!("the login is kept unencrypted in {}", path.display()));
    }
    Ok(output::line("Login Succeeded")?)
}

/// A registry, also where it is written like an address.
pub fn host(text: Option<&str>) -> anyhow::Result<String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(HUB.to_owned()) };
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    let host = bare.split('/').next().unwrap_or_default();
    if matches!(host, "index.docker.io" | "registry-1.docker.io") {
        return Ok(HUB.to_owned());
    }
    // A registry is what may stand before the name of an image.
    match format!("{host}/x").parse::<crate::oci::Reference>() {
        Ok(reference) if reference.registry() == host => Ok(host.to_owned()),
        _ => Err(Usage(format!("{text:?} is no registry")).into()),
    }
}

fn credential(arguments: &Arguments, host: &str) -> anyhow::Result<Credential> {
    if arguments.password_stdin {
        let Some(username) = arguments.username.clone() else {
            return Err(Usage("--password-stdin needs --username".to_owned()).into());
        };
        let mut password = String::new();
        io::stdin().take(LONGEST).read_to_string(&mut password).context("stdin")?;
        let password = password.trim_end_matches(['\n', '\r']).to_owned();
        return Ok(Credential::Password { username, password });
    }
    if arguments.password.is_some() {
        warn("others can see a password on the command line; --password-stdin hides it");
    }
    let username = match &arguments.username {
        Some(username) => username.clone(),
        None => ask(&format!("Username for {host}: "))?,
    };
    let password = match &arguments.password {
        Some(password) => password.clone(),
        None => ask_hidden("Password: ")?,
    };
    anyhow::ensure!(!username.is_empty() && !password.is_empty(), "a name and a password are needed");
    Ok(Credential::Password { username, password })
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        anyhow::bail!(
            "cannot perform an interactive login from a non TTY device; use --username and --password-stdin"
        );
    }
    write!(io::stderr(), "{prompt}")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// What is typed does not show.
fn ask_hidden(prompt: &str) -> anyhow::Result<String> {
    let before = tcgetattr(io::stdin()).ok();
    let _hidden = before.map(Hidden::new).transpose()?;
    let answer = ask(prompt)?;
    writeln!(io::stderr())?;
    Ok(answer)
}

/// While it lives, the terminal echoes nothing.
struct Hidden(Termios);

impl Hidden {
    fn new(before: Termios) -> io::Result<Self> {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0) {
            log::warn!("the terminal stays as it is: {error}");
        }
    }
}
