//! Programs that keep credentials: `docker-credential-NAME get|store|erase`, as docker's credential helpers are called.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Credential;
use crate::registry::{Error, Result};

/// By this name a helper gives and takes an identity token.
const TOKEN: &str = "<token>";

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The program's name, found in PATH: a file of settings must not point anywhere else.
pub fn program(name: &str) -> Result<PathBuf> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        let why = "this is not the name of a helper".to_owned();
        return Err(Error::Helper { name: format!("{name:?}"), why });
    }
    Ok(PathBuf::from(format!("docker-credential-{name}")))
}

/// What it has for the registry.
pub fn ask(program: &Path, key: &str) -> Result<Option<Credential>> {
    let (success, text) = run(program, "get", key.as_bytes())?;
    if !success {
        let said = text.trim();
        return match said.starts_with("credentials not found") || said.is_empty() {
            true => Ok(None),
            false => Err(wrong(program, said)),
        };
    }
    let Answer { username, secret, .. } =
        serde_json::from_str(&text).map_err(|error| wrong(program, &error.to_string()))?;
    Ok(match username.as_str() {
        _ if secret.is_empty() => None,
        TOKEN => Some(Credential::Identity(secret)),
        _ => Some(Credential::Password { username, password: secret }),
    })
}

pub fn tell(program: &Path, key: &str, credential: &Credential) -> Result<()> {
    let (username, secret) = match credential.clone() {
        Credential::Password { username, password } => (username, password),
        Credential::Identity(token) | Credential::Registry(token) => (TOKEN.to_owned(), token),
    };
    let answer = Answer { server: key.to_owned(), username, secret };
    let input = serde_json::to_vec(&answer).map_err(|error| wrong(program, &error.to_string()))?;
    expect(program, "store", &input)
}

pub fn forget(program: &Path, key: &str) -> Result<()> {
    expect(program, "erase", key.as_bytes())
}

fn expect(program: &Path, action: &str, input: &[u8]) -> Result<()> {
    match run(program, action, input)? {
        (true, _) => Ok(()),
        (false, said) if said.trim().starts_with("credentials not found") => Ok(()),
        (false, said) => Err(wrong(program, said.trim())),
    }
}

fn run(program: &Path, action: &str, input: &[u8]) -> Result<(bool, String)> {
    let failed = |error: std::io::Error| wrong(program, &error.to_string());
    let mut child = Command::new(program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input) {
            // It may have its answer without having read.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn wrong(program: &Path, why: &str) -> Error {
    Error::Helper { name: program.display().to_string(), why: why.to_owned() }
}
