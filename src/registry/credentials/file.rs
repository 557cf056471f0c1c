//! One file of credentials, docker's `config.json` or the containers tools' `auth.json`. What plyfs does not know in it
//! stays as it is.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Credential, HUB_KEY, Kept, helper};
use crate::registry::{Error, HUB, Result};
use crate::sys::file as whole;

/// How the Hub is called in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Docker,
    Containers,
}

impl Form {
    pub fn key(self, host: &str) -> String {
        match self {
            Self::Docker if host == HUB => HUB_KEY.to_owned(),
            _ => host.to_owned(),
        }
    }
}

pub struct File {
    path: PathBuf,
    fields: Map<String, Value>,
}

/// A credential, and the helper that gave it.
pub struct Match {
    pub credential: Credential,
    pub helper: Option<String>,
}

/// `None` where there is no file, or an empty one.
pub fn read(path: &Path) -> Result<Option<File>> {
    let wrong = |why: String| Error::Configuration { path: path.to_owned(), why };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let fields = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(File { path: path.to_owned(), fields }))
}

impl File {
    /// The first of the keys that is there, from the most to the least special.
    pub fn find(&self, keys: &[String]) -> Result<Option<Match>> {
        for key in keys {
            if let Some(name) = self.helper_of(key)
                && let Some(credential) = helper::ask(&helper::program(name)?, key)?
            {
                return Ok(Some(Match { credential, helper: Some(name.to_owned()) }));
            }
            if let Some(credential) =
                self.entry(key).map(|entry| self.credential(entry)).transpose()?.flatten()
            {
                return Ok(Some(Match { credential, helper: None }));
            }
        }
        let Some(name) = self.store() else { return Ok(None) };
        let program = helper::program(name)?;
        let Some(host) = keys.last() else { return Ok(None) };
        let credential = helper::ask(&program, host)?;
        Ok(credential.map(|credential| Match { credential, helper: Some(name.to_owned()) }))
    }

    fn helper_of(&self, key: &str) -> Option<&str> {
        self.fields.get("credHelpers")?.get(key)?.as_str().filter(|name| !name.is_empty())
    }

    fn store(&self) -> Option<&str> {
        self.fields.get("credsStore")?.as_str().filter(|name| !name.is_empty())
    }

    fn entry(&self, key: &str) -> Option<&Value> {
        let entries = self.fields.get("auths")?.as_object()?;
        let is_whole_host = |other: &str| !key.contains('/') && other.contains("://") && is_for(other, key);
        entries
            .get(key)
            .or_else(|| entries.iter().find(|(other, _)| is_whole_host(other)).map(|(_, entry)| entry))
    }

    fn credential(&self, entry: &Value) -> Result<Option<Credential>> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credential::Identity(token.to_owned())));
        }
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credential::Registry(token.to_owned())));
        }
        if let Some(auth) = text("auth") {
            let wrong = || Error::Configuration {
                path: self.path.clone(),
                why: "an \"auth\" is not a name and a password in base64".to_owned(),
            };
            return decode(auth).ok_or_else(wrong).map(Some);
        }
        let both = text("username").zip(text("password"));
        Ok(both.map(|(username, password)| Credential::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        }))
    }
}

/// Whether an entry is that registry's, or a part's of it.
pub fn is_for(key: &str, host: &str) -> bool {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://");
    let its_host = bare.split('/').next().unwrap_or_default();
    its_host == host || (host == HUB && (key == HUB_KEY || its_host == "index.docker.io"))
}

/// The law: `decode(encode(name, password))` is them again, for any name without a colon.
pub fn encode(username: &str, password: &str) -> String {
    STANDARD.encode(format!("{username}:{password}"))
}

fn decode(auth: &str) -> Option<Credential> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // docker pads it.
    let password = password.trim_end_matches('\0').to_owned();
    Some(Credential::Password { username: username.to_owned(), password })
}

/// Keeps a login: with the helper that the file names for it, else in the file itself.
pub fn keep(path: &Path, key: &str, credential: &Credential) -> Result<Kept> {
    let file = read(path)?;
    let name = file.as_ref().and_then(|file| file.helper_of(key).or_else(|| file.store()));
    if let Some(name) = name {
        helper::tell(&helper::program(name)?, key, credential)?;
        return Ok(Kept::Helper(name.to_owned()));
    }
    let mut fields = file.map(|file| file.fields).unwrap_or_default();
    let entry = match credential {
        Credential::Password { username, password } => json!({"auth": encode(username, password)}),
        Credential::Identity(token) => {
            json!({"auth": encode("00000000-0000-0000-0000-000000000000", ""), "identitytoken": token})
        }
        Credential::Registry(token) => json!({"registrytoken": token}),
    };
    let auths = fields.entry("auths").or_insert_with(|| json!({}));
    if !auths.is_object() {
        *auths = json!({});
    }
    auths[key] = entry;
    write(path, &fields)?;
    Ok(Kept::File(path.to_owned()))
}

/// Takes the logins of the keys that are meant out of the file and its helpers. Tells whether there were any.
pub fn forget(path: &Path, is_meant: &dyn Fn(&str) -> bool) -> Result<bool> {
    let Some(mut file) = read(path)? else { return Ok(false) };
    let mut found = false;
    let helpers = file.fields.get("credHelpers").and_then(Value::as_object);
    for (key, name) in helpers.into_iter().flatten().filter(|(key, _)| is_meant(key)) {
        let program = helper::program(name.as_str().unwrap_or_default())?;
        found |= helper::ask(&program, key)?.is_some();
        helper::forget(&program, key)?;
    }
    let store = file.store().map(str::to_owned);
    let Some(auths) = file.fields.get_mut("auths").and_then(Value::as_object_mut) else { return Ok(found) };
    let meant: Vec<String> = auths.keys().filter(|key| is_meant(key)).cloned().collect();
    for key in &meant {
        auths.shift_remove(key);
        if let Some(name) = &store {
            helper::forget(&helper::program(name)?, key)?;
        }
    }
    if !meant.is_empty() {
        write(path, &file.fields)?;
    }
    Ok(found || !meant.is_empty())
}

/// Replaced whole, and readable by its owner alone.
fn write(path: &Path, fields: &Map<String, Value>) -> Result<()> {
    let wrong = |why: String| Error::Configuration { path: path.to_owned(), why };
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(fields, &mut serializer).map_err(|error| wrong(error.to_string()))?;
    text.push(b'\n');
    // A link to where the file is kept stays a link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = whole::directory_of(&path);
    whole::create_private(folder)
        .and_then(|()| whole::write_whole(&path, &text, folder))
        .map_err(|error| wrong(error.to_string()))
}
