//! `registries.conf`, version 2: which places an image is looked for at, and what a short name stands for.
//!
//! The user's file stands in the place of the system's; the files of `registries.conf.d` are laid over it, the system's
//! first, each in the order of their names.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::surroundings::Surroundings;
use super::{Error, Result};
use crate::oci::{InvalidReference, Reference};

#[derive(Clone, Debug, Default)]
pub struct Configuration {
    registries: Vec<Registry>,
    aliases: BTreeMap<String, String>,
    /// `None`: nobody has said anything of short names.
    search: Option<Vec<String>>,
    short_names: ShortNames,
    keepers: Option<Vec<String>>,
}

/// What is done with a short name that several registries may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ShortNames {
    /// It is not guessed which is meant.
    Enforcing,
    /// The first that has it. Podman asks a person; plyfs does not.
    #[default]
    Permissive,
    Disabled,
}

/// Where an image may be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is called there.
    pub reference: Reference,
    /// Neither certificates nor TLS itself are asked for.
    pub insecure: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    #[serde(default)]
    registry: Vec<Registry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    short_name_mode: Option<ShortNames>,
    credential_helpers: Option<Vec<String>>,
    /// Version 1.
    registries: Option<toml::Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Registry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: PullFrom,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

impl Configuration {
    pub fn read(surroundings: &Surroundings) -> Result<Self> {
        let mut configuration = Self::default();
        for path in files(surroundings)? {
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::Configuration { path, why: error.to_string() }),
            };
            configuration.lay_over(&text).map_err(|why| Error::Configuration { path, why })?;
        }
        Ok(configuration)
    }

    fn lay_over(&mut self, text: &str) -> Result<(), String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if file.registries.is_some() {
            return Err("the format of version 1 ([registries.search] and the like) is not supported; \
                        see containers-registries.conf(5)"
                .to_owned());
        }
        if let Some(search) = file.unqualified_search_registries {
            self.search = Some(search);
        }
        self.aliases.extend(file.aliases);
        self.short_names = file.short_name_mode.unwrap_or(self.short_names);
        self.keepers = file.credential_helpers.or(self.keepers.take());
        for registry in file.registry {
            let registry = registry.checked()?;
            self.registries.retain(|known| known.prefix != registry.prefix);
            self.registries.push(registry);
        }
        Ok(())
    }

    /// What the name in the user's words may mean, in order: one with a registry means itself.
    pub fn candidates(&self, text: &str) -> Result<Vec<Reference>, InvalidReference> {
        let plain: Reference = text.parse()?;
        if Reference::names_registry(text) {
            return Ok(vec![plain]);
        }
        let name_end = text.find(['@', ':']).unwrap_or(text.len());
        let (name, suffix) = text.split_at(name_end);
        if let Some(target) = self.aliases.get(name).filter(|target| !target.is_empty()) {
            return Ok(vec![format!("{target}{suffix}").parse()?]);
        }
        match &self.search {
            Some(search) if !search.is_empty() => {
                search.iter().map(|registry| format!("{registry}/{text}").parse()).collect()
            }
            _ => Ok(vec![plain]),
        }
    }

    /// The same of what is to be fetched, where a guess may bring a stranger's image.
    pub fn to_fetch(&self, text: &str) -> Result<Vec<Reference>> {
        let candidates = self.candidates(text)?;
        match self.short_names {
            ShortNames::Enforcing if candidates.len() > 1 => Err(Error::ShortName(text.to_owned())),
            _ => Ok(candidates),
        }
    }

    /// Who keeps logins, in the order in which they are asked, where it is said.
    pub fn keepers(&self) -> Option<&[String]> {
        self.keepers.as_deref().filter(|keepers| !keepers.is_empty())
    }

    /// Where to ask for it: mirrors first, the registry itself last.
    pub fn places(&self, reference: &Reference) -> Result<Vec<Place>> {
        let Some(registry) = self.registry(reference) else {
            return Ok(vec![Place { reference: reference.clone(), insecure: false }]);
        };
        if registry.blocked {
            return Err(Error::Blocked(registry.prefix.clone()));
        }
        let mut places = Vec::new();
        for mirror in registry.mirror.iter().filter(|mirror| registry.uses(mirror, reference)) {
            places.push(registry.place(reference, &mirror.location, mirror.insecure)?);
        }
        places.push(registry.place(reference, &registry.location, registry.insecure)?);
        Ok(places)
    }

    /// Where it is pushed to: the registry itself.
    pub fn home(&self, reference: &Reference) -> Result<Place> {
        let plain = || Place { reference: reference.clone(), insecure: false };
        Ok(self.places(reference)?.pop().unwrap_or_else(plain))
    }

    /// Whether the host by itself is said to be insecure.
    pub fn is_insecure(&self, host: &str) -> bool {
        self.registries.iter().any(|registry| registry.insecure && registry.prefix == host)
    }

    fn registry(&self, reference: &Reference) -> Option<&Registry> {
        let name = reference.to_string();
        let matching = self.registries.iter().filter(|registry| registry.covers(&name));
        matching.max_by_key(|registry| registry.prefix.len())
    }
}

