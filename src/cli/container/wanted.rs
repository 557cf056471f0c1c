//! docker's words for what a container is to be, shared by the commands that make one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::error::Usage;
use crate::container::{Bind, Network, Tmpfs, Wanted};

#[derive(clap::Args)]
pub struct Options {
    /// Say on stderr what is done; twice, with details: here -v is a volume
    // Takes the place of the global flag, which is read instead of this.
    #[arg(id = "verbose", long = "verbose", action = clap::ArgAction::Count)]
    _verbose: u8,
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// A variable of its environment; a name alone takes yours
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The same, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Where it starts; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Who it is: names or numbers of the image
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Another group that it is in
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// In place of the image's entrypoint and command: a program, or a JSON list of words; an empty one is none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// What it takes itself for [default: your machine's name; without its network, the start of its id]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Nothing but volumes and tmpfs can be written to
    #[arg(long)]
    read_only: bool,
    /// A file or directory of yours in it; options: ro, rw, and those of mount(8)
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]", value_parser = parse_bind)]
    volume: Vec<Bind>,
    /// An empty directory in memory
    #[arg(long, value_name = "TARGET[:OPTIONS]", value_parser = parse_tmpfs)]
    tmpfs: Vec<Tmpfs>,
    /// `host`: yours; `none`: nothing but a loopback
    #[arg(long, alias = "net", value_name = "NETWORK", value_parser = parse_network, default_value = "host")]
    network: Network,
    /// A power of root's that it has beside the usual, or `ALL`
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// One that it has not
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
}

fn parse_bind(text: &str) -> Result<Bind, String> {
    Bind::parse(text).map_err(|error| error.to_string())
}

fn parse_tmpfs(text: &str) -> Result<Tmpfs, String> {
    Tmpfs::parse(text).map_err(|error| error.to_string())
}

fn parse_network(text: &str) -> Result<Network, String> {
    match text {
        "host" => Ok(Network::Host),
        "none" => Ok(Network::None),
        _ => Err("plyfs makes no networks: there are host and none".to_owned()),
    }
}

impl Options {
    pub fn wanted(&self, command: Vec<String>) -> anyhow::Result<Wanted> {
        Ok(Wanted {
            entrypoint: self.entrypoint.as_deref().map(entrypoint).transpose()?,
            command,
            env: variables(&self.env_file, &self.env)?,
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            groups: self.group_add.clone(),
            hostname: self.hostname.clone(),
            read_only: self.read_only,
            terminal: self.tty,
            interactive: self.interactive,
            network: self.network,
            binds: self.volume.clone(),
            tmpfs: self.tmpfs.clone(),
            add_capabilities: self.cap_add.clone(),
            drop_capabilities: self.cap_drop.clone(),
        })
    }
}

fn entrypoint(text: &str) -> anyhow::Result<Vec<String>> {
    match text {
        "" => Ok(Vec::new()),
        list if list.starts_with('[') => serde_json::from_str(list).map_err(|error| {
            Usage(format!("--entrypoint {list}: it is no JSON list of words: {error}")).into()
        }),
        program => Ok(vec![program.to_owned()]),
    }
}

/// Those of the files first, so that a word given beside them counts.
pub fn variables(files: &[PathBuf], words: &[String]) -> anyhow::Result<Vec<String>> {
    let mut variables = Vec::new();
    for file in files {
        variables.extend(env_of_file(file)?);
    }
    variables.extend(words.iter().map(|word| from_ours(word)));
    Ok(variables)
}

/// A name alone takes what this process has by it; without that, the image's goes.
fn from_ours(word: &str) -> String {
    match word.contains('=') {
        true => word.to_owned(),
        false => std::env::var(word).map_or_else(|_| word.to_owned(), |value| format!("{word}={value}")),
    }
}

/// A line each, as docker reads them: no quotes, `#` starts a comment line.
fn env_of_file(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_once('=').map_or(line, |(name, _)| name) {
            "" => Err(Usage(format!("{}: a variable has no name: {line}", file.display())).into()),
            name if name.contains(char::is_whitespace) => {
                Err(Usage(format!("{}: the name {name:?} has spaces in it", file.display())).into())
            }
            _ => Ok(from_ours(line)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_has_one_a_line() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("env");
        std::fs::write(&file, "# comment\n\nA=1\n  B='2' # kept\nPLYFS_NOT_SET_ANYWHERE\nPATH\n").unwrap();
        let path = format!("PATH={}", std::env::var("PATH").unwrap());
        let expected = ["A=1", "B='2' # kept", "PLYFS_NOT_SET_ANYWHERE", &path];
        assert_eq!(env_of_file(&file).unwrap(), expected);
        std::fs::write(&file, "A B=1\n").unwrap();
        assert!(env_of_file(&file).unwrap_err().to_string().ends_with("the name \"A B\" has spaces in it"));
    }

    #[test]
    fn an_entrypoint_is_a_program_or_a_list_of_words() {
        assert_eq!(entrypoint("a b").unwrap(), ["a b"]);
        assert_eq!(entrypoint(r#"["a", "b"]"#).unwrap(), ["a", "b"]);
        assert_eq!(entrypoint("").unwrap(), [""; 0]);
        assert!(entrypoint("[a").is_err());
    }
}
