//! Images go out of the store, with what nothing else needs.

use std::collections::HashSet;

use super::Result;
use super::stored::{Entry, Stored, reachable_from};
use crate::oci::Digest;
use crate::store::{Exclusive, Needs, Reach, Store, Sweep};

/// Images to be removed and what goes with them. Decided while nothing can come in, and acted on before anything can.
#[derive(Debug)]
pub struct Removal {
    store: Store,
    guard: Exclusive,
    images: Vec<Entry>,
    sweep: Sweep,
}

/// An image that may be removed.
#[derive(Debug)]
pub struct Candidate<'a> {
    pub entry: &'a Entry,
    /// Something uses it: it, or an image that it holds, is among what is held, or another process has it open.
    pub is_used: bool,
}

impl Removal {
    /// Chooses the images that go. What is `held` stays on disk all the same; it is to be found out with `guard` in
    /// hand, when nothing can come in.
    pub fn plan(
        store: &Store,
        guard: Exclusive,
        held: HashSet<Digest>,
        reach: Reach,
        mut goes: impl FnMut(&Candidate<'_>) -> bool,
    ) -> Result<Self> {
        let stored = Stored::new(store);
        let is_held = |digest: &Digest| held.contains(digest) || guard.pinned().contains(digest);
        let (images, others): (Vec<_>, Vec<_>) = stored.entries()?.into_iter().partition(|entry| {
            goes(&Candidate { entry, is_used: stored.manifests(entry).iter().any(is_held) })
        });
        let needs_of = |entries: &[Entry]| {
            reachable_from(store, entries.iter().map(|entry| entry.descriptor.clone()).collect())
        };
        // What can't be read of an image that goes is no reason to keep it.
        let mut needs = Needs { live: needs_of(&others)?, gone: needs_of(&images).unwrap_or_default() };
        needs.live.extend(held);
        let sweep = store.plan_sweep(&guard, &needs, reach)?;
        Ok(Self { store: store.clone(), guard, images, sweep })
    }

    pub fn images(&self) -> &[Entry] {
        &self.images
    }

    /// All bytes that come free.
    pub fn bytes(&self) -> u64 {
        self.sweep.bytes()
    }

    /// Removes them. On a full disk too: what can be made again goes first, and leaves room for the new list of names.
    pub fn apply(&self) -> Result<()> {
        self.store.sweep_derived(&self.guard, &self.sweep)?;
        let manifests: Vec<Digest> = self.images.iter().map(|entry| entry.descriptor.digest).collect();
        self.store.remove(&manifests)?;
        self.store.sweep_blobs(&self.guard, &self.sweep)?;
        for blob in &self.sweep.blobs {
            log::info!("removed {}, {} bytes", blob.name, blob.size);
        }
        Ok(())
    }
}
