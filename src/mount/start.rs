//! Starting a mount, and staying with it to its end.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::daemon::Launch;
use super::place::{self, Place};
use super::record::Held;
use super::{Error, Options, Record, Records, doing};
use crate::fuse::Prepared;
use crate::lower::Lower;
use crate::oci::Digest;
use crate::sys::mount::{self as system, FILE_SYSTEM, Unmount, Way};
use crate::sys::process;
use crate::union::Union;

/// A mount to be started.
#[derive(Clone, Debug)]
pub struct Request {
    /// The store's root, where the record goes.
    pub store: PathBuf,
    /// The image's name, as `mount` and `df` shall show it.
    pub image: String,
    /// What of the store is in use while the mount is: the manifest, the config, the layers.
    pub digests: Vec<Digest>,
    /// None: a directory is made, and removed after the unmount.
    pub target: Option<PathBuf>,
    pub options: Options,
}

/// A mount that answers. Dropped before its time, it is unmounted.
pub struct Live {
    session: JoinHandle<io::Result<()>>,
    standing: Standing,
    held: Held,
    place: Place,
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

/// Mounts. The record is there before the mount is, so no mount is ever without one.
pub fn start(lower: Arc<Lower>, request: Request) -> Result<Live, Error> {
    let options = &request.options;
    if options.debug {
        log::set_max_level(log::LevelFilter::Trace);
    }
    let place = place(&request)?;
    let mut record =
        Record::new(request.image.clone(), request.digests.clone(), place.path.clone(), options.text.clone());
    record.made = place.made;
    let records = Records::of_store(&request.store);
    let mut held = records.hold(&record).map_err(doing("writing the mount's record"))?;
    let prepared =
        Prepared::new(Union::new(lower, options.ids.clone())).map_err(doing("starting threads"))?;
    // From here on a signal must unmount, and waits until there is someone to take it.
    process::hold_ending_signals().map_err(doing("holding signals"))?;
    let device = mount(&place.path, &request)?;
    let mut standing = Standing(Some(Mounted { target: place.path.clone(), device: None }));
    let session = serve(prepared, device)?;
    record.device = device_at(&place.path);
    standing.0 = Some(Mounted { target: place.path.clone(), device: record.device.clone() });
    held.replace(&record).map_err(doing("writing the mount's record"))?;
    Ok(Live { session, standing, held, place })
}

fn place(request: &Request) -> Result<Place, Error> {
    let Some(target) = &request.target else { return place::make(&request.store, &request.image) };
    let place = place::existing(target)?;
    // The daemon could not reach its own record any more.
    if request.store.canonicalize().is_ok_and(|store| store.starts_with(&place.path)) {
        return Err(Error::HidesStore { path: place.path.clone(), store: request.store.clone() });
    }
    Ok(place)
}

fn mount(target: &Path, request: &Request) -> Result<OwnedFd, Error> {
    let options = &request.options;
    let device = system::mount(&system::Request {
        target,
        name: options.name.as_deref().unwrap_or(&request.image),
        access: options.access_by(Way::of_this_process()),
        flags: options.flags(),
        max_read: options.max_read,
    })?;
    Ok(device)
}

/// Answers from now on: this process might itself use a path below the mount, and must not wait for itself.
fn serve(prepared: Prepared, device: OwnedFd) -> Result<JoinHandle<io::Result<()>>, Error> {
    let session = prepared.begin(device).map_err(doing("agreeing with the kernel on FUSE"))?;
    let thread = thread::Builder::new().name("session".to_owned());
    thread.spawn(move || session.run()).map_err(doing("starting the session's thread"))
}

fn device_at(target: &Path) -> Option<String> {
    let mut found = system::mounted().ok()?;
    found.retain(|mount| mount.target == target && mount.file_system == FILE_SYSTEM);
    found.pop().map(|mount| mount.device)
}

impl Live {
    pub fn target(&self) -> &Path {
        &self.place.path
    }

    /// Stays until the mount is gone. Started in the background, the process leaves its parent and its terminal first.
    pub fn stay(mut self, launch: Launch) -> Result<(), Error> {
        let log = match launch.is_background() {
            true => Some(self.held.open_log().map_err(doing("opening the mount's log"))?),
            false => None,
        };
        if let Some(mounted) = self.standing.0.clone() {
            end_on_signal(mounted).map_err(doing("starting the thread that waits for signals"))?;
        }
        launch.live(log.as_ref()).map_err(doing("leaving the terminal"))?;
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
