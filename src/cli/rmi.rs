//! `plyfs rmi`: images out of the store, as docker removes them.

use std::collections::HashSet;

use anyhow::Context as _;

use super::context::Context;
use super::error::{Told, hinted, tell};
use super::output;
use super::umount::told;
use crate::image::{self, By, Entry, Found, Image, Stored};
use crate::mount;
use crate::oci::{Digest, Reference};
use crate::store::{self, Store};

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
            failed = true;
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
    let held = held(context)?;
    let plan = plan(wanted, found, arguments.force)?;
    if let (Plan::Remove(entry), false) = (&plan, arguments.force) {
        refuse_used(wanted, entry, image.as_ref(), &held)?;
    }
    apply(store, plan, image.as_ref())?;
    if !arguments.no_prune {
        sweep(store, held)?;
    }
    Ok(())
}

fn plan(wanted: &str, found: Found, force: bool) -> anyhow::Result<Plan> {
    let Found { entry, by } = found;
    match by {
        By::Name(name) if entry.names.len() > 1 => Ok(Plan::Untag(name)),
        By::Name(_) => Ok(Plan::Remove(entry)),
        By::Id { .. } if entry.names.len() > 1 && !force => {
            let names: Vec<String> = entry.names.iter().map(Reference::familiar).collect();
            let error = anyhow::anyhow!(
                "conflict: unable to delete {wanted} (must be forced) - image has several names: {}",
                names.join(" ")
            );
            Err(hinted(error, "remove it by one of its names, or all of it with --force"))
        }
        By::Id { .. } => Ok(Plan::Remove(entry)),
    }
}

/// What of this store is in use, and by whom.
struct Held {
    digests: HashSet<Digest>,
    by: Vec<User>,
}

/// A mount, or an upper.
struct User {
    digests: Vec<Digest>,
    why: String,
    hint: String,
}

impl User {
    fn of_mount(record: mount::Record) -> Self {
        let target = record.target.display();
        let (why, hint) = (format!("it is mounted at {target}"), format!("`plyfs umount {target}` first"));
        Self { why, hint, digests: record.digests }
    }

    fn of_upper(upper: mount::Kept) -> Self {
        let name = &upper.name;
        let why = format!("upper {name} is over it");
        Self { why, hint: format!("`plyfs uppers rm {name}` first"), digests: upper.base.digests }
    }
}

fn held(context: &Context) -> anyhow::Result<Held> {
    let mounts = mount::list(&context.records()).map_err(told)?;
    let uppers = mount::Uppers::of_store(context.root()).list().map_err(told)?;
    let mounts = mounts.into_iter().map(|mount| User::of_mount(mount.record));
    let by: Vec<User> = mounts.chain(uppers.into_iter().map(User::of_upper)).collect();
    Ok(Held { digests: by.iter().flat_map(|user| user.digests.iter().copied()).collect(), by })
}

fn refuse_used(wanted: &str, entry: &Entry, image: Option<&Image>, held: &Held) -> anyhow::Result<()> {
    let id = image.map(Image::id);
    let manifest = image.map(|image| image.descriptor.digest);
    let is_of = |digest: &Digest| {
        *digest == entry.descriptor.digest || Some(*digest) == id || Some(*digest) == manifest
    };
    match held.by.iter().find(|user| user.digests.iter().any(is_of)) {
        None => Ok(()),
        Some(User { why, hint, .. }) => {
            let error = anyhow::anyhow!("conflict: unable to remove {wanted} (must force) - {why}");
            Err(hinted(error, hint.as_str()))
        }
    }
}

fn apply(store: &Store, plan: Plan, image: Option<&Image>) -> anyhow::Result<()> {
    match plan {
        Plan::Untag(name) => {
            store.untag(&name)?;
            output::line(&format!("Untagged: {}", name.familiar()))?;
        }
        Plan::Remove(entry) => {
            store.remove(&entry.descriptor.digest)?;
            for name in &entry.names {
                output::line(&format!("Untagged: {}", name.familiar()))?;
            }
            let id = image.map_or(entry.descriptor.digest, Image::id);
            output::line(&format!("Deleted: {id}"))?;
        }
    }
    Ok(())
}

/// Takes from disk what nothing needs. A load that is under way keeps everything; a later removal sweeps it.
fn sweep(store: &Store, held: Held) -> anyhow::Result<()> {
    match image::sweep(store, || held.digests) {
        Ok(swept) => {
            for (digest, size) in swept.blobs {
                log::info!("removed {digest}, {size} bytes");
            }
            Ok(())
        }
        Err(image::Error::Store(busy @ store::Error::InUse)) => {
            log::info!("{busy}; what was removed is swept later");
            Ok(())
        }
        Err(error) => Err(error).context("removing what no image needs"),
    }
}
