//! `plyfs commit`: what was written to an image becomes an image.

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::derived::change;
use crate::cli::derived::{Making, Packing};
use crate::cli::written::{ExportError, Form, Which};
use crate::image::{self, Content};
use crate::oci::Reference;

/// Make an image of what was written to one
///
/// Prints the image's id. Its layer holds what changed, and costs as much; the layers below are shared with the image
/// that was written to. The upper stays, over the image that it was over. One that is mounted is not paused: where it is
/// written to meanwhile, nothing is made.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Its name in the store
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<Reference>,
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// A Dockerfile instruction for the image's config, such as `CMD ["sh"]`; can be given several times
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// A note in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    packing: Packing,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let written = arguments.which.open(context, arguments.form.opaque())?;
    let base = &written.image;
    let mut making = Making::called(base, arguments.reference.as_ref(), arguments.message.clone())?;
    let run = making.derivation.config.config.get_or_insert_default();
    arguments.changes.iter().try_for_each(|instruction| change::apply(run, instruction))?;
    making.derivation.config.comment.clone_from(&arguments.message);
    making.sign(arguments.author.as_ref());
    let layer = image::written(&base.store, arguments.packing.like(base)?, |writer| {
        let entries = written.export(writer, arguments.form.unnameable())?;
        Ok::<_, ExportError>(Content::of(entries))
    });
    making.step("plyfs commit", layer.with_context(|| arguments.which.shown())?);
    making.finish()
}
