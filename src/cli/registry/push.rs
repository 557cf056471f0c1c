//! `plyfs push`: an image of the store goes to a registry.

use std::collections::HashMap;

use crate::cli::context::Context;
use crate::cli::error::{self, Usage};
use crate::cli::image::filter::has_tag;
use crate::cli::output;
use crate::cli::progress::{PUSHING, Progress};
use crate::cli::registry::{self, Transfer};
use crate::image::{self, Parts, Stored};
use crate::oci::{Descriptor, Digest, Platform, Reference};
use crate::registry::{Access, Fate, Push, Registries};
use crate::store::Store;

/// Send an image to a registry
///
/// The image goes by the name that it has in the store, so that `plyfs tag IMAGE REGISTRY/NAME` comes first. What the
/// registry has is not sent again; what another repository of it has is mounted from there.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    transfer: Transfer,
    /// Of an image for several platforms, this one alone: os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let store = context.store()?;
    let registries = arguments.transfer.registries()?;
    let name = arguments.transfer.name()?;
    let reference: Reference = name.parse()?;
    if reference.digest().is_some() {
        return Err(Usage("cannot push a digest reference".to_owned()).into());
    }
    let Transfer { all_tags, .. } = arguments.transfer;
    let sending = Sending { store: &store, registries: &registries, arguments };
    if !all_tags && !has_tag(name) {
        sending.say("Using default tag: latest")?;
    }
    let references = match all_tags {
        true => tags_of(&store, &reference)?,
        false => vec![reference.clone()],
    };
    // Nothing of it must be swept while it is read.
    let _lease = store.lease()?;
    sending.say(&format!("The push refers to repository [{}]", reference.name()))?;
    references.iter().try_for_each(|reference| sending.send(reference))
}

fn tags_of(store: &Store, repository: &Reference) -> anyhow::Result<Vec<Reference>> {
    let names = store.tags()?.into_iter().filter_map(|tag| tag.name);
    let mut tags: Vec<Reference> =
        names.filter(|name| name.name() == repository.name() && name.tag().is_some()).collect();
    tags.sort();
    match tags.is_empty() {
        true => anyhow::bail!("an image does not exist locally with the tag: {}", repository.familiar_name()),
        false => Ok(tags),
    }
}

struct Sending<'a> {
    store: &'a Store,
    registries: &'a Registries,
    arguments: &'a Arguments,
}

impl Sending<'_> {
    fn send(&self, reference: &Reference) -> anyhow::Result<()> {
        let stored = Stored::new(self.store);
        let (root, parts) = self.choose(&stored, reference)?;
        let explain = |error| registry::explain("pushing", reference, error);
        let home = self.registries.configuration().home(reference).map_err(explain)?;
        let repository = self.registries.repository(&home, Access::Push).map_err(explain)?;
        let told = |blob: &Descriptor, fate: &Fate| self.tell(blob, fate);
        let elsewhere = elsewhere(&stored, &parts, home.reference.registry())?;
        let push = Push::new(&repository, elsewhere, &told);
        let progress = match self.arguments.transfer.quiet {
            true => Progress::Quiet,
            false => Progress::passing(PUSHING),
        };
        image::copy(&stored, &push, &parts, std::slice::from_ref(&home.reference), &progress)
            .map_err(|error| registry::explain_copy("pushing", reference, error))?;
        let tag = reference.tag().unwrap_or_default();
        match self.arguments.transfer.quiet {
            true => output::line(&reference.to_string())?,
            false => output::line(&format!("{tag}: digest: {} size: {}", root.digest, root.size))?,
        }
        Ok(())
    }

    /// What is sent: all that the name stands for, or what is here of it for one platform.
    fn choose(&self, stored: &Stored, reference: &Reference) -> anyhow::Result<(Descriptor, Parts)> {
        let found = stored.entries()?.into_iter().find(|entry| entry.names.contains(reference));
        let Some(entry) = found else {
            anyhow::bail!("an image does not exist locally with the tag: {}", reference.familiar());
        };
        let root = entry.descriptor;
        if self.arguments.platform.is_none() {
            match Parts::of(stored, &root) {
                Ok(parts) if self.has_all(&parts)? => return Ok((root, parts)),
                Ok(_) | Err(image::Error::Missing(_)) if root.is_index() => {
                    error::warn(
                        "not all of its platforms are here; the one that is pushed has a digest of its own",
                    );
                }
                Ok(parts) => return Ok((root, parts)),
                Err(error) => return Err(error.into()),
            }
        }
        let roots = std::slice::from_ref(&root);
        let image = image::select(stored, roots, self.arguments.platform.as_ref())?.image;
        let parts = Parts::of(stored, &image.descriptor)?;
        Ok((image.descriptor, parts))
    }

    fn has_all(&self, parts: &Parts) -> anyhow::Result<bool> {
        for blob in parts.layers.iter().chain(&parts.configs) {
            if !self.store.has_blob(&blob.digest)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As docker does, where nobody watches bars.
    fn tell(&self, blob: &Descriptor, fate: &Fate) {
        if !blob.is_layer() {
            return;
        }
        let words = match fate {
            Fate::There => "Layer already exists".to_owned(),
            Fate::Mounted { from } => format!("Mounted from {from}"),
            Fate::Pushed => "Pushed".to_owned(),
        };
        if let Err(error) = self.say(&format!("{}: {words}", blob.digest.short())) {
            log::debug!("stdout: {error}");
        }
    }

    fn say(&self, words: &str) -> std::io::Result<()> {
        if self.arguments.transfer.quiet { Ok(()) } else { output::line(words) }
    }
}

/// The repositories of the registry that, as far as the store knows, have each blob.
fn elsewhere(stored: &Stored, parts: &Parts, host: &str) -> anyhow::Result<HashMap<Digest, Vec<String>>> {
    let mut elsewhere: HashMap<Digest, Vec<String>> =
        parts.layers.iter().map(|layer| (layer.digest, Vec::new())).collect();
    for image in stored.images()? {
        let of_host = image.names.iter().filter(|name| name.registry() == host);
        let mut repositories: Vec<&str> = of_host.map(Reference::repository).collect();
        repositories.dedup();
        for layer in &image.manifest.value().layers {
            if let Some(known) = elsewhere.get_mut(&layer.digest) {
                let new = repositories.iter().filter(|name| !known.iter().any(|known| known == *name));
                let new: Vec<String> = new.map(|name| (*name).to_owned()).collect();
                known.extend(new);
            }
        }
    }
    Ok(elsewhere)
}
