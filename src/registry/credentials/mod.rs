//! Who the user is to a registry: the files of docker and of the containers tools, and the helpers they name.

mod file;
mod helper;

use std::fmt;
use std::path::PathBuf;

use super::surroundings::Surroundings;
use super::{HUB, Result};

pub use file::Form;

/// The Hub's key since its first version.
const HUB_KEY: &str = "https://index.docker.io/v1/";

#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Password {
        username: String,
        password: String,
    },
    /// Stands for a login, and is exchanged for tokens.
    Identity(String),
    /// Is a token.
    Registry(String),
}

/// Secrets are not for logs.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "the password of {username}"),
            Self::Identity(_) => f.write_str("an identity token"),
            Self::Registry(_) => f.write_str("a registry token"),
        }
    }
}

/// A credential, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub credential: Credential,
    pub from: String,
}

/// Where a login was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// As plain as day.
    File(PathBuf),
    Helper(String),
}

/// The files, and the programs that registries.conf names beside them; the first match wins.
#[derive(Clone, Debug)]
pub struct Credentials {
    files: Vec<(PathBuf, Form)>,
    keepers: Vec<Keeper>,
}

#[derive(Clone, Debug)]
enum Keeper {
    Files,
    Program(PathBuf),
}

/// The files, as `credential-helpers` of registries.conf calls them.
const FILES: &str = "containers-auth.json";

impl Credentials {
    /// `authfile` is what the user named; then no other is looked at.
    pub fn new(authfile: Option<PathBuf>, surroundings: &Surroundings) -> Self {
        let named = authfile.or_else(|| surroundings.authfile.clone());
        if let Some(path) = named {
            return Self { files: vec![(path, Form::Containers)], keepers: vec![Keeper::Files] };
        }
        let mut files = vec![(surroundings.runtime.join("auth.json"), Form::Containers)];
        if let Some(config) = &surroundings.config {
            files.push((config.join("containers/auth.json"), Form::Containers));
        }
        if let Some(docker) = surroundings.docker() {
            files.push((docker.join("config.json"), Form::Docker));
        }
        Self { files, keepers: vec![Keeper::Files] }
    }

    /// The same, asked for in the order in which registries.conf names who keeps logins.
    pub fn kept_by(self, names: &[String]) -> Result<Self> {
        let keeper = |name: &String| match name.as_str() {
            FILES => Ok(Keeper::Files),
            name => helper::program(name).map(Keeper::Program),
        };
        Ok(Self { keepers: names.iter().map(keeper).collect::<Result<_>>()?, ..self })
    }

