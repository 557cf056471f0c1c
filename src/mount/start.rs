//! Starting a mount, and staying with it to its end.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use super::daemon::Launch;
use super::kernel::Handed;
use super::place::{self, Place};
use super::record::Held;
use super::{Error, Options, Record, Records, doing};
use crate::fuse::{Opens, Prepared, Settings, UNLIMITED};
use crate::oci::Digest;
use crate::stats;
use crate::sys::mount::{self as system, Unmount, Way};
use crate::sys::process;
use crate::union::{Overlay, Union};

/// A mount to be started.
#[derive(Clone, Debug)]
pub struct Request {
    /// The store's root, where the record goes. None: the mount is nobody's but the caller's, and has no record.
    pub store: Option<PathBuf>,
    /// Where a daemon that has no record says what it has to say.
    pub log: Option<PathBuf>,
    /// The image's name, as `mount` and `df` shall show it.
    pub image: String,
    /// What of the store is in use while the mount is: the manifest, the config, the layers.
    pub digests: Vec<Digest>,
    /// None: a directory is made, and removed after the unmount.
    pub target: Option<PathBuf>,
    /// The name of the store's upper that is written to.
    pub upper: Option<String>,
    pub options: Options,
}

/// What a mount shows.
pub enum Tree {
    /// An image as it is, which the kernel may keep in memory without asking.
    Image(Union),
    Overlay {
        overlay: Box<Overlay>,
        read_only: bool,
    },
    /// An image with the kernel's overlayfs over it.
    Kernel {
        image: Union,
        upper: Handed,
    },
}

/// A mount that answers. Dropped before its time, it is unmounted.
pub struct Live {
    session: JoinHandle<io::Result<()>>,
    standing: Standing,
    held: Option<Held>,
    place: Place,
    log: Option<PathBuf>,
    /// What the kernel writes to; nobody else does before it has let go of it.
    _upper: Option<Handed>,
}

/// What tells this mount from others at the same path.
#[derive(Clone, Debug)]
struct Mounted {
    target: PathBuf,
    device: Option<String>,
}

/// A mount that is to go when this does.
struct Standing(Option<Mounted>);

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(mounted) = &self.0 {
            mounted.end();
        }
    }
}

/// Mounts. The record is there before the mount is, so no mount of a store is ever without one.
pub fn start(tree: Tree, request: Request) -> Result<Live, Error> {
    let options = &request.options;
    if options.debug {
        log::set_max_level(log::LevelFilter::Trace);
    }
    if options.passthrough == Some(true) && !system::may_pass_through() {
        return Err(Error::NoPassthrough);
    }
    let place = place(&request)?;
    let mut record =
        Record::new(request.image.clone(), request.digests.clone(), place.path.clone(), options.text.clone());
    record.made = place.made;
    record.upper.clone_from(&request.upper);
    let records = request.store.as_deref().map(Records::of_store);
    let held = records.map(|records| records.hold(&record)).transpose();
    let mut held = held.map_err(doing("writing the mount's record"))?;
    if let Some(held) = &held {
        count(held);
    }
    let read_only = tree.is_read_only();
    let (prepared, handed) = prepare(tree, options).map_err(doing("starting threads"))?;
    // From here on a signal must unmount, and waits until there is someone to take it.
    process::hold_ending_signals().map_err(doing("holding signals"))?;
    let device = mount(&place.path, &request, read_only)?;
    let mut standing = Standing(Some(Mounted { target: place.path.clone(), device: None }));
    let session = serve(prepared, device)?;
    if let Some(device) = device_at(&place.path) {
        read_ahead(&device);
    }
    if let Some(upper) = &handed {
        upper.take_place(&place.path, options.name.as_deref().unwrap_or(&request.image), options)?;
    }
    record.device = device_at(&place.path);
    standing.0 = Some(Mounted { target: place.path.clone(), device: record.device.clone() });
    if let Some(held) = &mut held {
        held.replace(&record).map_err(doing("writing the mount's record"))?;
    }
    Ok(Live { session, standing, held, place, log: request.log, _upper: handed })
}

impl Tree {
    fn is_read_only(&self) -> bool {
        match self {
            Self::Image(_) | Self::Kernel { .. } => true,
            Self::Overlay { read_only, .. } => *read_only,
        }
    }
}

/// No reason not to mount, where there is no room for it.
fn count(held: &Held) {
    if let Err(error) = held.open_stats().and_then(|file| stats::begin(&file)) {
        log::warn!("what the mount does is not counted: {error}");
    }
}

/// What the kernel gives at once unless it is told otherwise.
const LARGEST_WRITE: u32 = 1 << 20;

