//! Where the files of docker and of the containers tools are, for whoever runs this.

use std::path::PathBuf;

/// The folders and variables that settings are found by.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, or `~/.config`.
    pub config: Option<PathBuf>,
    /// `XDG_CACHE_HOME`, or `~/.cache`.
    pub cache: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR/containers`, or what the containers tools use in its place.
    pub runtime: PathBuf,
    /// `/etc`.
    pub system: PathBuf,
    /// `/usr/share`.
    pub vendor: PathBuf,
    /// `DOCKER_CONFIG`.
    pub docker: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`.
    pub authfile: Option<PathBuf>,
    /// `CONTAINERS_REGISTRIES_CONF`.
    pub registries: Option<PathBuf>,
}

impl Surroundings {
    pub fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        let below = |name: &str| home.as_ref().map(|home| home.join(name));
        let runtime = path("XDG_RUNTIME_DIR").map_or_else(
            || PathBuf::from(format!("/run/containers/{}", rustix::process::geteuid().as_raw())),
            |runtime| runtime.join("containers"),
        );
        Self {
            config: path("XDG_CONFIG_HOME").or_else(|| below(".config")),
            cache: path("XDG_CACHE_HOME").or_else(|| below(".cache")),
            runtime,
            system: PathBuf::from("/etc"),
            vendor: PathBuf::from("/usr/share"),
            docker: path("DOCKER_CONFIG"),
            authfile: path("REGISTRY_AUTH_FILE"),
            registries: path("CONTAINERS_REGISTRIES_CONF").or_else(|| path("REGISTRIES_CONFIG_PATH")),
            home,
        }
    }

    /// `~/.docker`, unless `DOCKER_CONFIG` says otherwise.
    pub fn docker(&self) -> Option<PathBuf> {
        self.docker.clone().or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }

    /// Nothing but what is below `root`.
    #[cfg(test)]
    pub fn below(root: &std::path::Path) -> Self {
        Self {
            home: Some(root.join("home")),
            config: Some(root.join("home/.config")),
            cache: Some(root.join("home/.cache")),
            runtime: root.join("run"),
            system: root.join("etc"),
            vendor: root.join("share"),
            docker: None,
            authfile: None,
            registries: None,
        }
    }
}
