//! What uses the images of the store: mounts, containers, and uppers, which are nothing without what they are over.

use std::collections::HashSet;

use crate::cli::container::run::explained;
use crate::cli::context::Context;
use crate::cli::mounting::umount::told;
use crate::container::{Container, Containers};
use crate::image::{Entry, Stored};
use crate::mount::{self, Kept, Mount, Uppers};
use crate::oci::Digest;
use crate::store::Store;

pub struct Users(Vec<User>);

/// A mount, a container, or an upper.
pub struct User {
    /// What of the store it needs: the manifest, the config, the layers.
    digests: Vec<Digest>,
    pub why: String,
    pub hint: String,
}

impl User {
    fn of_mount(mount: Mount) -> Self {
        let target = mount.record.target.display();
        let (why, hint) = (format!("it is mounted at {target}"), format!("`plyfs umount {target}` first"));
        Self { why, hint, digests: mount.record.digests }
    }

    fn of_container(container: Container) -> Self {
        let name = &container.name;
        let (why, hint) = (format!("container {name} is of it"), format!("`plyfs rm {name}` first"));
        Self { why, hint, digests: container.digests }
    }

    fn of_upper(upper: Kept) -> Self {
        let name = &upper.name;
        let why = format!("upper {name} is over it");
        Self { why, hint: format!("`plyfs uppers rm {name}` first"), digests: upper.base.digests }
    }
}

impl Users {
    pub fn of_store(context: &Context) -> anyhow::Result<Self> {
        let mounts = mount::list(&context.records()).map_err(told)?;
        let uppers = Uppers::of_store(context.root()).list().map_err(told)?;
        let containers = Containers::of_store(context.root()).list().map_err(explained)?;
        let mut users: Vec<User> = mounts.into_iter().map(User::of_mount).collect();
        users.extend(containers.into_iter().map(|found| User::of_container(found.container)));
        users.extend(uppers.into_iter().map(User::of_upper));
        Ok(Self(users))
    }

    /// All that any of them needs.
    pub fn digests(&self) -> HashSet<Digest> {
        self.0.iter().flat_map(|user| user.digests.iter().copied()).collect()
    }

    /// How many use the image, for any of its platforms.
    pub fn of(&self, store: &Store, entry: &Entry) -> usize {
        let manifests = Stored::new(store).manifests(entry);
        let uses = |user: &&User| user.digests.iter().any(|digest| manifests.contains(digest));
        self.0.iter().filter(uses).count()
    }

    /// Who needs something of which `is_it` holds.
    pub fn find(&self, is_it: impl Fn(&Digest) -> bool) -> Option<&User> {
        self.0.iter().find(|user| user.digests.iter().any(&is_it))
    }
}
