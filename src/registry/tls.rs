//! Whom a connection trusts and who it says it is: the system's roots, and the `certs.d` folders of docker and of the
//! containers tools.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::surroundings::Surroundings;
use super::{Error, Result};

/// What a registry's folder holds: `*.crt` are roots, `NAME.cert` and `NAME.key` say who we are.
#[derive(Default)]
pub struct Certificates {
    folder: Option<PathBuf>,
    roots: Vec<Certificate<'static>>,
    own: Option<ClientCert>,
}

impl Certificates {
    /// `chosen` is a folder that the user named; otherwise the first that there is for the host.
    pub fn of(host: &str, chosen: Option<&Path>, surroundings: &Surroundings) -> Result<Self> {
        let folders = match chosen {
            Some(folder) => vec![folder.to_owned()],
            None => folders(host, surroundings),
        };
        match folders.into_iter().find(|folder| folder.is_dir()) {
            Some(folder) => Self::read(folder),
            None => match chosen {
                Some(folder) => Err(wrong(folder, "there is no such folder")),
                None => Ok(Self::default()),
            },
        }
    }

    fn read(folder: PathBuf) -> Result<Self> {
        let mut certificates = Self::default();
        let fault = |error: io::Error| wrong(&folder, error);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(fault)? {
            files.push(entry.map_err(fault)?.path());
        }
        files.sort();
        for file in &files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => certificates.roots.extend(read_certificates(file)?),
                Some("cert") => certificates.own = Some(read_own(file)?),
                Some("key") if !file.with_extension("cert").exists() => {
                    return Err(wrong(file, "its certificate, of the same name with .cert, is missing"));
                }
                _ => {}
            }
        }
        certificates.folder = Some(folder);
        Ok(certificates)
    }

    /// Whether anyone has set this registry up.
    pub fn are_there(&self) -> bool {
        self.folder.is_some()
    }

    /// For connections to the registry itself.
    pub fn for_registry(&self, verify: bool) -> TlsConfig {
        self.config(verify, self.own.clone())
    }

    /// For where it redirects to: whoever that is, they are not told who we are.
    pub fn for_others(&self, verify: bool) -> TlsConfig {
        self.config(verify, None)
    }

    fn config(&self, verify: bool, own: Option<ClientCert>) -> TlsConfig {
        let roots = system_roots().iter().chain(&self.roots).cloned();
        TlsConfig::builder()
            .root_certs(RootCerts::from(roots))
            .client_cert(own)
            .disable_verification(!verify)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build()
    }
}

fn folders(host: &str, surroundings: &Surroundings) -> Vec<PathBuf> {
    let user = surroundings.config.iter().map(|config| config.join("containers/certs.d"));
    let docker = surroundings.docker().into_iter().map(|docker| docker.join("certs.d"));
    let system = ["containers/certs.d", "docker/certs.d"].map(|name| surroundings.system.join(name));
    user.chain(docker).chain(system).map(|folder| folder.join(host)).collect()
}

/// Read once: there are over a hundred.
fn system_roots() -> &'static [Certificate<'static>] {
    static ROOTS: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            log::debug!("the system's certificates: {error}");
        }
        found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect()
    })
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(&read(path)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(path, error))? {
            found.push(certificate);
        }
    }
    match found.is_empty() {
        true => Err(wrong(path, "there is no certificate in it")),
        false => Ok(found),
    }
}

fn read_own(path: &Path) -> Result<ClientCert> {
    let chain = read_certificates(path)?;
    let key = path.with_extension("key");
    let private = PrivateKey::from_pem(&read(&key)?).map_err(|error| wrong(&key, error))?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| wrong(path, error))
}

fn wrong(path: &Path, why: impl ToString) -> Error {
    Error::Configuration { path: path.to_owned(), why: why.to_string() }
}
