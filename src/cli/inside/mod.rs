//! An image looked into with no mount: its merged tree, and the bytes of its files.

pub mod attributes;
pub mod cat;
pub mod cp;
pub mod export;
pub mod ls;
pub mod place;
pub mod tree;
pub mod walk;

use std::sync::Arc;

use crate::cli::context::Context;
use crate::cli::open::{Opened, open_or_pull};
use crate::cli::progress::{LOADING, Progress};
use crate::image;
use crate::layer::{Id, Index};
use crate::lower::{self, Below, Lower};
use crate::oci::Platform;

/// How much is asked for at once.
const STEP: u32 = 1 << 20;

pub struct Inside {
    lower: Arc<Lower>,
}

/// The images that one command looks into, each opened once.
pub struct Images<'a> {
    context: &'a Context,
    platform: Option<Platform>,
    opened: Vec<(String, Inside)>,
}

impl<'a> Images<'a> {
    pub fn new(context: &'a Context, platform: Option<Platform>) -> Self {
        Self { context, platform, opened: Vec::new() }
    }

    pub fn get(&mut self, wanted: &str) -> anyhow::Result<&Inside> {
        let at = match self.opened.iter().position(|(name, _)| name == wanted) {
            Some(at) => at,
            None => {
                let opened = open_or_pull(self.context, wanted, self.platform.as_ref())?;
                self.opened.push((wanted.to_owned(), Inside::of(Arc::new(lower(&opened)?))));
                self.opened.len() - 1
            }
        };
        Ok(&self.opened[at].1)
    }

    /// Whether what was shown of the images is what is in them.
    pub fn check_intact(&self) -> anyhow::Result<()> {
        Ok(self.opened.iter().try_for_each(|(_, inside)| inside.tree().intact())?)
    }
}

/// Merges the image's layers; those that have no index yet are read through once.
pub fn lower(opened: &Opened) -> anyhow::Result<Lower> {
    match attempt(opened) {
        Err(error) if error.downcast_ref().is_some_and(lower::Error::is_damage) => attempt(opened),
        done => done,
    }
}

/// The root of what the image shows.
pub fn below(opened: &Opened) -> anyhow::Result<Below> {
    Ok(lower::image(Arc::new(lower(opened)?)))
}

fn attempt(opened: &Opened) -> anyhow::Result<Lower> {
    let progress = Progress::passing(LOADING);
    let layers = image::layers(&opened.store, opened.source(), &opened.image, &progress)?;
    Ok(Lower::open(&opened.store, layers)?)
}

impl Inside {
    pub fn of(lower: Arc<Lower>) -> Self {
        Self { lower }
    }

    pub fn tree(&self) -> &Index {
        self.lower.tree()
    }

    /// Calls `serve` with up to `length` bytes at `offset` of a file; fewer only at its end.
    pub fn read_at<R>(
        &self,
        id: Id,
        offset: u64,
        length: u32,
        serve: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, lower::Error> {
        self.lower.read(id, offset, length, serve)
    }

    /// All of a file, in order.
    pub fn read(&self, id: Id, mut serve: impl FnMut(&[u8]) -> std::io::Result<()>) -> anyhow::Result<()> {
        self.read_range(id, 0, self.tree().inode(id).size(), |_, bytes| serve(bytes))
    }

    /// A part of a file, in order, each piece with its offset.
    pub fn read_range(
        &self,
        id: Id,
        start: u64,
        length: u64,
        mut serve: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let end = start.saturating_add(length);
        let mut at = start;
        while at < end {
            let wanted = u32::try_from(end - at).unwrap_or(u32::MAX).min(STEP);
            let served = self.read_at(id, at, wanted, |bytes| serve(at, bytes).map(|()| bytes.len()))??;
            if served == 0 {
                anyhow::bail!("the file ends {} bytes early", end - at);
            }
            at += served as u64;
        }
        Ok(())
    }
}
