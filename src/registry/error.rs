//! What can go wrong with a registry, by what the caller can do about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::oci::{Digest, InvalidDocument, InvalidReference};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry said no, in the words of its answer.
    #[error("{status} from {host}{}", after_colon(said))]
    Refused { host: String, status: u16, said: String },
    #[error("{host} has no {what}")]
    NotFound { host: String, what: String },
    #[error("{host} can't be reached: {why}")]
    Unreachable { host: String, why: String },
    #[error("{host}: the connection was cut: {why}")]
    Cut { host: String, why: String },
    #[error("{host} sent nothing for {} seconds", after.as_secs_f32())]
    Stalled { host: String, after: Duration },
    #[error("{host} asks to wait {} seconds before the next try", wait.as_secs())]
    TooBusy { host: String, wait: Duration },
    /// Not what the distribution spec allows.
    #[error("{host} answered with {what}")]
    Malformed { host: String, what: String },
    #[error("{host} sent {what} of more than {limit} bytes")]
    TooLarge { host: String, what: &'static str, limit: u64 },
    #[error("{host} redirects from https to {to}, where anyone could listen")]
    Downgrade { host: String, to: String },
    #[error("{host} has blob {digest} with another digest: {found}")]
    OtherDigest { host: String, digest: Digest, found: String },
    #[error("manifest {digest}: {source}")]
    Document { digest: Digest, source: InvalidDocument },
    #[error(transparent)]
    Name(#[from] InvalidReference),
    /// By `short-name-mode`.
    #[error("{0:?} may be an image of several registries, and short-name-mode is enforcing: say of which")]
    ShortName(String),
    #[error("registry {0} is blocked in registries.conf")]
    Blocked(String),
    #[error("{}: {why}", path.display())]
    Configuration { path: PathBuf, why: String },
    #[error("credential helper {name}: {why}")]
    Helper { name: String, why: String },
}

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Error {
    /// Whether another try, or another mirror, may fare better.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Unreachable { .. } | Self::Cut { .. } | Self::Stalled { .. } => true,
            _ => false,
        }
    }

    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The registry where logging in may help.
    pub fn wants_login(&self) -> Option<&str> {
        match self {
            Self::Refused { host, status: 401 | 403, .. } => Some(host),
            _ => None,
        }
    }
}
