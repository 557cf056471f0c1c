//! `plyfs load`: images of a file come into the store.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::archive::{self, Archive, Candidate, Form, Location, Whole};
use crate::cli::context::Context;
use crate::cli::error;
use crate::cli::output;
use crate::cli::progress::{LOADING, Progress};
use crate::image::{self, Image, Stored};
use crate::oci::{Descriptor, Digest, Index, Platform, Raw, Reference, media};
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
    let progress = Progress::new(arguments.quiet, LOADING);
    // The platforms of a name come one after the other; until their index has the name, nothing leads to the others.
    let _lease = store.lease()?;
    let mut images = chosen(&archive, &input.location, &arguments.platform)?;
    let wholes = if arguments.platform.is_empty() { complete(&archive, &mut images) } else { Vec::new() };
    for image in &images {
        input.explain(image::load(&store, &archive, image, &progress))?;
    }
    join(&store, &images, &wholes)?;
    Ok(report(&images)?)
}

/// With each image that is one of an index's, the others of it, by the same names.
fn complete(archive: &Archive, images: &mut Vec<Image>) -> Vec<(Vec<Reference>, Whole)> {
    let mut wholes = Vec::new();
    for image in images.clone() {
        if let Some(whole) = archive.whole(&image.descriptor.digest) {
            let named = |other: &Image| Image { names: image.names.clone(), ..other.clone() };
            whole.images.iter().for_each(|other| add(images, named(other)));
            wholes.push((image.names, whole));
        }
    }
    wholes
}

/// A name that several platforms were loaded by is that of an index of them: the archive's own, if it has one.
fn join(store: &Store, images: &[Image], wholes: &[(Vec<Reference>, Whole)]) -> anyhow::Result<()> {
    let mut joined: Vec<Digest> = Vec::new();
    for (names, whole) in wholes {
        store.put(whole.index.bytes())?;
        match names.as_slice() {
            [] => store.tag(&whole.descriptor, None)?,
            names => names.iter().try_for_each(|name| store.tag(&whole.descriptor, Some(name)))?,
        }
        joined.extend(whole.images.iter().map(|image| image.descriptor.digest));
    }
    let named = images.iter().filter(|image| !joined.contains(&image.descriptor.digest));
    let named: Vec<&Image> = named.filter(|image| !image.names.is_empty()).collect();
    for name in named.iter().flat_map(|image| &image.names) {
        let of_name: Vec<&Image> = named.iter().filter(|image| image.names.contains(name)).copied().collect();
        if of_name.len() > 1 {
            store.tag(&put_index(store, &of_name)?, Some(name))?;
        }
    }
    joined.extend(named.iter().map(|image| image.descriptor.digest));
    // What has no name of its own any more is reached through the index.
    let entries = Stored::new(store).entries()?.into_iter();
    let digests = entries.filter(|entry| entry.names.is_empty()).map(|entry| entry.descriptor.digest);
    Ok(store.remove(&digests.filter(|digest| joined.contains(digest)).collect::<Vec<_>>())?)
}

fn put_index(store: &Store, images: &[&Image]) -> anyhow::Result<Descriptor> {
    let entry = |image: &&Image| Descriptor { platform: image.platform(), ..image.descriptor.clone() };
    let index = Raw::encode(Index::new(images.iter().map(entry).collect()))?;
    store.put(index.bytes())?;
    Ok(Descriptor::of(media::OCI_INDEX, index.bytes()))
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
    let wanted = match &location.reference {
        Some(reference) => vec![reference.clone()],
        None => wanted(archive.images()),
    };
    if platforms.is_empty() {
        return of_platform(archive, &wanted, None);
    }
    let mut images = Vec::new();
    for platform in platforms {
        images.extend(of_platform(archive, &wanted, Some(platform))?);
    }
    Ok(images)
}

/// Each name once, and each image without one.
fn wanted(candidates: Vec<Candidate>) -> Vec<String> {
    let mut wanted = Vec::new();
    for Candidate { reference, names } in candidates {
        match names.is_empty() {
            true => wanted.push(reference),
            false => names.into_iter().for_each(|name| {
                if !wanted.contains(&name) {
                    wanted.push(name);
                }
            }),
        }
    }
    wanted
}

/// Images without a name may be one image for several platforms, so those for others go where some are for this one.
/// An entry that is no image, or not for the platform, is passed over if there is another that is.
fn of_platform(
    archive: &Archive,
    wanted: &[String],
    platform: Option<&Platform>,
) -> anyhow::Result<Vec<Image>> {
    let mut images = Vec::new();
    let mut others = Vec::new();
    let mut absent = None;
    for wanted in wanted {
        match archive.image(Some(wanted), platform) {
            Ok((image, warnings)) if warnings.is_empty() || !image.names.is_empty() => {
                warnings.iter().for_each(|warning| error::warn(warning));
                add(&mut images, image);
            }
            Ok(other) => others.push(other),
            Err(error) if is_for_others(&error) => absent = absent.or(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
    if images.is_empty() {
        for (image, warnings) in others {
            warnings.iter().for_each(|warning| error::warn(warning));
            add(&mut images, image);
        }
    }
    match absent {
        Some(error) if images.is_empty() => Err(error.into()),
        _ => Ok(images),
    }
}

/// Whether it says that an entry is an attestation or the like, or for another platform, and not that it is broken.
fn is_for_others(error: &archive::Error) -> bool {
    use image::Error::{NoImage, NoPlatform, NotAnImage};
    let archive::Error::Image { source, .. } = error else { return false };
    matches!(**source, NoImage | NoPlatform { .. } | NotAnImage { .. })
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

/// Each name once, also one that several platforms have.
fn report(images: &[Image]) -> io::Result<()> {
    let mut names: Vec<&Reference> = Vec::new();
    for image in images {
        for name in &image.names {
            if !names.contains(&name) {
                names.push(name);
                output::line(&format!("Loaded image: {}", name.familiar()))?;
            }
        }
        if image.names.is_empty() {
            output::line(&format!("Loaded image ID: {}", image.id()))?;
        }
    }
    Ok(())
}
