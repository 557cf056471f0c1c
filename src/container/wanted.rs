//! What the user wants of a container, beyond what its image says; kept with the container, to start it again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// In place of the image's, whose command then does not count either. Empty: none.
    pub entrypoint: Option<Vec<String>>,
    pub command: Vec<String>,
    /// `NAME=VALUE`, or `NAME` for one that is taken away.
    pub env: Vec<String>,
    pub workdir: Option<String>,
    pub user: Option<String>,
    pub groups: Vec<String>,
    pub hostname: Option<String>,
    pub read_only: bool,
    pub terminal: bool,
    /// Whether stdin stays open.
    pub interactive: bool,
    pub network: Network,
    pub binds: Vec<Bind>,
    pub tmpfs: Vec<Tmpfs>,
    pub add_capabilities: Vec<String>,
    pub drop_capabilities: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The caller's.
    #[default]
    Host,
    /// Nothing but a loopback.
    None,
}

/// `-v SOURCE:TARGET[:OPTIONS]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    pub source: PathBuf,
    pub target: String,
    pub options: Vec<String>,
}

/// `--tmpfs TARGET[:OPTIONS]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    pub target: String,
    pub options: Vec<String>,
}

/// Options of a bind that the runtime does as they are.
const BIND_OPTIONS: &[&str] = &[
    "bind",
    "rbind",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
];

impl Bind {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| invalid("volume", text, why);
        let mut parts = text.split(':');
        let source = parts.next().unwrap_or_default();
        let Some(target) = parts.next() else {
            return Err(refuse(
                "a volume without a source would outlive nothing; name a directory: SOURCE:TARGET",
            ));
        };
        let words = parts.next().unwrap_or_default();
        if parts.next().is_some() {
            return Err(refuse("it has too many colons"));
        }
        if !source.starts_with(['/', '.']) {
            return Err(refuse("plyfs keeps no named volumes; a path starts with `/` or `.`"));
        }
        let source = std::fs::canonicalize(source).map_err(|error| refuse(&error.to_string()))?;
        let options = words.split(',').filter(|word| !word.is_empty()).map(|word| bind_option(text, word));
        let options = options.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        Ok(Self { source, target: absolute("volume", text, target)?, options })
    }
}

fn bind_option(text: &str, word: &str) -> Result<Option<String>, Error> {
    let refuse = |why: &str| Err(invalid("volume", text, why));
    match word {
        "ro" | "rw" => Ok(Some(word.to_owned())),
        // What labels would keep apart is not labelled here.
        "z" | "Z" if !std::path::Path::new("/sys/fs/selinux").exists() => Ok(None),
        "z" | "Z" => refuse("plyfs does not label files for SELinux"),
        "U" => refuse("plyfs does not change the owners of your files"),
        "O" => refuse("plyfs lays nothing over your directories; mount an overlay, and bind that"),
        "copy" | "nocopy" => refuse("only a named volume could be copied to"),
        _ if BIND_OPTIONS.contains(&word) => Ok(Some(word.to_owned())),
        _ => refuse(&format!("nobody knows the option `{word}`")),
    }
}

impl Tmpfs {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (target, words) = text.split_once(':').unwrap_or((text, ""));
        let options = words.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Ok(Self { target: absolute("tmpfs", text, target)?, options })
    }
}

fn absolute(what: &'static str, text: &str, path: &str) -> Result<String, Error> {
    match super::plain_path(path).to_str() {
        _ if !path.starts_with('/') => Err(invalid(what, text, "a path in the container starts with `/`")),
        Some("/") => Err(invalid(what, text, "nothing can be mounted over the container's root")),
        Some(plain) => Ok(plain.to_owned()),
        None => Err(invalid(what, text, "the path is no text")),
    }
}

pub(super) fn invalid(what: &'static str, value: &str, why: &str) -> Error {
    Error::Invalid { what, value: value.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_a_path_of_the_host_a_path_of_the_container_and_options() {
        let bind = Bind::parse("/tmp/../tmp:/data/:ro,z").unwrap();
        let expected = Bind { source: "/tmp".into(), target: "/data".into(), options: vec!["ro".into()] };
        assert_eq!(bind, expected);
        let refused = |text: &str| Bind::parse(text).unwrap_err().to_string();
        let all = [
            "data:/data",
            "/tmp",
            "/tmp:data",
            "/tmp:/",
            "/tmp:/d:fast",
            "/tmp:/d:O",
            "/nowhere:/d",
            "/tmp:/a:ro:x",
        ];
        let said = all.map(refused).join("\n");
        assert_eq!(
            said,
            "volume `data:/data`: plyfs keeps no named volumes; a path starts with `/` or `.`\n\
             volume `/tmp`: a volume without a source would outlive nothing; name a directory: SOURCE:TARGET\n\
             volume `/tmp:data`: a path in the container starts with `/`\n\
             volume `/tmp:/`: nothing can be mounted over the container's root\n\
             volume `/tmp:/d:fast`: nobody knows the option `fast`\n\
             volume `/tmp:/d:O`: plyfs lays nothing over your directories; mount an overlay, and bind that\n\
             volume `/nowhere:/d`: No such file or directory (os error 2)\n\
             volume `/tmp:/a:ro:x`: it has too many colons"
        );
    }

    #[test]
    fn a_tmpfs_has_a_path_and_options() {
        let tmpfs = Tmpfs::parse("/run:size=1m,mode=700").unwrap();
        assert_eq!(tmpfs.target, "/run");
        assert_eq!(tmpfs.options, ["size=1m", "mode=700"]);
        assert!(Tmpfs::parse("run").is_err());
    }
}
