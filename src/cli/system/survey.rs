//! Everything in the store, and what of it is in use.

use std::collections::HashSet;

use crate::cli::context::Context;
use crate::cli::mounting::umount::told;
use crate::cli::users::Users;
use crate::image::{Entry, Stored, reachable_from};
use crate::mount::{Kept as Upper, Uppers};
use crate::oci::Digest;
use crate::store::{Derived, Kept, Store};

pub struct Survey {
    pub store: Store,
    pub entries: Vec<Entry>,
    pub users: Users,
    pub uppers: Vec<Upper>,
    pub blobs: Vec<Kept>,
    pub derived: Vec<(Derived, Vec<Kept>)>,
    pub cached: Vec<Kept<[u8; 32]>>,
    pub aside: Vec<Kept>,
    /// What the images that are in use need.
    pub live: HashSet<Digest>,
}

impl Survey {
    pub fn of(context: &Context) -> anyhow::Result<Self> {
        let store = context.store()?;
        let entries = Stored::new(&store).entries()?;
        let users = Users::of_store(context)?;
        let roots = entries.iter().filter(|entry| users.of(&store, entry) > 0);
        let mut live = reachable_from(&store, roots.map(|entry| entry.descriptor.clone()).collect())?;
        live.extend(users.digests());
        let all = |kind| Ok((kind, store.all_derived(kind)?));
        Ok(Self {
            entries,
            users,
            uppers: Uppers::of_store(context.root()).list().map_err(told)?,
            blobs: store.blobs()?,
            derived: Derived::ALL.into_iter().map(all).collect::<anyhow::Result<_>>()?,
            cached: store.cached()?,
            aside: store.aside()?,
            live,
            store,
        })
    }
}

pub fn bytes<Name>(files: &[Kept<Name>]) -> u64 {
    files.iter().map(|file| file.size).sum()
}
