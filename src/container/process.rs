//! What a container runs: the image's config with the user's words over it, by the conversion rules of the image
//! spec and, where it leaves a choice, as docker and podman choose.

use std::os::fd::BorrowedFd;

use super::identity::Identity;
use super::{Error, Wanted, plain_path};
use crate::oci::RunConfig;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub identity: Identity,
    pub terminal: bool,
}

impl Process {
    /// `root` is the mounted tree, in which names are looked up.
    pub fn of(
        image: &RunConfig,
        wanted: &Wanted,
        root: BorrowedFd<'_>,
        hostname: &str,
    ) -> Result<Self, Error> {
        let user = wanted.user.as_deref().unwrap_or(&image.user);
        let identity = Identity::find(root, user, &wanted.groups)?;
        let cwd = wanted.workdir.as_deref().unwrap_or(&image.working_dir);
        Ok(Self {
            args: args(image, wanted)?,
            env: env(image, wanted, hostname, &identity.home),
            cwd: plain_path(cwd).display().to_string(),
            identity,
            terminal: wanted.terminal,
        })
    }
}

/// The image's command goes with the image's entrypoint alone.
pub fn args(image: &RunConfig, wanted: &Wanted) -> Result<Vec<String>, Error> {
    let command = match (&wanted.entrypoint, wanted.command.is_empty()) {
        (None, true) => &image.cmd,
        _ => &wanted.command,
    };
    let entrypoint = wanted.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    let args: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    if args.is_empty() { Err(Error::NoCommand) } else { Ok(args) }
}

fn env(image: &RunConfig, wanted: &Wanted, hostname: &str, home: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    if wanted.terminal {
        env.push("TERM=xterm".to_owned());
    }
    env.push(format!("HOSTNAME={hostname}"));
    image.env.iter().for_each(|word| set(&mut env, word));
    wanted.env.iter().for_each(|word| set(&mut env, word));
    // An empty one is none to runc and podman.
    if !env.iter().any(|word| name(word) == "HOME" && word != "HOME=") {
        set(&mut env, &format!("HOME={home}"));
    }
    env
}

/// Later words win; a name alone takes the variable away.
pub fn set(env: &mut Vec<String>, word: &str) {
    let name = name(word);
    let at = env.iter().position(|old| self::name(old) == name);
    match (at, word.contains('=')) {
        (Some(at), true) => word.clone_into(&mut env[at]),
        (Some(at), false) => drop(env.remove(at)),
        (None, true) => env.push(word.to_owned()),
        (None, false) => {}
    }
}

fn name(word: &str) -> &str {
    word.split_once('=').map_or(word, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn image(entrypoint: &str, cmd: &str) -> RunConfig {
        RunConfig { entrypoint: words(entrypoint), cmd: words(cmd), ..RunConfig::default() }
    }

    #[test]
    fn an_entrypoint_of_the_users_takes_the_images_command_with_it() {
        let args = |image: &RunConfig, entrypoint: Option<&str>, command: &str| {
            let wanted =
                Wanted { entrypoint: entrypoint.map(words), command: words(command), ..Wanted::default() };
            args(image, &wanted).map(|args| args.join(" ")).map_err(|error| error.to_string())
        };
        let both = image("/entry -x", "serve");
        assert_eq!(args(&both, None, ""), Ok("/entry -x serve".into()));
        assert_eq!(args(&both, None, "other"), Ok("/entry -x other".into()));
        assert_eq!(args(&both, Some("sh"), ""), Ok("sh".into()));
        assert_eq!(args(&both, Some(""), "ls /"), Ok("ls /".into()));
        let none = Err("no command is given, and the image has none".to_owned());
        assert_eq!(args(&both, Some(""), ""), none);
        assert_eq!(args(&image("", ""), None, ""), none);
    }

    #[test]
    fn the_users_variables_come_over_the_images_and_those_over_the_usual() {
        let image = RunConfig { env: words("PATH=/bin LANG=C EMPTY= GONE=1"), ..RunConfig::default() };
        let wanted = Wanted { env: words("LANG=de A=b=c GONE"), terminal: true, ..Wanted::default() };
        let expected = words("PATH=/bin TERM=xterm HOSTNAME=box LANG=de EMPTY= A=b=c HOME=/root");
        assert_eq!(env(&image, &wanted, "box", "/root"), expected);
        let emptied = RunConfig { env: words("HOME="), ..RunConfig::default() };
        assert_eq!(self::env(&emptied, &Wanted::default(), "box", "/root").last().unwrap(), "HOME=/root");
        let kept = RunConfig { env: words("HOME=/kept"), ..RunConfig::default() };
        assert_eq!(env(&kept, &Wanted::default(), "box", "/root").last().unwrap(), "HOME=/kept");
    }
}
