//! `--platform`, and what stands in for it.

use crate::oci::Platform;

/// Which of an image's platforms is meant.
#[derive(clap::Args)]
pub struct Choice {
    /// Of an image for several platforms, this one: os/arch[/variant] [env: DOCKER_DEFAULT_PLATFORM] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
}

impl Choice {
    pub fn platform(&self) -> anyhow::Result<Option<Platform>> {
        match &self.platform {
            Some(platform) => Ok(Some(platform.clone())),
            None => default(),
        }
    }
}

fn default() -> anyhow::Result<Option<Platform>> {
    match std::env::var("DOCKER_DEFAULT_PLATFORM") {
        Ok(text) if !text.is_empty() => {
            let platform = text.parse().map_err(anyhow::Error::new);
            platform.map(Some).map_err(|error| error.context("DOCKER_DEFAULT_PLATFORM"))
        }
        _ => Ok(None),
    }
}