    /// For a repository of a registry: what is kept for a part of the registry goes before what is for all of it.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<Found>> {
        for keeper in &self.keepers {
            let found = match keeper {
                Keeper::Files => self.find_in_files(host, repository)?,
                Keeper::Program(program) => {
                    let credential = helper::ask(program, Form::Docker.key(host).as_str())?;
                    let from = format!("{}, which registries.conf names", program.display());
                    credential.map(|credential| Found { credential, from })
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find_in_files(&self, host: &str, repository: &str) -> Result<Option<Found>> {
        let keys = keys(host, repository);
        for (path, _) in &self.files {
            let Some(file) = file::read(path)? else { continue };
            if let Some(found) = file.find(&keys)? {
                let from = match &found.helper {
                    Some(helper) => format!("docker-credential-{helper}, which {} names", path.display()),
                    None => path.display().to_string(),
                };
                return Ok(Some(Found { credential: found.credential, from }));
            }
        }
        Ok(None)
    }

    /// Keeps a login with the first who keeps them: of the files the first that is there, else where docker would.
    pub fn keep(&self, host: &str, credential: &Credential) -> Result<Kept> {
        if let Some(Keeper::Program(program)) = self.keepers.first() {
            helper::tell(program, Form::Docker.key(host).as_str(), credential)?;
            return Ok(Kept::Helper(program.display().to_string()));
        }
        let there = self.files.iter().find(|(path, _)| path.exists()).or_else(|| self.files.last());
        let Some((path, form)) = there else {
            return Err(super::Error::Configuration {
                path: PathBuf::from("config.json"),
                why: "there is no home directory to keep a login in; name a file with --authfile".to_owned(),
            });
        };
        file::keep(path, &form.key(host), credential)
    }

    /// Forgets the registry's logins wherever they are, and says where that was.
    pub fn forget(&self, host: &str) -> Result<Vec<PathBuf>> {
        let mut changed = self.forget_where(|key| file::is_for(key, host))?;
        for keeper in &self.keepers {
            if let Keeper::Program(program) = keeper {
                let key = Form::Docker.key(host);
                if helper::ask(program, &key)?.is_some() {
                    helper::forget(program, &key)?;
                    changed.push(program.clone());
                }
            }
        }
        Ok(changed)
    }

    /// What is in the files; a program's logins are forgotten one by one.
    pub fn forget_all(&self) -> Result<Vec<PathBuf>> {
        self.forget_where(|_| true)
    }

    fn forget_where(&self, is_meant: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
        let mut changed = Vec::new();
        for (path, _) in &self.files {
            if file::forget(path, &is_meant)? {
                changed.push(path.clone());
            }
        }
        Ok(changed)
    }
}

/// `host/a/b`, `host/a`, `host`.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut keys = vec![format!("{host}/{repository}")];
    while let Some((parent, _)) = keys[keys.len() - 1].rsplit_once('/') {
        keys.push(parent.to_owned());
    }
    if host == HUB {
        keys.push(HUB_KEY.to_owned());
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn password(username: &str) -> Credential {
        Credential::Password { username: username.to_owned(), password: "secret:pass".to_owned() }
    }

    /// The basic authorization of [`password`].
    fn auth(username: &str) -> String {
        file::encode(username, "secret:pass")
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn user(credentials: &Credentials, host: &str, repository: &str) -> String {
        match credentials.find(host, repository).unwrap() {
            Some(Found { credential: Credential::Password { username, .. }, .. }) => username,
            Some(found) => format!("{:?}", found.credential),
            None => "nobody".to_owned(),
        }
    }

    #[test]
    fn the_first_file_that_has_the_registry_wins() {
        let root = tempfile::tempdir().unwrap();
        let surroundings = Surroundings::below(root.path());
        let credentials = Credentials::new(None, &surroundings);
        assert_eq!(user(&credentials, "r.io", "a"), "nobody");
        for (path, name) in [
            ("home/.docker/config.json", "docker"),
            ("home/.config/containers/auth.json", "containers"),
            ("run/auth.json", "runtime"),
        ] {
            write(&root.path().join(path), &format!(r#"{{"auths":{{"r.io":{{"auth":"{}"}}}}}}"#, auth(name)));
            let found = credentials.find("r.io", "a").unwrap().unwrap();
            let from = root.path().join(path).display().to_string();
            assert_eq!(found, Found { credential: password(name), from });
        }
        let named = root.path().join("named.json");
        let credentials = Credentials::new(Some(named.clone()), &surroundings);
        assert_eq!(user(&credentials, "r.io", "a"), "nobody");
        write(&named, r#"{"auths":{"r.io":{"identitytoken":"t"}}}"#);
        assert_eq!(user(&credentials, "r.io", "a"), "an identity token");
    }

    #[test]
    fn what_is_kept_for_a_part_goes_first_and_old_keys_are_understood() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("auth.json");
        let credentials = Credentials::new(Some(path.clone()), &Surroundings::below(root.path()));
        let entry = |key: &str, name: &str| format!(r#""{key}":{{"auth":"{}"}}"#, auth(name));
        let entries = [
            entry("r.io/team/app", "app"),
            entry("r.io", "all"),
            entry("https://old.io/v1/", "old"),
            entry("https://index.docker.io/v1/", "hub"),
            r#""empty.io":{}"#.to_owned(),
        ];
        write(&path, &format!(r#"{{"auths":{{{}}},"HttpHeaders":{{}}}}"#, entries.join(",")));
        for (host, repository, expected) in [
            ("r.io", "team/app", "app"),
            ("r.io", "team/app/part", "app"),
            ("r.io", "team/apple", "all"),
            ("old.io", "a", "old"),
            ("docker.io", "library/alpine", "hub"),
            ("empty.io", "a", "nobody"),
            ("r.io.evil", "a", "nobody"),
        ] {
            assert_eq!(user(&credentials, host, repository), expected, "{host}/{repository}");
        }
        write(&path, "{");
        let error = credentials.find("r.io", "a").unwrap_err().to_string();
        assert!(error.contains("auth.json: "), "{error}");
    }

    #[test]
    fn a_login_is_kept_for_its_owner_alone_beside_what_is_there_and_forgotten_again() {
        let root = tempfile::tempdir().unwrap();
        let credentials = Credentials::new(None, &Surroundings::below(root.path()));
        let path = root.path().join("home/.docker/config.json");
        assert_eq!(credentials.keep("docker.io", &password("me")).unwrap(), Kept::File(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(user(&credentials, "docker.io", "library/a"), "me");
        let text = fs::read_to_string(&path).unwrap().replacen('{', r#"{"detachKeys":"ctrl-x","#, 1);
        fs::write(&path, text).unwrap();
        credentials.keep("r.io", &Credential::Identity("token".to_owned())).unwrap();
        assert_eq!(user(&credentials, "r.io", "a"), "an identity token");
        assert_eq!(credentials.forget("docker.io").unwrap(), std::slice::from_ref(&path));
        assert_eq!(credentials.forget("docker.io").unwrap(), Vec::<PathBuf>::new());
        assert_eq!(user(&credentials, "docker.io", "library/a"), "nobody");
        credentials.forget_all().unwrap();
        let left: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(left, serde_json::json!({"detachKeys": "ctrl-x", "auths": {}}));
    }

    #[test]
    fn a_helper_is_asked_told_and_made_to_forget() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.json");
        let store = root.path().join("kept");
        let helper = root.path().join("docker-credential-test");
        let script = format!(
            "#!/bin/sh\ncase $1 in\nget) read host; [ -e {0} ] && cat {0} || {{ echo 'credentials not found in native keychain'; exit 1; }};;\n\
             store) cat > {0};;\nerase) rm -f {0};;\nesac\n",
            store.display()
        );
        write(&helper, &script);
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        write(&path, &format!(r#"{{"credHelpers":{{"r.io":"{}"}}}}"#, root.path().join("test").display()));
        let credentials = Credentials::new(Some(path.clone()), &Surroundings::below(root.path()));
        assert!(
            credentials.find("r.io", "a").unwrap_err().to_string().contains("is not the name of a helper")
        );
        write(&path, r#"{"credHelpers":{"r.io":"plyfs-no-such-helper"}}"#);
        assert!(credentials.find("r.io", "a").unwrap_err().to_string().contains("plyfs-no-such-helper"));
        assert_eq!(user(&credentials, "other.io", "a"), "nobody");
        assert_eq!(helper::ask(&helper, "r.io").unwrap(), None);
        helper::tell(&helper, "r.io", &password("me")).unwrap();
        assert_eq!(helper::ask(&helper, "r.io").unwrap(), Some(password("me")));
        helper::tell(&helper, "r.io", &Credential::Identity("t".to_owned())).unwrap();
        assert_eq!(helper::ask(&helper, "r.io").unwrap(), Some(Credential::Identity("t".to_owned())));
        helper::forget(&helper, "r.io").unwrap();
        assert_eq!(helper::ask(&helper, "r.io").unwrap(), None);
    }

    #[test]
    fn who_keeps_logins_is_asked_in_the_order_that_registries_conf_says() {
        let root = tempfile::tempdir().unwrap();
        let (path, kept) = (root.path().join("auth.json"), root.path().join("kept"));
        let program = root.path().join("docker-credential-test");
        let script = "#!/bin/sh\ncd \"${0%/*}\"; case $1 in get) cat kept 2>/dev/null;; store) cat >kept;; erase) rm kept;; esac\n";
        write(&program, script);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let files = Credentials::new(Some(path.clone()), &Surroundings::below(root.path()));
        let kept_by = |keepers: Vec<Keeper>| Credentials { keepers, ..files.clone() };
        let (first, last) = (Keeper::Program(program.clone()), Keeper::Files);
        let both = kept_by(vec![first.clone(), last.clone()]);
        assert_eq!(user(&both, "r.io", "a"), "nobody");
        files.keep("r.io", &password("file")).unwrap();
        assert_eq!(user(&both, "r.io", "a"), "file");
        both.keep("r.io", &password("program")).unwrap();
        assert_eq!(user(&both, "r.io", "a"), "program");
        assert_eq!(user(&kept_by(vec![last, first]), "r.io", "a"), "file");
        assert_eq!(both.forget("r.io").unwrap(), [path, program]);
        assert!(!kept.exists());
        assert_eq!(user(&both, "r.io", "a"), "nobody");
        let names = ["containers-auth.json".to_owned(), "../test".to_owned()];
        assert!(files.kept_by(&names).unwrap_err().to_string().contains("is not the name of a helper"));
    }
}
