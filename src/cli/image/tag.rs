//! `plyfs tag`: one more name for an image of the store.

use crate::cli::context::Context;
use crate::image::Stored;
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
    Ok(store.tag(found.root(), Some(&arguments.target))?)
}
