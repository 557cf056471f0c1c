//! The image configuration: platform, history, layers' diff IDs, and how to run it.

use serde::{Deserialize, Serialize};

use super::DiffId;

/// An image's config blob. Fields that plyfs does not know are read over; the blob's bytes are never rewritten from this.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default)]
    pub config: Option<RunConfig>,
    #[serde(default)]
    pub rootfs: RootFs,
    #[serde(default)]
    pub history: Vec<History>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub diff_ids: Vec<DiffId>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunConfig {}
