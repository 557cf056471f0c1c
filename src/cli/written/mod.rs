//! What was written to an image, as the user names it: an upper of the store, the mount that writes to one, or any
//! directory in the form of overlayfs, with the image that it is over.

pub mod apply;
pub mod diff;
pub mod uppers;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::error::{Usage, hinted};
use crate::cli::inside;
use crate::cli::mounting::umount::told;
use crate::cli::open::{self, Opened};
use crate::cli::time;
use crate::layer::Time;
use crate::layer::write::Writer;
use crate::mount::{self, Kept, Uppers};
use crate::oci::Platform;
use crate::sys::namespace;
use crate::union;
use crate::union::diff::{Against, Diff, Opaque, Owners, Print, Sides, Unnameable};
use crate::union::upper::{Namespace, View};

#[derive(clap::Args)]
pub struct Which {
    /// As `plyfs uppers` lists it, or where it is mounted; with --base, any upper directory of overlayfs
    #[arg(value_name = "UPPER|MOUNT")]
    upper: String,
    /// The image that an upper directory of your own is over
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// The directory's private attributes are `user.` ones, as of a mount with that option
    #[arg(long, requires = "base")]
    userxattr: bool,
}

/// What becomes of what layers say in several ways, or not at all.
#[derive(clap::Args)]
pub struct Form {
    /// Leave out what a layer has no form for, such as names that start with `.wh.`
    #[arg(long)]
    skip: bool,
    /// How a directory that hides all below it is told: by a whiteout of each name, or by one marker
    #[arg(long, value_name = "FORM", default_value = "listed")]
    opaque: OpaqueForm,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum OpaqueForm {
    Listed,
    Marker,
}

impl Form {
    pub fn opaque(&self) -> Opaque {
        match self.opaque {
            OpaqueForm::Listed => Opaque::Listed,
            OpaqueForm::Marker => Opaque::Marker,
        }
    }

    pub fn unnameable(&self) -> Unnameable {
        if self.skip { Unnameable::Skipped } else { Unnameable::Refused }
    }
}

pub struct Written {
    pub image: Opened,
    pub diff: Diff,
    /// Kept from being swept.
    _before: Option<Opened>,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Union(#[from] crate::union::Error),
    #[error("it was written to while it was read")]
    Meanwhile,
}

/// The upper directory, whose attributes are where, and the image it is over.
struct Place {
    upper: PathBuf,
    namespace: Namespace,
    /// Whether it is known who made its attributes.
    follows: bool,
    image: String,
}

/// All that an upper of the store shows, by its name or its mount; none if there is no such.
pub fn shown_by(
    context: &Context,
    upper: &str,
    platform: Option<&Platform>,
) -> anyhow::Result<Option<Written>> {
    let which = Which { upper: upper.to_owned(), base: None, userxattr: false };
    match which.place(context) {
        Ok(place) => place.open(context, Opaque::Listed, Against::Nothing, platform).map(Some),
        Err(error) => {
            log::debug!("{upper} is no upper: {error:#}");
            Ok(None)
        }
    }
}

impl Place {
    fn open(
        self,
        context: &Context,
        opaque: Opaque,
        against: Against,
        platform: Option<&Platform>,
    ) -> anyhow::Result<Written> {
        let image = open::open(context, &self.image, platform)?;
        let below = Some(inside::below(&image)?);
        let upper = View::open(&self.upper, self.namespace)?;
        let sides = Sides::Upper { upper, below, follows: self.follows, against };
        let diff = Diff { sides, owners: owners(), opaque, latest: None };
        Ok(Written { image, _before: None, diff })
    }
}

impl Which {
    pub fn open(&self, context: &Context, opaque: Opaque) -> anyhow::Result<Written> {
        self.place(context)?.open(context, opaque, Against::Below, None)
    }

    /// Where it names an image too: what another shows that it does not.
    pub fn against(&self, context: &Context, image: &str, opaque: Opaque) -> anyhow::Result<Written> {
        let before = open::open_or_pull(context, &self.upper, None)?;
        let image = open::open_or_pull(context, image, None)?;
        let sides = Sides::Trees { before: Some(inside::below(&before)?), after: inside::below(&image)? };
        let diff = Diff { sides, owners: Owners::AsStored, opaque, latest: None };
        Ok(Written { image, _before: Some(before), diff })
    }

    /// As messages name it.
    pub fn shown(&self) -> String {
        format!("upper {}", self.upper)
    }

    fn place(&self, context: &Context) -> anyhow::Result<Place> {
        if let Some(base) = &self.base {
            let upper = PathBuf::from(&self.upper);
            let namespace = namespace_of(self.userxattr)?;
            let follows = namespace == Namespace::Trusted;
            return Ok(Place { upper, namespace, follows, image: base.clone() });
        }
        let kept = self.find(context)?;
        let (upper, namespace) = (kept.paths().upper, kept.namespace());
        Ok(Place { upper, namespace, follows: true, image: kept.base.wanted })
    }

    /// By its name, or as the upper of the mount that is there.
    fn find(&self, context: &Context) -> anyhow::Result<Kept> {
        let uppers = Uppers::of_store(context.root());
        let Ok(place) = Path::new(&self.upper).canonicalize() else {
            return uppers.get(&self.upper).map_err(told);
        };
        let mounts = mount::list(&context.records()).map_err(told)?;
        let at = mounts.into_iter().rfind(|mount| mount.record.target == place);
        match (at.and_then(|mount| mount.record.upper), uppers.get(&self.upper)) {
            (Some(name), _) => uppers.get(&name).map_err(told),
            (None, Ok(kept)) => Ok(kept),
            (None, Err(_)) if self.upper.contains('/') => {
                let what = format!("{}: no mount with an upper of the store is there", self.upper);
                Err(hinted(Usage(what), "an upper directory of your own needs `--base IMAGE`"))
            }
            (None, Err(error)) => Err(told(error)),
        }
    }
}

/// A plain user's files are the user's own, whosever they should be.
pub fn owners() -> Owners {
    match rustix::process::geteuid() {
        user if user.is_root() => Owners::AsStored,
        user => Owners::Lost(user.as_raw()),
    }
}

/// Where private attributes are in a directory that says nothing of it: only the host's root has trusted ones.
pub fn namespace_of(userxattr: bool) -> anyhow::Result<Namespace> {
    let is_host_root = rustix::process::geteuid().is_root()
        && namespace::is_initial().context("looking at the user namespace")?;
    Ok(if is_host_root && !userxattr { Namespace::Trusted } else { Namespace::User })
}

/// What `SOURCE_DATE_EPOCH` says that nothing is later than.
pub fn latest() -> anyhow::Result<Option<Time>> {
    Ok(time::epoch()?.map(|epoch| Time { seconds: epoch.as_second(), nanoseconds: 0 }))
}

impl Written {
    /// Writes the changes as a layer, and tells how many entries that were. An upper that is mounted can be written to
    /// meanwhile; a layer of a state that never was is refused.
    pub fn export<W: Write>(
        &self,
        writer: &mut Writer<W>,
        unnameable: Unnameable,
    ) -> Result<u64, ExportError> {
        let (entries, print) = union::diff::export(&self.diff, writer, unnameable, union::diff::Place::Root)?;
        self.check(print).map(|()| entries)
    }

    /// Whether it is as it was when this was seen of it.
    pub fn check(&self, print: Print) -> Result<(), ExportError> {
        match self.diff.walk(&mut |_| Ok(()))? == print {
            true => Ok(()),
            false => Err(ExportError::Meanwhile),
        }
    }
}
