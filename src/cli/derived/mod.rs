//! What the commands have in common that make an image of another.

pub mod append;
pub mod change;
pub mod commit;
pub mod config;
pub mod squash;

use std::io::Read;

use crate::cli::open::Opened;
use crate::cli::output;
use crate::cli::progress::{LOADING, Progress};
use crate::cli::time;
use crate::image::{Derivation, Step};
use crate::layer::write::Compression;
use crate::layer::{Codec, Identity};
use crate::oci::{History, Reference};
use crate::store::Lease;

/// How the new image is called, and told of.
#[derive(clap::Args)]
pub struct Named {
    /// Its name in the store
    #[arg(short, long, value_name = "REPOSITORY[:TAG]")]
    tag: Option<Reference>,
    /// A note in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// An image on its way.
pub struct Making<'a> {
    base: &'a Opened,
    pub derivation: Derivation<'a>,
    name: Option<&'a Reference>,
    author: Option<String>,
    message: Option<String>,
    created: String,
    /// The layers are reached by no image until there is one.
    _lease: Lease,
}

impl<'a> Making<'a> {
    pub fn new(base: &'a Opened, named: &'a Named) -> anyhow::Result<Self> {
        Self::called(base, named.tag.as_ref(), named.message.clone())
    }

    pub fn called(
        base: &'a Opened,
        name: Option<&'a Reference>,
        message: Option<String>,
    ) -> anyhow::Result<Self> {
        check_name(name)?;
        let created = time::made()?;
        let derivation = Derivation::of(&base.image, created.clone());
        let _lease = base.store.lease()?;
        Ok(Self { base, derivation, name, author: None, message, created, _lease })
    }

    /// Says who made it.
    pub fn sign(&mut self, author: Option<&String>) {
        if let Some(author) = author {
            self.derivation.config.author = Some(author.clone());
            self.author = Some(author.clone());
        }
    }

    /// One step more in its history, with the layer that it made.
    pub fn step(&mut self, by: &str, layer: Option<Identity>) {
        let history = History {
            created: Some(self.created.clone()),
            created_by: Some(by.to_owned()),
            author: self.author.clone(),
            comment: self.message.clone(),
            empty_layer: layer.is_none(),
        };
        self.derivation.steps.push(Step { history, layer });
    }

    /// Lists it in the store, and prints its id.
    pub fn finish(self) -> anyhow::Result<()> {
        let progress = Progress::passing(LOADING);
        let image = self.derivation.make(&self.base.store, self.base.source(), self.name, &progress)?;
        Ok(output::line(&image.id().to_string())?)
    }
}
/// A digest is of what was made, not a name for it.
pub fn check_name(reference: Option<&Reference>) -> anyhow::Result<()> {
    match reference.filter(|reference| reference.digest().is_some()) {
        Some(reference) => {
            anyhow::bail!("an image can't be given a digest for a name: {}", reference.familiar())
        }
        None => Ok(()),
    }
}

#[derive(clap::Args)]
pub struct Packing {
    /// How the new layer is compressed; without it, as the layer below is
    #[arg(long, value_name = "FORMAT")]
    compression: Option<Choice>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Choice {
    Gzip,
    Zstd,
    None,
}

impl Packing {
    pub fn like(&self, base: &Opened) -> anyhow::Result<Compression> {
        Ok(match self.compression {
            Some(Choice::Gzip) => Compression::Gzip,
            Some(Choice::Zstd) => Compression::Zstd,
            Some(Choice::None) => Compression::None,
            None => match top_codec(base)? {
                Some(codec) => Compression::like(codec),
                None => Compression::Gzip,
            },
        })
    }
}

/// What the topmost layer is compressed with, by its bytes.
fn top_codec(base: &Opened) -> anyhow::Result<Option<Codec>> {
    let Some(top) = base.image.manifest.value().layers.last() else { return Ok(None) };
    let mut start = Vec::new();
    base.source().blob(top)?.take(Codec::MAGIC as u64).read_to_end(&mut start)?;
    Ok(Some(Codec::detect(&start)))
}
