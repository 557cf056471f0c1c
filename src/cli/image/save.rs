//! `plyfs save`: images of the store go into an archive.

use std::path::PathBuf;

use crate::archive::{Saving, Writer};
use crate::cli::context::Context;
use crate::cli::image::destination::Destination;
use crate::cli::image::filter::has_tag;
use crate::cli::open::with_hint;
use crate::cli::progress::{Progress, SAVING};
use crate::image::{By, Found, Image, Stored};
use crate::oci::{Descriptor, Platform, Reference};

/// Save images of the store to an archive
///
/// Of a repository without a tag, all its images. Manifests and layers stay as they are: loaded again, an image has
/// the digest that it had. The archive is docker's own, which is an OCI layout too.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Where to; without it to stdout, unless that is a terminal
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Of an image for several platforms, this one: os/arch[/variant]; can be given several times
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<Platform>,
    /// `docker-archive`, or `oci-archive` without what only docker reads
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive", value_parser = saving)]
    format: Saving,
}

fn saving(text: &str) -> Result<Saving, String> {
    match text {
        "docker-archive" => Ok(Saving::Docker),
        "oci-archive" => Ok(Saving::Oci),
        _ => Err("there are docker-archive and oci-archive".to_owned()),
    }
}

/// What goes into the archive as one image: its manifest or index, and what docker's readers see of it.
struct Chosen {
    root: Descriptor,
    shown: Image,
    names: Vec<Reference>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let destination = Destination::of(arguments.output.as_deref(), "save")?;
    let store = context.store()?;
    // What is saved stays until it is.
    let _lease = store.lease()?;
    let stored = Stored::new(&store);
    let chosen = chosen(&stored, &arguments.images, &arguments.platform)?;
    let progress = Progress::passing(SAVING);
    destination.write(|out| {
        let mut writer = Writer::new(out, arguments.format);
        for image in &chosen {
            writer.add(&stored, &image.root, &image.shown, &image.names, &progress)?;
        }
        writer.finish()?;
        Ok(())
    })
}

/// Each image once, by all the names that it is asked for by.
fn chosen(stored: &Stored, wanted: &[String], platforms: &[Platform]) -> anyhow::Result<Vec<Chosen>> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for wanted in wanted {
        for found in named(stored, wanted)? {
            for image in for_platforms(stored, found, platforms)? {
                match chosen.iter_mut().find(|known| known.root.digest == image.root.digest) {
                    Some(known) => add_names(&mut known.names, image.names),
                    None => chosen.push(image),
                }
            }
        }
    }
    Ok(chosen)
}

fn add_names(names: &mut Vec<Reference>, more: Vec<Reference>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

/// What a word of the user means; a repository alone means all that it holds.
fn named(stored: &Stored, wanted: &str) -> anyhow::Result<Vec<Found>> {
    if let Ok(reference) = wanted.parse::<Reference>()
        && reference.digest().is_none()
        && !has_tag(wanted)
    {
        let names = stored.entries()?.into_iter().flat_map(|entry| entry.names);
        let of_repository = names.filter(|name| name.name() == reference.name());
        let found = of_repository.map(|name| stored.resolve(&name.to_string()));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(vec![stored.resolve(wanted).map_err(with_hint)?])
}

fn for_platforms(stored: &Stored, found: Found, platforms: &[Platform]) -> anyhow::Result<Vec<Chosen>> {
    let names = match &found.by {
        By::Name(name) => vec![name.clone()],
        By::Id { .. } => Vec::new(),
    };
    if platforms.is_empty() {
        let shown = stored.open(&found, None)?.image;
        return Ok(vec![Chosen { root: found.root().clone(), shown, names }]);
    }
    let of_platform = |platform| {
        let shown = stored.open(&found, Some(platform))?.image;
        let root = Descriptor { platform: shown.platform(), ..shown.descriptor.clone() };
        Ok(Chosen { root, shown, names: names.clone() })
    };
    platforms.iter().map(of_platform).collect()
}
