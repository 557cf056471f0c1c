//! `plyfs rmi`: images out of the store, as docker removes them.

use std::io;

use crate::cli::context::Context;
use crate::cli::error::{Told, hinted, tell};
use crate::cli::output;
use crate::cli::users::{User, Users};
use crate::image::{self, By, Candidate, Entry, Found, Image, Removal, Stored};
use crate::oci::{Digest, Reference};
use crate::store::{self, Reach, Store};

/// Remove images from the store
///
/// By a name, that name goes, and the image with its last one. What no other image needs is removed from disk.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Also an image that has several names, or is mounted, or has an upper: what they need is kept
    #[arg(short, long)]
    force: bool,
    /// Remove names only, and keep on disk what they named
    #[arg(long)]
    no_prune: bool,
}

/// What removing comes to.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// The image has other names.
    Untag(Reference),
    Remove(Entry),
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let store = context.store()?;
    let mut failed = false;
    for wanted in &arguments.images {
        if let Err(error) = remove(context, &store, wanted, arguments) {
            // As docker: with force, what is not there is as it should be.
            let is_gone = matches!(error.downcast_ref(), Some(image::Error::NotFound(_)));
            failed |= !(arguments.force && is_gone);
            tell(&error);
        }
    }
    if failed { Err(Told::FAILED.into()) } else { Ok(()) }
}

fn remove(context: &Context, store: &Store, wanted: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let stored = Stored::new(store);
    let found = stored.resolve(wanted)?;
    // An image that can't be read can be removed all the same.
    let image = stored.open(&found, None).ok().map(|selection| selection.image);
    match plan(wanted, found, arguments.force)? {
        Plan::Untag(name) => {
            store.untag(&name)?;
            Ok(output::line(&format!("Untagged: {}", name.familiar()))?)
        }
        Plan::Remove(entry) => {
            if !arguments.force {
                refuse_used(wanted, &entry, image.as_ref(), &Users::of_store(context)?)?;
            }
            take_out(context, store, &entry, arguments)?;
            Ok(report(&entry, image.as_ref())?)
        }
    }
}

fn plan(wanted: &str, found: Found, force: bool) -> anyhow::Result<Plan> {
    let Found { entry, by } = found;
    match by {
        By::Name(name) if entry.names.len() > 1 => Ok(Plan::Untag(name)),
        By::Name(_) => Ok(Plan::Remove(entry)),
        By::Id { .. } if entry.names.len() > 1 && !force => {
            let names: Vec<String> = entry.names.iter().map(Reference::familiar).collect();
            let error = anyhow::anyhow!(
                "conflict: unable to delete {wanted} (must be forced) - image is referenced in multiple repositories"
            );
            let hint =
                format!("remove it by one of its names ({}), or all of it with --force", names.join(", "));
            Err(hinted(error, hint))
        }
        By::Id { .. } => Ok(Plan::Remove(entry)),
    }
}

fn refuse_used(wanted: &str, entry: &Entry, image: Option<&Image>, users: &Users) -> anyhow::Result<()> {
    let id = image.map(Image::id);
    let manifest = image.map(|image| image.descriptor.digest);
    let is_of = |digest: &Digest| {
        *digest == entry.descriptor.digest || Some(*digest) == id || Some(*digest) == manifest
    };
    match users.find(is_of) {
        None => Ok(()),
        Some(User { why, hint, .. }) => {
            let error = anyhow::anyhow!("conflict: unable to remove {wanted} (must force) - {why}");
            Err(hinted(error, hint.as_str()))
        }
    }
}

/// The image's names, and what nothing else needs. Where another process keeps all that is there, a later removal
/// sweeps it.
fn take_out(context: &Context, store: &Store, entry: &Entry, arguments: &Arguments) -> anyhow::Result<()> {
    let digest = entry.descriptor.digest;
    if arguments.no_prune {
        return Ok(store.remove(&[digest])?);
    }
    let guard = match store.exclusive() {
        Err(busy @ store::Error::InUse) => {
            log::info!("{busy}; what was removed is swept later");
            return Ok(store.remove(&[digest])?);
        }
        guard => guard?,
    };
    let held = Users::of_store(context)?.digests();
    let is_it = |candidate: &Candidate<'_>| candidate.entry.descriptor.digest == digest;
    Ok(Removal::plan(store, guard, held, Reach::Unused, is_it)?.apply()?)
}

fn report(entry: &Entry, image: Option<&Image>) -> io::Result<()> {
    for name in &entry.names {
        output::line(&format!("Untagged: {}", name.familiar()))?;
    }
    output::line(&format!("Deleted: {}", image.map_or(entry.descriptor.digest, Image::id)))
}
