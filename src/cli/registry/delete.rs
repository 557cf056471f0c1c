//! `plyfs delete`: an image is removed from a registry.

use crate::cli::output;
use crate::cli::registry::{self, Connection};
use crate::oci::Reference;
use crate::registry::{Access, Registries, Result};

/// Remove an image from a registry
///
/// All tags of the image go with it, as with `skopeo delete`. The store keeps what it has; `plyfs rmi` removes from
/// there.
#[derive(clap::Args)]
pub struct Arguments {
    /// `docker://REGISTRY/NAME:TAG` or `@DIGEST`; the transport is asked for, so that no local image is meant
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Some(name) = arguments.image.strip_prefix(registry::TRANSPORT) else {
        let message =
            format!("{}: only {}NAME is deleted from a registry", arguments.image, registry::TRANSPORT);
        return Err(crate::cli::error::Usage(message).into());
    };
    let reference: Reference = name.parse()?;
    let registries = arguments.connection.registries(None)?;
    let deleted = delete(&registries, &reference);
    let deleted = deleted.map_err(|error| registry::explain("deleting", &reference, error))?;
    Ok(output::line(&format!("Deleted: {deleted}"))?)
}

fn delete(registries: &Registries, reference: &Reference) -> Result<String> {
    let home = registries.configuration().home(reference)?;
    let repository = registries.repository(&home, Access::Delete)?;
    let digest = match home.reference.digest() {
        Some(digest) => digest,
        None => repository.digest(&home.reference)?,
    };
    repository.delete(&digest)?;
    Ok(reference.with_digest(digest).familiar())
}