impl Registry {
    fn checked(mut self) -> Result<Self, String> {
        let trimmed = |text: &str| {
            let text = text.trim_start_matches("https://").trim_start_matches("http://");
            text.trim_end_matches('/').to_owned()
        };
        self.location = trimmed(&self.location);
        self.prefix = trimmed(&self.prefix);
        if self.prefix.is_empty() {
            self.prefix.clone_from(&self.location);
        }
        if self.prefix.is_empty() {
            return Err("a [[registry]] has neither prefix nor location".to_owned());
        }
        if self.location.is_empty() && !self.prefix.starts_with("*.") {
            self.location.clone_from(&self.prefix);
        }
        for mirror in &mut self.mirror {
            mirror.location = trimmed(&mirror.location);
            if mirror.location.is_empty() {
                return Err(format!("a mirror of {} has no location", self.prefix));
            }
        }
        Ok(self)
    }

    /// By whole parts of the name; `*.` stands for any domains in front.
    fn covers(&self, name: &str) -> bool {
        if let Some(domain) = self.prefix.strip_prefix('*') {
            let host = name.split('/').next().unwrap_or_default();
            let host = host.split(':').next().unwrap_or_default();
            return host.ends_with(domain);
        }
        let Some(rest) = name.strip_prefix(&self.prefix) else { return false };
        // Behind a host a colon begins a port, and that is another registry.
        let is_tag = rest.starts_with(':') && !rest.contains('/');
        rest.is_empty() || rest.starts_with(['/', '@']) || is_tag
    }

    fn uses(&self, mirror: &Mirror, reference: &Reference) -> bool {
        let by_digest = reference.digest().is_some();
        let wanted = match mirror.pull_from_mirror {
            PullFrom::All => true,
            PullFrom::DigestOnly => by_digest,
            PullFrom::TagOnly => !by_digest,
        };
        wanted && (by_digest || !self.mirror_by_digest_only)
    }

    /// The reference with `location` in the place of the prefix.
    fn place(&self, reference: &Reference, location: &str, insecure: bool) -> Result<Place> {
        let name = reference.to_string();
        let rewritten = match (location, self.prefix.strip_prefix("*.")) {
            ("", _) => name,
            (location, Some(_)) => {
                let rest = name.split_once('/').map_or("", |(_, rest)| rest);
                format!("{location}/{rest}")
            }
            (location, None) => format!("{location}{}", &name[self.prefix.len()..]),
        };
        let reference = rewritten.parse().map_err(|why| Error::Configuration {
            path: PathBuf::from("registries.conf"),
            why: format!("{} is rewritten to {rewritten:?}: {why}", reference.familiar()),
        })?;
        Ok(Place { reference, insecure })
    }
}

/// The files, later ones laid over earlier ones.
fn files(surroundings: &Surroundings) -> Result<Vec<PathBuf>> {
    if let Some(path) = &surroundings.registries {
        return Ok(vec![path.clone()]);
    }
    let user = surroundings.config.as_ref().map(|config| config.join("containers"));
    let system = surroundings.system.join("containers");
    let vendor = surroundings.vendor.join("containers");
    let folders = user.iter().chain([&system, &vendor]);
    let mut mains = folders.map(|folder| folder.join("registries.conf"));
    let mut files: Vec<PathBuf> = mains.find(|path| path.exists()).into_iter().collect();
    for folder in [&vendor, &system].into_iter().chain(&user) {
        files.extend(drop_ins(&folder.join("registries.conf.d"))?);
    }
    // What podman has been told of short names.
    files.extend(surroundings.cache.as_ref().map(|cache| cache.join("containers/short-name-aliases.conf")));
    Ok(files)
}

fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => {
            return Err(Error::Configuration { path: folder.to_owned(), why: error.to_string() });
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> Configuration {
        let mut configuration = Configuration::default();
        configuration.lay_over(text).unwrap();
        configuration
    }

    fn places(configuration: &Configuration, reference: &str) -> Vec<String> {
        let shown =
            |place: Place| format!("{}{}", place.reference, if place.insecure { " insecure" } else { "" });
        match configuration.places(&reference.parse().unwrap()) {
            Ok(places) => places.into_iter().map(shown).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn mirrors_come_first_and_prefixes_are_rewritten_by_whole_parts() {
        let read = configuration(
            r#"
            [[registry]]
            prefix = "docker.io"
            location = "https://hub.example/"
            [[registry.mirror]]
            location = "localhost:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "digests.example"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "docker.io/library"
            location = "library.example/l"
            [[registry]]
            prefix = "*.corp.example"
            location = "gate.example/corp"
            [[registry]]
            location = "plain.example"
            insecure = true
            [[registry]]
            location = "evil.example"
            blocked = true
            "#,
        );
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (reference, expected) in [
            ("a/b:1", vec!["localhost:5000/hub/a/b:1 insecure", "hub.example/a/b:1"]),
            ("alpine", vec!["library.example/l/alpine:latest"]),
            (
                "docker.io/libraryx/a",
                vec!["localhost:5000/hub/libraryx/a:latest insecure", "hub.example/libraryx/a:latest"],
            ),
            ("x.y.corp.example:8/a", vec!["gate.example/corp/a:latest"]),
            ("corp.example/a", vec!["corp.example/a:latest"]),
            ("plain.example/a", vec!["plain.example/a:latest insecure"]),
            ("plain.example:1/a", vec!["plain.example:1/a:latest"]),
            ("evil.example/a", vec!["registry evil.example is blocked in registries.conf"]),
        ] {
            assert_eq!(places(&read, reference), expected, "{reference}");
        }
        let by_digest = format!("a/b@{digest}");
        assert_eq!(
            places(&read, &by_digest),
            [
                format!("localhost:5000/hub/a/b@{digest} insecure"),
                format!("digests.example/a/b@{digest}"),
                format!("hub.example/a/b@{digest}")
            ]
        );
    }

    #[test]
    fn a_short_name_is_an_alias_or_looked_for_where_it_is_said_and_else_dockers() {
        let shown = |configuration: &Configuration, text: &str| -> Vec<String> {
            configuration.candidates(text).unwrap().iter().map(Reference::to_string).collect()
        };
        let none = Configuration::default();
        assert_eq!(shown(&none, "alpine"), ["docker.io/library/alpine:latest"]);
        let read = configuration(
            "unqualified-search-registries = [\"quay.io\", \"docker.io\"]\n[aliases]\nfedora = \"registry.example/f\"\n",
        );
        assert_eq!(shown(&read, "fedora:40"), ["registry.example/f:40"]);
        assert_eq!(shown(&read, "alpine:3"), ["quay.io/alpine:3", "docker.io/library/alpine:3"]);
        assert_eq!(shown(&read, "a/b"), ["quay.io/a/b:latest", "docker.io/a/b:latest"]);
        assert_eq!(shown(&read, "ghcr.io/a/b"), ["ghcr.io/a/b:latest"]);
        let mut enforcing = read;
        enforcing.lay_over("short-name-mode = \"enforcing\"").unwrap();
        assert_eq!(enforcing.to_fetch("fedora").unwrap(), enforcing.candidates("fedora").unwrap());
        let error = enforcing.to_fetch("alpine").unwrap_err().to_string();
        assert!(error.starts_with("\"alpine\" may be an image of several registries"), "{error}");
    }

    #[test]
    fn the_users_file_stands_for_the_systems_and_drop_ins_are_laid_over_it() {
        let root = tempfile::tempdir().unwrap();
        let surroundings = Surroundings::below(root.path());
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let entry =
            |location: &str| format!("[[registry]]\nprefix = \"a.example\"\nlocation = \"{location}\"\n");
        let now = || places(&Configuration::read(&surroundings).unwrap(), "a.example/x");
        assert_eq!(now(), ["a.example/x:latest"]);
        for (path, location) in [
            ("etc/containers/registries.conf", "system"),
            ("home/.config/containers/registries.conf", "user"),
            ("etc/containers/registries.conf.d/2.conf", "late"),
            ("home/.config/containers/registries.conf.d/1.conf", "later"),
        ] {
            write(path, &entry(&format!("{location}.example")));
            assert_eq!(now(), [format!("{location}.example/x:latest")]);
        }
        write("etc/containers/registries.conf.d/3.conf", "[registries.search]\nregistries = []\n");
        let error = Configuration::read(&surroundings).unwrap_err().to_string();
        assert!(error.contains("3.conf: the format of version 1"), "{error}");
        write("etc/containers/registries.conf.d/3.conf", "registry = 1");
        let error = Configuration::read(&surroundings).unwrap_err().to_string();
        assert!(error.contains("3.conf: TOML parse error"), "{error}");
    }
}
