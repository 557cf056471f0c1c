//! `plyfs mount`: an image becomes a directory. Without arguments: what is mounted.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::error::{Told, Usage};
use crate::cli::inside::lower;
use crate::cli::mounting::umount::told;
use crate::cli::open::{Opened, open_or_pull};
use crate::cli::output::{self, Column, Format, Listing};
use crate::cli::platform::Choice;
use crate::cli::units;
use crate::lower::Lower;
use crate::mount::daemon::{self, Detached, Launch, Outcome};
use crate::mount::{
    self, Base, InvalidOption, Kept, Mount, Options, Request, Root, State, Tree, UpperPaths, Uppers,
};
use crate::union::upper::Namespace;

/// Mount an image, or list what is mounted
///
/// Prints the directory alone, so that `cd $(plyfs mount alpine)` works. The image is one of the store, a
/// file, or else a registry's, which is pulled first; a file is read where it is, and must stay there. Returns when the mount is live; a process stays with it until it is
/// unmounted. An image never changes: what is written to a mount goes to an upper, which is there again at the next
/// mount; `plyfs uppers` lists them, `plyfs diff` shows what is in one, `plyfs discard` empties it. In a plain user's
/// everything is the user's own, unless it is mounted in `plyfs unshare`.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image of the store, or a file
    image: Option<String>,
    /// Where; without it, a directory is made and goes with the mount
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Stay in the foreground until it is unmounted
    #[arg(short, long)]
    foreground: bool,
    /// Options of mount(8): allow_other, dev, suid, noexec, uid=N, gid=N, fsname=NAME, max_read=N; passthrough, by which
    /// the kernel itself reads large files once they are cached whole; with an upper also volatile,
    /// fsync=auto|strict|volatile, writeback=1, timeout=SECONDS, userxattr, noacl, noxattrs, max_write=N,
    /// metacopy=on|off, passthrough=off, by which the kernel does not read and write what is in the upper itself, as it
    /// does for root
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    /// As the image is; this is so unless one of the following is given
    #[arg(short, long, conflicts_with_all = ["rw", "name", "upper"])]
    read_only: bool,
    /// To be written to: an upper of the store is named for the image
    #[arg(long)]
    rw: bool,
    /// The same, with an upper of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// An upper directory of your own, in the form of overlayfs
    #[arg(long, value_name = "DIR", requires = "work", conflicts_with = "name")]
    upper: Option<PathBuf>,
    /// Its work directory, on the same file system
    #[arg(long, value_name = "DIR", requires = "upper")]
    work: Option<PathBuf>,
    /// Who answers: plyfs itself, or the kernel's overlayfs over plyfs's read-only mount. The kernel is faster at work on
    /// many small files; it needs root or `plyfs unshare`, cannot rename a directory of the image, and parts hard links.
    /// `auto` takes the kernel wherever it can
    #[arg(long, value_name = "DRIVER", default_value = "fuse")]
    driver: Driver,
    /// Of the list: `table`, `table TEMPLATE`, `json` or a Go template
    #[arg(long, value_name = "FORMAT", conflicts_with = "image")]
    format: Option<String>,
    #[command(flatten)]
    platform: Choice,
}

/// Who answers what is asked of a mount that is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Driver {
    Fuse,
    Overlay,
    Auto,
}

impl From<Driver> for mount::Driver {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Fuse => Self::Fuse,
            Driver::Overlay => Self::Overlay,
            Driver::Auto => Self::Auto,
        }
    }
}

/// Where what is written goes.
#[derive(Debug)]
enum Upper {
    None,
    Kept { name: Option<String> },
    Own(UpperPaths),
}

impl Arguments {
    fn upper(&self) -> Upper {
        match (&self.upper, &self.work) {
            (Some(upper), Some(work)) => Upper::Own(UpperPaths { upper: upper.clone(), work: work.clone() }),
            _ if self.rw || self.name.is_some() => Upper::Kept { name: self.name.clone() },
            _ => Upper::None,
        }
    }

    fn options(&self) -> Result<Options, InvalidOption> {
        let options = Options::parse(&self.options)?;
        match self.upper() {
            Upper::None if self.driver == Driver::Overlay => Err(InvalidOption::Refused {
                word: "--driver overlay".to_owned(),
                why: "it is for a mount that is written to: add --rw",
            }),
            Upper::None => options.refuse_upper_words().map(|()| options),
            Upper::Kept { .. } | Upper::Own(_) => {
                options.refuse_contradictions().map(|()| options.of_a_writer())
            }
        }
    }
}

pub fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let Some(image) = &arguments.image else { return list(context, arguments.format.as_deref()) };
    let options = arguments.options().map_err(|error| Usage(error.to_string()))?;
    if arguments.foreground {
        return serve(context, image, arguments, options, Launch::Foreground);
    }
    // First of all that starts a thread or opens a file.
    match daemon::detach()? {
        Detached::Parent(Outcome::Live(_) | Outcome::Ended(0)) => Ok(()),
        // The child has said why.
        Detached::Parent(Outcome::Ended(status)) => Err(Told(status).into()),
        Detached::Child(launch) => serve(context, image, arguments, options, launch),
    }
}

