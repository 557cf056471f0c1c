//! Images in registries, and the only home of HTTP. A [`Repository`] is a source of images, a [`Push`] a sink.
//!
//! What a registry says is believed only where it can be checked: a blob is what its digest says or is not kept, sizes
//! are bounded before anything is read, and what proves who we are goes to nobody but the registry.

mod answer;
mod challenge;
mod client;
mod configuration;
mod credentials;
mod download;
mod error;
mod gate;
mod patience;
mod repository;
mod search;
mod surroundings;
mod tls;
mod upload;
mod url;

use std::path::PathBuf;
use std::sync::Arc;

pub use client::Client;
pub use configuration::{Configuration, Place};
pub use credentials::{Credential, Credentials, Kept};
pub use error::Error;
pub use patience::Patience;
pub use repository::{Access, Repository, Root};
pub use search::Hit;
pub use surroundings::Surroundings;
pub use upload::{Fate, Push};

use client::{Call, Security, Target};
use tls::Certificates;
use ureq::http::Method;

use crate::oci::Reference;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Docker's registry, which is where a name without one is looked for.
pub const HUB: &str = "docker.io";

/// What the user said of how registries are to be dealt with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub verify: Option<bool>,
    pub certificates: Option<PathBuf>,
    pub credential: Option<Credential>,
    pub authfile: Option<PathBuf>,
    pub patience: Patience,
}

/// All registries, as this user deals with them.
pub struct Registries {
    surroundings: Surroundings,
    configuration: Configuration,
    credentials: Credentials,
    settings: Settings,
}

impl Registries {
    pub fn new(settings: Settings, surroundings: Surroundings) -> Result<Self> {
        let configuration = Configuration::read(&surroundings)?;
        let credentials = Credentials::new(settings.authfile.clone(), &surroundings);
        let credentials = match configuration.keepers() {
            Some(keepers) => credentials.kept_by(keepers)?,
            None => credentials,
        };
        Ok(Self { surroundings, configuration, credentials, settings })
    }

    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What is at the first of the places for it that has it: its mirrors, then its registry.
    pub fn find(&self, reference: &Reference) -> Result<(Repository, Root)> {
        let mut places = self.configuration.places(reference)?;
        let Some(last) = places.pop() else { return Err(Error::Blocked(reference.registry().to_owned())) };
        for mirror in places {
            match self.at(&mirror) {
                Ok(found) => return Ok(found),
                Err(error) => log::info!("mirror {}: {error}", mirror.reference),
            }
        }
        self.at(&last)
    }

    fn at(&self, place: &Place) -> Result<(Repository, Root)> {
        let repository = self.repository(place, Access::Pull)?;
        let root = repository.root(&place.reference)?;
        Ok((repository, root))
    }

    pub fn repository(&self, place: &Place, access: Access) -> Result<Repository> {
        let Place { reference, insecure } = place;
        let client = self.client(reference.registry(), reference.repository(), *insecure)?;
        Ok(Repository::new(Arc::new(client), reference.repository(), access))
    }

    /// The registry by itself, with the login for all of it.
    pub fn registry(&self, host: &str) -> Result<Client> {
        self.client(host, "", self.configuration.is_insecure(host))
    }

    fn client(&self, host: &str, repository: &str, insecure: bool) -> Result<Client> {
        let credential = match &self.settings.credential {
            Some(credential) => Some(credential.clone()),
            None => self.credentials.find(host, repository)?.map(|found| {
                log::info!("{host}: {:?} from {}", found.credential, found.from);
                found.credential
            }),
        };
        self.client_of(host, insecure, credential)
    }

    fn client_of(&self, host: &str, insecure: bool, credential: Option<Credential>) -> Result<Client> {
        let certificates = Certificates::of(host, self.settings.certificates.as_deref(), &self.surroundings)?;
        let lenient = match self.settings.verify {
            Some(verify) => !verify,
            // As docker: who listens on this very machine can be believed, unless it is set up otherwise.
            None => insecure || (is_loopback(host) && !certificates.are_there()),
        };
        let security = if lenient { Security::Lenient } else { Security::Verified };
        Ok(Client::new(host, security, &certificates, credential, self.settings.patience))
    }

    /// Whether the credential opens the registry: what is to be kept of it, if it does.
    pub fn log_in(&self, host: &str, credential: Credential) -> Result<Credential> {
        let client = self.client_of(host, self.configuration.is_insecure(host), Some(credential.clone()))?;
        let mut call = Call::new(Method::GET, Target::Path("/v2/".to_owned()), "");
        client.ask_patiently(&mut call)?.expect(&[200], || "registry API (/v2/)".to_owned())?;
        Ok(client.gate().identity(&client)?.unwrap_or(credential))
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
