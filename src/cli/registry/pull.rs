//! `plyfs pull`: an image of a registry comes into the store.

use crate::cli::context::Context;
use crate::cli::error;
use crate::cli::image::filter::has_tag;
use crate::cli::output;
use crate::cli::platform::Choice;
use crate::cli::progress::{PULLING, Progress};
use crate::cli::registry::{self, Transfer};
use crate::image::{self, Selection};
use crate::oci::{Digest, Document, Reference};
use crate::registry::{Access, Error, Registries, Repository, Root};
use crate::store::Store;

/// Fetch an image from a registry
///
/// Every layer is verified and indexed while it arrives, so that the image can be mounted as soon as it is here. What
/// the store has is not fetched again, and what came before a pull was broken off is gone on from. Mirrors, short names
/// and insecure registries are as registries.conf says.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    transfer: Transfer,
    #[command(flatten)]
    platform: Choice,
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let store = context.store()?;
    let Transfer { all_tags, quiet, .. } = arguments.transfer;
    let pull = Pull {
        store: &store,
        registries: &arguments.transfer.registries()?,
        platform: arguments.platform.platform()?,
        progress: Progress::new(quiet, PULLING),
        talk: if quiet { Talk::Quiet } else { Talk::Full },
    };
    let name = arguments.transfer.name()?;
    match all_tags {
        true => pull.all_tags(name),
        false => pull.one(name).map(drop),
    }
}

/// How much is said on stdout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    Full,
    Quiet,
    /// For a command whose output is something else.
    Silent,
}

pub struct Pull<'a> {
    pub store: &'a Store,
    pub registries: &'a Registries,
    pub platform: Option<crate::oci::Platform>,
    pub progress: Progress,
    pub talk: Talk,
}

/// Whether the store had it already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    Newer,
    UpToDate,
}

impl Pull<'_> {
    /// The image that the user's words name; tells by which of the names that may be meant.
    pub fn one(&self, text: &str) -> anyhow::Result<Reference> {
        let candidates = self.candidates(text)?;
        if !has_tag(text) {
            self.say("Using default tag: latest")?;
        }
        let (reference, repository, root) = self.find(&candidates)?;
        let news = self.fetch(&reference, &repository, &root)?;
        self.say(&status(news, &reference.familiar()))?;
        match self.talk {
            Talk::Silent => {}
            Talk::Full | Talk::Quiet => output::line(&reference.to_string())?,
        }
        Ok(reference)
    }

    fn candidates(&self, text: &str) -> anyhow::Result<Vec<Reference>> {
        Ok(self.registries.configuration().to_fetch(text)?)
    }

    /// The first of the candidates that a registry has. One that is out of reach ends the search, for it may be what is
    /// meant.
    fn find(&self, candidates: &[Reference]) -> anyhow::Result<(Reference, Repository, Root)> {
        let mut absent = None;
        for reference in candidates {
            match self.registries.find(reference) {
                Ok((repository, root)) => return Ok((reference.clone(), repository, root)),
                Err(error @ (Error::NotFound { .. } | Error::Refused { status: 401 | 403, .. })) => {
                    absent.get_or_insert((reference, error));
                }
                Err(error) => return Err(registry::explain("pulling", reference, error)),
            }
        }
        match absent {
            Some((reference, error)) => Err(registry::explain("pulling", reference, error)),
            None => anyhow::bail!("no registry to look in is named in registries.conf"),
        }
    }

    fn fetch(&self, reference: &Reference, repository: &Repository, root: &Root) -> anyhow::Result<News> {
        let what = reference.tag().map_or_else(|| reference.to_string(), str::to_owned);
        self.say(&format!("{what}: Pulling from {}", reference.repository()))?;
        let descriptor = &root.descriptor;
        let news = self.keep(reference, repository, root);
        let news = news.map_err(|error| registry::explain_copy("pulling", reference, error))?;
        self.say(&format!("Digest: {}", descriptor.digest))?;
        Ok(news)
    }

    fn keep(&self, reference: &Reference, repository: &Repository, root: &Root) -> image::Result<News> {
        let descriptor = &root.descriptor;
        let roots = std::slice::from_ref(descriptor);
        let Selection { mut image, warning } = image::select(repository, roots, self.platform.as_ref())?;
        if let Some(warning) = warning {
            error::warn(&warning.to_string());
        }
        // By a digest it stays what it is; a tag beside it says nothing.
        let name =
            &reference.digest().map_or_else(|| reference.clone(), |digest| reference.with_digest(digest));
        let news = self.news(name, &descriptor.digest, &image.descriptor.digest)?;
        match &root.document {
            Document::Index(index) => {
                let index = (descriptor, index);
                image::load_of_index(self.store, repository, index, &image, name, &self.progress)?;
            }
            Document::Manifest(_) => {
                image.names = vec![name.clone()];
                image::load(self.store, repository, &image, &self.progress)?;
            }
        }
        Ok(news)
    }

    fn news(&self, reference: &Reference, root: &Digest, manifest: &Digest) -> image::Result<News> {
        let is_it =
            |tag: &crate::store::Tag| tag.name.as_ref() == Some(reference) && tag.descriptor.digest == *root;
        let named = self.store.tags()?.iter().any(is_it);
        Ok(if named && self.store.has_blob(manifest)? { News::UpToDate } else { News::Newer })
    }

    fn all_tags(&self, text: &str) -> anyhow::Result<()> {
        let candidates = self.candidates(text)?;
        let Some(reference) = candidates.first() else { anyhow::bail!("{text} names no repository") };
        let explain = |error| registry::explain("pulling", reference, error);
        let home = self.registries.configuration().home(reference).map_err(explain)?;
        let repository = self.registries.repository(&home, Access::Pull).map_err(explain)?;
        let mut newest = News::UpToDate;
        for tag in repository.tags().map_err(explain)? {
            let Some(reference) = reference.with_tag(&tag) else {
                error::warn(&format!("{:?} is no tag", output::printable(tag.as_bytes())));
                continue;
            };
            let (repository, root) = self.registries.find(&reference).map_err(explain)?;
            if self.fetch(&reference, &repository, &root)? == News::Newer {
                newest = News::Newer;
            }
        }
        self.say(&status(newest, &reference.familiar_name()))?;
        if self.talk == Talk::Full || self.talk == Talk::Quiet {
            output::line(&reference.name())?;
        }
        Ok(())
    }

    fn say(&self, words: &str) -> std::io::Result<()> {
        match self.talk {
            Talk::Full => output::line(words),
            Talk::Quiet | Talk::Silent => Ok(()),
        }
    }
}

fn status(news: News, name: &str) -> String {
    match news {
        News::Newer => format!("Status: Downloaded newer image for {name}"),
        News::UpToDate => format!("Status: Image is up to date for {name}"),
    }
}
