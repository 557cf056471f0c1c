//! The image configuration: platform, history, layers' diff IDs, and how to run it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{DiffId, Platform, lenient};

/// An image's config blob. Fields that plyfs does not know are read over; the blob's bytes are never rewritten from this.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The note of the commit that made it: docker's, not OCI's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The docker that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RunConfig>,
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub rootfs: RootFs,
    #[serde(default, deserialize_with = "lenient::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

impl Config {
    /// The platform that the image is for; `None` where the config does not say.
    pub fn platform(&self) -> Option<Platform> {
        if self.os.is_empty() && self.architecture.is_empty() {
            return None;
        }
        let mut platform = Platform::new(&self.os, &self.architecture, self.variant.as_deref());
        platform.os_version.clone_from(&self.os_version);
        Some(platform)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(default, rename = "type", deserialize_with = "lenient::null_as_default")]
    pub kind: String,
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// A step of the image's making; one that is not an empty layer goes with the next diff ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, deserialize_with = "lenient::null_as_default", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
}

// serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// How a container of the image is run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    #[serde(deserialize_with = "lenient::null_as_default", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(deserialize_with = "lenient::null_as_default", skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    #[serde(deserialize_with = "lenient::null_as_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(with = "lenient::set", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    #[serde(deserialize_with = "lenient::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "lenient::words", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "lenient::words", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "lenient::null_as_default", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    #[serde(with = "lenient::set", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    #[serde(deserialize_with = "lenient::null_as_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "lenient::null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "lenient::words", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    #[serde(deserialize_with = "lenient::null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// Docker's; durations are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    #[serde(deserialize_with = "lenient::words", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_read_as_absent_everywhere() {
        let nulls = r#"{"architecture":null,"os":null,"created":null,"author":null,"history":null,
            "rootfs":{"type":"layers","diff_ids":null},
            "config":{"User":null,"ExposedPorts":null,"Env":null,"Entrypoint":null,"Cmd":null,"Volumes":null,
                "WorkingDir":null,"Labels":null,"OnBuild":null,"Shell":null,"Healthcheck":null,"ArgsEscaped":null}}"#;
        let config: Config = serde_json::from_str(nulls).unwrap();
        assert_eq!(config, Config { config: Some(RunConfig::default()), ..Config::default() });
        assert_eq!(
            serde_json::from_str::<Config>(r#"{"config":null,"rootfs":null}"#).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn a_run_config_reads_dockers_sets_and_words() {
        let text =
            r#"{"ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":null},"Cmd":"sh","Entrypoint":["a","b"]}"#;
        let config: RunConfig = serde_json::from_str(text).unwrap();
        assert_eq!(
            serde_json::to_string(&config).unwrap(),
            r#"{"ExposedPorts":{"80/tcp":{}},"Entrypoint":["a","b"],"Cmd":["sh"],"Volumes":{"/data":{}}}"#
        );
    }

    #[test]
    fn an_empty_platform_is_none() {
        assert_eq!(Config::default().platform(), None);
        let config: Config =
            serde_json::from_str(r#"{"os":"linux","architecture":"arm","variant":"v7"}"#).unwrap();
        assert_eq!(config.platform().unwrap().to_string(), "linux/arm/v7");
    }
}