fn serve(
    context: &Context,
    image: &str,
    arguments: &Arguments,
    options: Options,
    launch: Launch,
) -> anyhow::Result<()> {
    let opened = open_or_pull(context, image, arguments.platform.platform()?.as_ref())?;
    let lower = Arc::new(lower(&opened)?);
    let (tree, upper) = tree(context, &opened, lower, arguments, &options)?;
    let request = Request {
        store: Some(context.root().to_owned()),
        log: None,
        image: opened.shown(),
        digests: digests(&opened),
        target: arguments.directory.clone(),
        upper,
        options,
    };
    let live = mount::start(tree, request).map_err(told)?;
    // From here on the mount's record says what it uses.
    drop(opened);
    output::line(&live.target().display().to_string())?;
    live.stay(launch).map_err(told)
}

/// What is to be mounted, and the name of the store's upper that is used.
fn tree(
    context: &Context,
    opened: &Opened,
    lower: Arc<Lower>,
    arguments: &Arguments,
    options: &Options,
) -> anyhow::Result<(Tree, Option<String>)> {
    let driver = mount::Driver::from(arguments.driver);
    match &arguments.upper() {
        Upper::None => Ok((mount::open::image(lower, options), None)),
        Upper::Own(paths) => Ok((driver.image(lower, paths, options).map_err(told)?, None)),
        Upper::Kept { name } => {
            let name = name.clone().unwrap_or_else(|| Uppers::name_for(&opened.shown()));
            Ok((kept(context, opened, lower, &name, options, driver)?, Some(name)))
        }
    }
}

/// The image under the store's upper of this name, which is made where there is none.
pub fn kept(
    context: &Context,
    opened: &Opened,
    lower: Arc<Lower>,
    name: &str,
    options: &Options,
    driver: mount::Driver,
) -> anyhow::Result<Tree> {
    let kept = kept_upper(context, opened, &lower, name, options)?;
    driver.image(lower, &kept.paths(), &kept.options(options)).map_err(told)
}

/// The store's upper of this name, with nobody who writes to it.
pub fn kept_upper(
    context: &Context,
    opened: &Opened,
    lower: &Lower,
    name: &str,
    options: &Options,
) -> anyhow::Result<Kept> {
    let base = base(opened, lower, options)?;
    let kept = Uppers::of_store(context.root()).open(name, &base).map_err(told)?;
    kept.refuse_in_use().map_err(told)?;
    Ok(kept)
}

fn base(opened: &Opened, lower: &Lower, options: &Options) -> anyhow::Result<Base> {
    let root = lower.tree().inode(0);
    Ok(Base {
        wanted: opened.lasting()?,
        image: opened.shown(),
        manifest: opened.image.descriptor.digest,
        digests: digests(opened),
        root: Root {
            mode: root.mode(),
            user: root.uid(),
            group: root.gid(),
            modified: (root.mtime().seconds, root.mtime().nanoseconds),
        },
        userxattr: options.namespace == Some(Namespace::User),
        since: Base::now(),
    })
}

/// What of the store the mount uses.
pub fn digests(opened: &Opened) -> Vec<crate::oci::Digest> {
    let manifest = opened.image.manifest.value();
    let layers = manifest.layers.iter().map(|layer| layer.digest);
    [opened.image.descriptor.digest, manifest.config.digest].into_iter().chain(layers).collect()
}

const HEADINGS: &[Column] = &[
    ("Image", "IMAGE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Pid", "PID"),
    ("Since", "SINCE"),
    ("State", "STATE"),
    ("Options", "OPTIONS"),
    ("Upper", "UPPER"),
    ("ID", "MOUNT ID"),
];

fn list(context: &Context, format: Option<&str>) -> anyhow::Result<()> {
    let mounts = mount::list(&context.records()).map_err(told)?;
    let rows = mounts.iter().map(row).collect();
    let columns = &HEADINGS[..5];
    Listing { columns, headings: HEADINGS, rows }.print(&Format::of(format)?)
}

fn row(mount: &Mount) -> Map<String, Value> {
    let record = &mount.record;
    let ago =
        jiff::Timestamp::now().as_second().saturating_sub(i64::try_from(record.since).unwrap_or(i64::MAX));
    let state = match mount.state {
        State::Live => "live",
        State::Elsewhere => "elsewhere",
        State::Dead => "dead",
    };
    let fields = json!({
        "ID": record.id,
        "Image": record.image,
        "Mountpoint": record.target.display().to_string(),
        "Options": record.options,
        "Pid": record.pid,
        "Since": format!("{} ago", units::duration(ago)),
        "State": state,
        "Upper": record.upper.as_deref().unwrap_or_default(),
    });
    match fields {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}
