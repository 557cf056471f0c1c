//! `plyfs load`: images of a file come into the store.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::context::Context;
use super::error;
use super::output;
use super::progress::Progress;
use crate::archive::{Archive, Candidate, Form, Location};
use crate::image::{self, Image};
use crate::oci::Platform;
use crate::store::Store;

/// Load images from an archive into the store
///
/// Takes what docker, podman, skopeo and buildah write, a directory or a file, compressed or not. Every image in it is
/// loaded.
#[derive(clap::Args)]
pub struct Arguments {
    /// The archive, or `docker-archive:PATH`, `oci:PATH` and so on; without it stdin is read
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// No progress, only what was loaded
    #[arg(short, long)]
    quiet: bool,
    /// Of an image for several platforms, this one: os/arch[/variant]; can be given several times
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<Platform>,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let store = context.store()?;
    let input = Input::open(&store, arguments.input.as_deref())?;
    let archive = input.explain(Archive::open(&store, &input.location))?;
    let progress = Progress::new(arguments.quiet);
    for image in chosen(&archive, &input.location, &arguments.platform)? {
        input.explain(image::load(&store, &archive, &image, &progress))?;
        report(&image)?;
    }
    Ok(())
}

/// Where the archive is, and what keeps it there.
struct Input {
    location: Location,
    spooled: Option<Spooled>,
}

/// What came through a pipe.
struct Spooled {
    name: String,
    _file: File,
}

impl Input {
    fn open(store: &Store, named: Option<&str>) -> anyhow::Result<Self> {
        match named {
            Some(text) => {
                let location = location(text)?;
                if is_stream(&location.path) {
                    let stream = File::open(&location.path);
                    return Self::spool(store, stream.with_context(|| text.to_owned())?, text);
                }
                Ok(Self { location, spooled: None })
            }
            None if io::stdin().is_terminal() => {
                anyhow::bail!("requested load from stdin, but stdin is a terminal; name a file with -i");
            }
            None => Self::spool(store, io::stdin().lock(), "stdin"),
        }
    }

    /// An archive is read at several places, so a stream is written to disk first: without a name, gone with us.
    fn spool(store: &Store, mut stream: impl Read, name: &str) -> anyhow::Result<Self> {
        let mut file = store.begin_derived()?;
        io::copy(&mut stream, &mut file).with_context(|| format!("spooling {name}"))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let location = Location { form: Form::Any, path, reference: None };
        Ok(Self { location, spooled: Some(Spooled { name: name.to_owned(), _file: file }) })
    }

    /// Errors name a file by its path; that of a spooled one says nothing.
    fn explain<T, E: Into<anyhow::Error>>(&self, result: Result<T, E>) -> anyhow::Result<T> {
        let error = |error: E| match &self.spooled {
            Some(spooled) => error.into().context(spooled.name.clone()),
            None => error.into(),
        };
        result.map_err(error)
    }
}

/// What stands behind `-i` is a path, however it is spelled.
fn location(text: &str) -> anyhow::Result<Location> {
    let plain = || Location { form: Form::Any, path: PathBuf::from(text), reference: None };
    if Path::new(text).exists() {
        return Ok(plain());
    }
    Ok(Location::parse(text)?.unwrap_or_else(plain))
}

fn is_stream(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The image that was named, or all of them; of each, the platforms that were asked for.
fn chosen(archive: &Archive, location: &Location, platforms: &[Platform]) -> anyhow::Result<Vec<Image>> {
    let wanted: Vec<Option<String>> = match &location.reference {
        Some(reference) => vec![Some(reference.clone())],
        None => match archive.images() {
            all if all.len() > 1 => {
                all.into_iter().map(|Candidate { reference, .. }| Some(reference)).collect()
            }
            _ => vec![None],
        },
    };
    let platforms: Vec<Option<&Platform>> =
        if platforms.is_empty() { vec![None] } else { platforms.iter().map(Some).collect() };
    let mut images: Vec<Image> = Vec::new();
    let mut passed_over = Vec::new();
    for wanted in &wanted {
        for platform in &platforms {
            match archive.image(wanted.as_deref(), *platform) {
                Ok((image, warnings)) => {
                    warnings.iter().for_each(|warning| error::warn(warning));
                    add(&mut images, image);
                }
                // One entry of an archive may be an attestation or for elsewhere; all of them may not.
                Err(error) => passed_over.push(error),
            }
        }
    }
    match passed_over.into_iter().next() {
        Some(error) if images.is_empty() || !platforms.contains(&None) => Err(error.into()),
        _ => Ok(images),
    }
}

/// Entries of a layout that name the same image are one image with several names.
fn add(images: &mut Vec<Image>, image: Image) {
    match images.iter_mut().find(|known| known.descriptor.digest == image.descriptor.digest) {
        Some(known) => {
            for name in image.names {
                if !known.names.contains(&name) {
                    known.names.push(name);
                }
            }
        }
        None => images.push(image),
    }
}

fn report(image: &Image) -> io::Result<()> {
    for name in &image.names {
        output::line(&format!("Loaded image: {}", name.familiar()))?;
    }
    if image.names.is_empty() {
        output::line(&format!("Loaded image ID: {}", image.id()))?;
    }
    Ok(())
}
