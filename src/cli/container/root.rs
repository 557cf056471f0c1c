//! A container's root, in a process of its own: the image mounted and served or, where there is no FUSE, copied out
//! under the kernel's overlayfs. What is written goes to the same upper either way.

use std::sync::Arc;

use crate::cli::context::Context;
use crate::cli::error::Usage;
use crate::cli::inside::cp::{Owners, copy_out};
use crate::cli::inside::{Inside, lower};
use crate::cli::mounting::mount::{kept, kept_upper};
use crate::cli::mounting::umount::told;
use crate::cli::open::{Opened, open};
use crate::container::{Container, Held};
use crate::lower::Lower;
use crate::mount::daemon::Launch;
use crate::mount::{self, Driver, Options, Request};
use crate::oci::Platform;
use crate::sys::mount as system;
use crate::sys::namespace;
use crate::union::{IdMap, Ids};

/// What a root is made of.
struct Root<'a> {
    context: &'a Context,
    held: &'a Held,
    opened: Opened,
    lower: Arc<Lower>,
    options: Options,
}

/// To its end.
pub fn serve(context: &Context, held: &Held, launch: Launch) -> anyhow::Result<()> {
    let container = &held.container;
    let platform: Option<Platform> = container.platform.as_ref().map(|text| text.parse()).transpose()?;
    let opened = open(context, &container.opened_by, platform.as_ref())?;
    let lower = Arc::new(lower(&opened)?);
    let root = Root { context, held, opened, lower, options: options(container)? };
    match system::open_device() {
        Ok(_) => root.mounted(launch),
        Err(why) => {
            log::warn!("{why}; so the image is copied out first");
            root.copied(launch)
        }
    }
}

impl Root<'_> {
    fn mounted(self, launch: Launch) -> anyhow::Result<()> {
        let Self { context, held, opened, lower, options } = self;
        let container = &held.container;
        let tree = kept(context, &opened, lower, &container.name, &options, Driver::Fuse)?;
        let request = Request {
            store: None,
            log: Some(held.log_of_daemon()),
            image: container.image.clone(),
            digests: Vec::new(),
            target: Some(held.rootfs()),
            upper: None,
            options,
        };
        let live = mount::start(tree, request).map_err(told)?;
        // From here on the upper says what is used.
        drop(opened);
        live.stay(launch).map_err(told)
    }

    fn copied(self, launch: Launch) -> anyhow::Result<()> {
        let Self { context, held, opened, lower, options } = self;
        let container = &held.container;
        let copy = held.make_copy()?;
        let owners = if namespace::has_one_id()? { Owners::Callers } else { Owners::Mapped };
        copy_out(&Inside::of(lower.clone()), &copy, owners)?;
        let kept = kept_upper(context, &opened, &lower, &container.name, &options)?;
        let options = kept.options(&options);
        let root = mount::over_copy(&copy, lower, &kept.paths(), &held.rootfs(), &container.image, &options);
        let root = root.map_err(told)?;
        drop(opened);
        root.stay(launch, || held.daemon_log()).map_err(told)
    }
}

/// A root file system like any other, but for devices; what goes with the container need not outlive the machine.
fn options(container: &Container) -> anyhow::Result<Options> {
    let words = if container.remove { "suid,volatile" } else { "suid" };
    let mut options = Options::parse([words]).map_err(|error| Usage(error.to_string()))?.of_a_writer();
    // All others would be nobody's, and could not be written to.
    if namespace::has_one_id()? {
        options.ids = IdMap { users: Ids::All(0), groups: Ids::All(0) };
    }
    Ok(options)
}