fn prepare(tree: Tree, options: &Options) -> io::Result<(Prepared, Option<Handed>)> {
    let opens = if options.passthrough == Some(true) { Opens::PassedThrough } else { Opens::Unasked };
    Ok(match tree {
        Tree::Image(union) => (Prepared::read_only(union, opens)?, None),
        Tree::Kernel { image, upper } => (Prepared::read_only(image, opens)?, Some(upper)),
        Tree::Overlay { overlay, .. } => {
            overlay.allow_files(process::allow_open_files()?);
            let settings = Settings {
                timeout: options.timeout.unwrap_or(UNLIMITED),
                writeback: options.writeback,
                access_lists: options.access_lists,
                xattrs: options.xattrs,
                max_write: options.max_write.unwrap_or(LARGEST_WRITE),
                passthrough: options.passes_what_is_written(),
            };
            (Prepared::writable(*overlay, settings)?, None)
        }
    })
}

fn place(request: &Request) -> Result<Place, Error> {
    let store = request.store.as_deref();
    let target = match (&request.target, store) {
        (Some(target), _) => target,
        (None, Some(store)) => return place::make(store, &request.image),
        (None, None) => return Err(Error::NoTarget),
    };
    let place = place::existing(target)?;
    // The daemon could not reach its own record any more.
    match store.filter(|store| store.canonicalize().is_ok_and(|store| store.starts_with(&place.path))) {
        Some(store) => Err(Error::HidesStore { path: place.path.clone(), store: store.to_owned() }),
        None => Ok(place),
    }
}

fn mount(target: &Path, request: &Request, read_only: bool) -> Result<OwnedFd, Error> {
    let options = &request.options;
    let device = system::mount(&system::Request {
        target,
        name: options.name.as_deref().unwrap_or(&request.image),
        access: options.access_by(Way::of_this_process()),
        flags: options.flags(read_only),
        max_read: options.max_read,
        labels: &options.labels,
    })?;
    Ok(device)
}

/// Answers from now on: this process might itself use a path below the mount, and must not wait for itself.
fn serve(prepared: Prepared, device: OwnedFd) -> Result<JoinHandle<io::Result<()>>, Error> {
    let session = prepared.begin(device).map_err(doing("agreeing with the kernel on FUSE"))?;
    let thread = thread::Builder::new().name("session".to_owned());
    thread.spawn(move || session.run()).map_err(doing("starting the session's thread"))
}

/// Each request costs as much as decompressing many kibibytes. More than this gains nothing.
const READ_AHEAD: u32 = 512;

/// A plain user keeps what the kernel chose.
fn read_ahead(device: &str) {
    if let Err(error) = system::set_read_ahead(device, READ_AHEAD) {
        log::debug!("setting how far {device} is read ahead: {error}");
    }
}

fn device_at(target: &Path) -> Option<String> {
    let mut found = system::mounted().ok()?;
    found.retain(|mount| mount.target == target && mount.may_be_ours());
    found.pop().map(|mount| mount.device)
}

impl Live {
    pub fn target(&self) -> &Path {
        &self.place.path
    }

    /// Where the daemon says what it has to say; without a record or a file for it, nobody would look for it.
    fn log(&self) -> io::Result<File> {
        match (&self.held, &self.log) {
            (Some(held), _) => held.open_log(),
            (None, Some(log)) => File::options().append(true).create(true).open(log),
            (None, None) => File::options().append(true).open("/dev/null"),
        }
    }

    /// Stays until the mount is gone. Started in the background, the process leaves its parent and its terminal first.
    pub fn stay(mut self, launch: Launch) -> Result<(), Error> {
        if let Some(mounted) = self.standing.0.clone() {
            end_on_signal(mounted).map_err(doing("starting the thread that waits for signals"))?;
        }
        launch.live(|| self.log()).map_err(doing("leaving the terminal"))?;
        let served = self.session.join().unwrap_or_else(|_| Err(io::Error::other("the session panicked")));
        self.standing.0 = None;
        // The record goes last: who waits for it finds the directory gone.
        drop(self.place);
        drop(self.held);
        served.map_err(doing("serving the mount"))
    }
}

fn end_on_signal(mounted: Mounted) -> io::Result<()> {
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if process::wait_for_ending_signal().is_ok() {
            mounted.end();
        }
        // Whoever asks twice does not want to wait for the last user.
        if process::wait_for_ending_signal().is_ok() {
            std::process::exit(1);
        }
    })?;
    Ok(())
}

impl Mounted {
    /// Unmounts, if what is at the target is still this mount. What is in use goes with its last user.
    fn end(&self) {
        if self.device.is_some() && device_at(&self.target) != self.device {
            return;
        }
        let ended = system::unmount(&self.target, Unmount::WhenUnused)
            .or_else(|_| system::unmount(&self.target, Unmount::Detach));
        if let Err(error) = ended {
            log::error!("{error}");
        }
    }
}
