//! `plyfs squash`: layers become one.

use std::sync::Arc;

use crate::cli::context::Context;
use crate::cli::derived::{Making, Named, Packing};
use crate::cli::open::{Opened, open};
use crate::cli::platform::Choice;
use crate::cli::progress::{LOADING, Progress};
use crate::cli::written::{self, ExportError};
use crate::image::{self, Content};
use crate::lower::{self, Lower};
use crate::union::diff::{self, Diff, Opaque, Sides, Unnameable};

/// Make one layer of an image's layers
///
/// Prints the image's id. What a file system shows stays the same; what upper layers have hidden or replaced is no
/// longer in it. Of the history stays what tells of the layers that stay.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The lowest layer that is taken in, by the start of its digest or diff ID; or how many from the top [default: all]
    #[arg(short, long, value_name = "LAYER|N")]
    from_layer: Option<String>,
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    packing: Packing,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let base = open(context, &arguments.image, arguments.platform.platform()?.as_ref())?;
    let kept = match &arguments.from_layer {
        Some(from) => position(&base, from)?,
        None => 0,
    };
    let mut making = Making::new(&base, &arguments.named)?;
    making.derivation.kept = kept;
    let diff = Diff {
        sides: sides(&base, kept)?,
        owners: diff::Owners::AsStored,
        opaque: Opaque::Listed,
        latest: written::latest()?,
    };
    let layer = image::written(&base.store, arguments.packing.like(&base)?, |writer| {
        let (entries, _) = diff::export(&diff, writer, Unnameable::Refused, diff::Place::Root)?;
        Ok::<_, ExportError>(Content::of(entries))
    })?;
    making.step("plyfs squash", layer);
    making.finish()
}

/// How many layers lie below the one that is meant.
fn position(base: &Opened, from: &str) -> anyhow::Result<usize> {
    let layers = base.image.layers()?;
    if let Some(count) = from.parse().ok().filter(|count| (1..=layers.len()).contains(count)) {
        return Ok(layers.len() - count);
    }
    let start = from.strip_prefix("sha256:").unwrap_or(from);
    let is_meant = |layer: &image::LayerOf| {
        [layer.descriptor.digest, layer.diff_id.0].iter().any(|digest| digest.hex().starts_with(start))
    };
    let mut meant = layers.iter().enumerate().filter(|(_, layer)| is_meant(layer)).map(|(at, _)| at);
    match (meant.next(), meant.next()) {
        (Some(at), None) if !start.is_empty() => Ok(at),
        (Some(_), Some(_)) => anyhow::bail!("{from} is the start of more than one layer's digest"),
        _ => anyhow::bail!("{}: no such layer: {from}", base.shown()),
    }
}

fn sides(base: &Opened, kept: usize) -> anyhow::Result<Sides> {
    let progress = Progress::passing(LOADING);
    let layers = image::layers(&base.store, base.source(), &base.image, &progress)?;
    let tree = |count: usize| -> anyhow::Result<lower::Below> {
        Ok(lower::image(Arc::new(Lower::open(&base.store, layers[..count].to_vec())?)))
    };
    let before = if kept == 0 { None } else { Some(tree(kept)?) };
    Ok(Sides::Trees { before, after: tree(layers.len())? })
}
