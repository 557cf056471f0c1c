//! An image as the user named it: one of the store, by a name or an id, one in a file, or one that a registry has.

use crate::archive::{Archive, Location};
use crate::cli::context::Context;
use crate::cli::error::{self, hinted};
use crate::cli::facts;
use crate::cli::progress::{PULLING, Progress};
use crate::cli::registry::pull::{Pull, Talk};
use crate::cli::registry::{self, Connection};
use crate::image::{self, Image, Source, Stored};
use crate::oci::{Platform, Reference};
use crate::store::{Lease, Store};

pub struct Opened {
    pub store: Store,
    pub image: Image,
    pub from: From,
    /// Until the command is done with it, what it uses stays in the store.
    _lease: Lease,
}

pub enum From {
    /// By a name, or by its id.
    Store(Stored, image::Found),
    File(Archive, Location),
}

impl Opened {
    pub fn source(&self) -> &dyn Source {
        match &self.from {
            From::Store(stored, _) => stored,
            From::File(archive, _) => archive,
        }
    }

    /// As it is shown where it is mounted.
    pub fn shown(&self) -> String {
        match &self.from {
            From::Store(..) => {
                self.image.names.first().map_or_else(|| self.image.id().short(), Reference::familiar)
            }
            From::File(_, location) => location.to_string(),
        }
    }

    /// By what it is found again, from wherever a command is run: a name may move to another image.
    pub fn lasting(&self) -> anyhow::Result<String> {
        match &self.from {
            From::Store(..) => Ok(self.image.descriptor.digest.to_string()),
            From::File(_, location) => {
                let path = std::path::absolute(&location.path)?;
                Ok(Location { path, ..location.clone() }.to_string())
            }
        }
    }

    pub fn repository_digests(&self) -> Vec<String> {
        match &self.from {
            From::Store(_, found) => facts::repository_digests(&self.image.names, &found.entry.descriptor),
            // A name in a file says nothing of what a registry has by it.
            From::File(..) => Vec::new(),
        }
    }
}

/// Finds it. What is worth knowing of the choice is said on stderr.
pub fn open(context: &Context, wanted: &str, platform: Option<&Platform>) -> anyhow::Result<Opened> {
    let store = context.store()?;
    match Location::parse(wanted)? {
        Some(location) => in_file(store, location, platform),
        None => in_store(store, wanted, platform),
    }
}

fn in_file(store: Store, location: Location, platform: Option<&Platform>) -> anyhow::Result<Opened> {
    let lease = store.lease()?;
    let archive = Archive::open(&store, &location)?;
    let (image, warnings) = archive.image(location.reference.as_deref(), platform)?;
    warnings.iter().for_each(|warning| error::warn(warning));
    Ok(Opened { store, image, from: From::File(archive, location), _lease: lease })
}

/// As [`open`]; what neither the store nor a file has is fetched from its registry first.
pub fn open_or_pull(context: &Context, wanted: &str, platform: Option<&Platform>) -> anyhow::Result<Opened> {
    let store = context.store()?;
    if let Some(location) = Location::parse(wanted)? {
        return in_file(store, location, platform);
    }
    match resolve(&Stored::new(&store), wanted) {
        Err(missing @ image::Error::NotFound(_)) if may_be_pulled(wanted) => {
            // The store is where it was looked for first: what it lacks is said first.
            let pulled =
                pull(&store, wanted, platform).map_err(|error| error.context(missing.to_string()))?;
            in_store(store, &pulled.to_string(), platform)
        }
        _ => in_store(store, wanted, platform),
    }
}

fn pull(store: &Store, wanted: &str, platform: Option<&Platform>) -> anyhow::Result<Reference> {
    let name = registry::name(wanted)?;
    let registries = Connection::default().registries(None)?;
    error::note(&format!("unable to find image '{name}' locally, pulling it"));
    let pull = Pull {
        store,
        registries: &registries,
        platform: platform.cloned(),
        progress: Progress::passing(PULLING),
        talk: Talk::Silent,
    };
    pull.one(name)
}

/// An id or its start is not looked for anywhere else.
fn may_be_pulled(wanted: &str) -> bool {
    let name = wanted.strip_prefix(registry::TRANSPORT).unwrap_or(wanted);
    name.parse::<Reference>().is_ok() && !name.starts_with("sha256:")
}

fn in_store(store: Store, wanted: &str, platform: Option<&Platform>) -> anyhow::Result<Opened> {
    let stored = Stored::new(&store);
    let found = resolve(&stored, wanted).map_err(with_hint)?;
    // Not before: to find an image by its id many others are looked at.
    let lease = store.lease()?;
    let selection = stored.open(&found, platform).map_err(|error| of_platform(wanted, error))?;
    if let Some(warning) = selection.warning {
        error::warn(&warning.to_string());
    }
    Ok(Opened { store, image: selection.image, from: From::Store(stored, found), _lease: lease })
}

/// As docker has it, where the name is here and not for that platform.
fn of_platform(name: &str, error: image::Error) -> anyhow::Error {
    let image::Error::NoPlatform { wanted, available } = &error else { return error.into() };
    let there: Vec<String> = available.iter().map(Platform::to_string).collect();
    let said = anyhow::anyhow!(
        "image with reference {name} was found but does not provide the specified platform ({wanted})"
    );
    let hint = format!(
        "there is {}; `plyfs pull --platform {wanted} {name}` looks for it in its registry",
        there.join(", ")
    );
    hinted(said, hint)
}

/// A short name may also be that of an image which was pulled from where registries.conf looks for such.
fn resolve(stored: &Stored, wanted: &str) -> image::Result<image::Found> {
    let name = wanted.strip_prefix(registry::TRANSPORT).unwrap_or(wanted);
    let missing = match stored.resolve(name) {
        Err(error @ image::Error::NotFound(_)) if !Reference::names_registry(name) => error,
        resolved => return resolved,
    };
    match Connection::default().registries(None).map(|registries| registries.configuration().candidates(name))
    {
        Ok(Ok(candidates)) => {
            let found = candidates.iter().find_map(|candidate| stored.resolve(&candidate.to_string()).ok());
            found.ok_or(missing)
        }
        Ok(Err(_)) => Err(missing),
        Err(error) => {
            log::debug!("short names: {error:#}");
            Err(missing)
        }
    }
}

/// The error, with what the user can do about an image that is not there.
pub fn with_hint(error: image::Error) -> anyhow::Error {
    match error {
        image::Error::NotFound(_) => hinted(
            error,
            "`plyfs images` lists what there is; `plyfs pull` and `plyfs load -i FILE` bring more",
        ),
        _ => error.into(),
    }
}
