//! `plyfs tag`: one more name for an image of the store.

use super::context::Context;
use crate::image::{By, Stored};
use crate::oci::Reference;

/// Give an image of the store one more name
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: Reference,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.target.digest().is_some() {
        anyhow::bail!("refusing to create a tag with a digest reference: {}", arguments.target.familiar());
    }
    let store = context.store()?;
    let found = Stored::new(&store).resolve(&arguments.source)?;
    let descriptor = match &found.by {
        By::Name(_) => &found.entry.descriptor,
        By::Id { manifest } => manifest,
    };
    Ok(store.tag(descriptor, Some(&arguments.target))?)
}
