//! How registries are dealt with: what pull, push and their like have in common.

pub mod delete;
pub mod login;
pub mod logout;
pub mod manifest;
pub mod pull;
pub mod push;
pub mod search;

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::error::{Usage, hinted};
use crate::cli::image::filter::has_tag;
use crate::image;
use crate::oci::Reference;
use crate::registry::{Credential, Error, Patience, Registries, Settings, Surroundings};

/// Before the name of an image, it says that a registry has it.
pub const TRANSPORT: &str = "docker://";

#[derive(clap::Args, Clone, Default)]
pub struct Connection {
    /// Ask for TLS and a certificate that is vouched for; `--tls-verify=false` takes any, or plain HTTP [default: true, but for this machine itself and what registries.conf says is insecure]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls_verify: Option<bool>,
    /// Where the registry's roots (*.crt) and our certificate (*.cert, *.key) are [default: its folder in certs.d]
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Who to be there, instead of who `plyfs login` said
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub creds: Option<String>,
    /// Where logins are kept [env: REGISTRY_AUTH_FILE] [default: the files of podman and docker]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
}

/// Of what moves images to or from a registry.
#[derive(clap::Args)]
pub struct Transfer {
    /// The image: `alpine`, `ghcr.io/a/b:tag`, `a@sha256:…`, also behind `docker://`
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Every tag of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// No progress, only the image's name
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    retrying: Retrying,
}

impl Transfer {
    pub fn registries(&self) -> anyhow::Result<Registries> {
        self.connection.registries(Some(&self.retrying))
    }

    /// In the user's words; a repository's where all of its tags are meant.
    pub fn name(&self) -> anyhow::Result<&str> {
        let name = name(&self.image)?;
        match self.all_tags && has_tag(name) {
            true => Err(Usage("tag can't be used with --all-tags/-a".to_owned()).into()),
            false => Ok(name),
        }
    }
}

#[derive(clap::Args, Clone)]
pub struct Retrying {
    /// How often something is tried again that came no farther
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    retry: u32,
    /// The pause before the first of these; each next one is twice as long
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = seconds)]
    retry_delay: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('s').parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds up to 3600".to_owned()),
    }
}

impl Retrying {
    fn patience(&self) -> Patience {
        let pause = Duration::from_secs_f64(self.retry_delay);
        Patience { retries: self.retry, pause, ..Patience::default() }
    }
}

impl Connection {
    pub fn registries(&self, retrying: Option<&Retrying>) -> anyhow::Result<Registries> {
        let settings = Settings {
            verify: self.tls_verify,
            certificates: self.cert_dir.clone(),
            credential: self.creds.as_deref().map(credential).transpose()?,
            authfile: self.authfile.clone(),
            patience: retrying.map(Retrying::patience).unwrap_or_default(),
        };
        Ok(Registries::new(settings, Surroundings::of_process())?)
    }
}

fn credential(text: &str) -> anyhow::Result<Credential> {
    match text.split_once(':') {
        Some((username, password)) if !username.is_empty() => {
            let (username, password) = (username.to_owned(), password.to_owned());
            Ok(Credential::Password { username, password })
        }
        _ => Err(Usage("--creds needs USER:PASSWORD".to_owned()).into()),
    }
}

/// The name without `docker://`; another transport is not a registry's.
pub fn name(text: &str) -> anyhow::Result<&str> {
    if let Some(name) = text.strip_prefix(TRANSPORT) {
        return Ok(name);
    }
    let others = ["oci:", "oci-archive:", "docker-archive:", "dir:", "docker-daemon:", "containers-storage:"];
    match others.iter().find(|transport| text.starts_with(*transport)) {
        Some(transport) => {
            let message = format!("{text}: {transport} is no registry; only {TRANSPORT} and plain names are");
            Err(Usage(message).into())
        }
        None => Ok(text),
    }
}

/// What a registry said, of what, and how to get in if that was it.
pub fn explain(doing: &str, reference: &Reference, error: Error) -> anyhow::Error {
    let host = error.wants_login().map(str::to_owned);
    let error = anyhow::Error::new(error);
    let error = match host {
        Some(host) => hinted(error, format!("run `plyfs login {host}`")),
        None => error,
    };
    error.context(format!("{doing} {}", reference.familiar()))
}

/// The same of what went wrong on the way from or to a registry.
pub fn explain_copy(doing: &str, reference: &Reference, error: image::Error) -> anyhow::Error {
    match error {
        image::Error::Source(source) => match source.downcast::<Error>() {
            Ok(error) => explain(doing, reference, *error),
            Err(other) => {
                anyhow::Error::from_boxed(other).context(format!("{doing} {}", reference.familiar()))
            }
        },
        other => anyhow::Error::new(other).context(format!("{doing} {}", reference.familiar())),
    }
}
