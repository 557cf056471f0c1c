//! The first process of a container's surroundings: a process namespace and a mount namespace in which the image is
//! mounted, served, and run by the OCI runtime. When this process ends, however it ends, the kernel ends all the others
//! and takes the mounts away. It ends the container when the process that watches over it is gone.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::bundle::{self, Placement};
use super::relay::Ends;
use super::runtime::{CONSOLE, Runtime, control_group, leave_keys};
use super::{Error, Held, doing};
use crate::mount::daemon::{self, Detached, Launch, Outcome};
use crate::sys::file;
use crate::sys::mount::{self as system, Unmount};
use crate::sys::namespace::Processes;
use crate::sys::{process, socket};

/// What the watching process is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// By the process between: which number the first process has outside.
    Forked(u32),
    /// The kernel shows no /proc of a new process namespace here.
    NoProcesses,
    /// A descriptor of the container's first process comes with it, and its terminal if it has one. Waits for a word.
    Created,
    Started,
    Exited(u8),
    /// Nothing more comes. The message is empty where all was said already.
    Failed {
        message: String,
        status: u8,
    },
}

pub struct Init<'a> {
    pub held: Held,
    pub runtime: &'a Runtime,
    pub control: OwnedFd,
    pub ends: Ends,
    pub processes: Processes,
    /// Mounts the image at the container's root and serves it: the code that its process ends with.
    pub serve: &'a mut dyn FnMut(&Held, Launch) -> u8,
}

impl Init<'_> {
    /// To its end: the code of this process.
    pub fn run(self) -> u8 {
        let control = match self.control.try_clone() {
            Ok(control) => control,
            Err(_) => return 1,
        };
        let event = match self.live() {
            Ok(event) => event,
            Err(Error::NoFileSystem) => {
                Event::Failed { message: String::new(), status: Error::NoFileSystem.status() }
            }
            Err(error) => Event::Failed { message: error.to_string(), status: error.status() },
        };
        u8::from(tell(&control, &event, &[]).is_err())
    }

    fn live(self) -> Result<Event, Error> {
        let Self { held, runtime, control, ends, processes, serve } = self;
        // A key that is pressed is for the watching process, who passes it on.
        let _ = rustix::process::setsid();
        rustix::process::chdir(&held.directory)
            .map_err(|errno| doing("entering the container's directory")(errno.into()))?;
        match processes {
            Processes::Own if show_processes().is_err() => return Ok(Event::NoProcesses),
            Processes::Own => {}
            // What the container leaves behind comes to this process, as it would come to the first of a namespace.
            Processes::Shared => process::take_in_orphans().map_err(doing("becoming a reaper"))?,
        }
        leave_keys();
        if runtime.wants_no_control_groups() {
            hide_control_groups();
        }
        keep_attributes(&held)?;
        let daemon = match daemon::detach().map_err(doing("starting the file system's process"))? {
            Detached::Child(launch) => std::process::exit(serve(&held, launch).into()),
            Detached::Parent(Outcome::Live(daemon)) => daemon,
            Detached::Parent(Outcome::Ended(_)) => return settled(held, Err(Error::NoFileSystem)),
        };
        let served = Served { daemon, rootfs: held.rootfs() };
        let code = contain(&held, runtime, control, ends, processes, &served);
        if processes == Processes::Shared {
            process::end_children_but(served.daemon).map_err(doing("ending what the container left"))?;
        }
        served.end();
        settled(held, code)
    }
}

/// What is told of the end is true by then.
fn settled(held: Held, code: Result<u8, Error>) -> Result<Event, Error> {
    let status = code.as_ref().map_or_else(Error::status, |code| *code);
    held.settle(status)?;
    code.map(Event::Exited)
}

/// The mounted image.
struct Served {
    daemon: Pid,
    rootfs: std::path::PathBuf,
}

impl Served {
    fn end(&self) {
        let ended = system::unmount(&self.rootfs, Unmount::WhenUnused)
            .or_else(|_| system::unmount(&self.rootfs, Unmount::Detach));
        match ended {
            // It ends with its mount, and was waited for already if it ended before.
            Ok(()) => drop(process::wait_for(self.daemon)),
            Err(error) => log::warn!("{error}"),
        }
    }
}

fn contain(
    held: &Held,
    runtime: &Runtime,
    control: OwnedFd,
    ends: Ends,
    processes: Processes,
    served: &Served,
) -> Result<u8, Error> {
    let container = &held.container;
    let mut placement = Placement::here(held.directory.clone())?;
    placement.shares_processes = processes == Processes::Shared;
    if placement.is_initial() && !runtime.wants_no_control_groups() {
        placement.control_group = Some(control_group(&container.id));
    }
    bundle::write(&container.config, &container.wanted, &placement, container.short_id())?;
    let console = container.wanted.terminal.then(Console::listen).transpose()?;
    let first = runtime.create(&container.id, ends.into_stdio(), console.is_some())?;
    let handle = pidfd_open(first, PidfdFlags::empty())
        .map_err(|errno| doing("opening the container's process")(errno.into()))?;
    let terminal = console.map(Console::accept).transpose()?;
    let descriptors: Vec<_> = std::iter::once(&handle).chain(&terminal).map(AsFd::as_fd).collect();
    let code = tell(&control, &Event::Created, &descriptors).and_then(|()| {
        drop(terminal);
        start(held, runtime, &control)?;
        let handle = handle.try_clone().map_err(doing("duplicating a descriptor"))?;
        end_without_watch(control, handle)
    });
    if code.is_err() {
        // One that has ended already needs no signal.
        let _ = process::send_signal(&handle, libc::SIGKILL);
    }
    let ended = wait(first, &handle, served.daemon);
    code.and(ended)
}

/// Once the watching process is ready for what comes.
fn start(held: &Held, runtime: &Runtime, control: &OwnedFd) -> Result<(), Error> {
    if socket::receive(control).map_err(doing("waiting for a word to start"))?.0.is_empty() {
        return Err(Error::Lost);
    }
    runtime.start(&held.container.id)?;
    // Who waits for the end of a pipe does not wait for a container that runs in the background.
    held.daemon_log().and_then(|log| process::leave_terminal(&log)).map_err(doing("leaving the terminal"))?;
    tell(control, &Event::Started, &[])
}

/// Says it; a watching process that is gone hears nothing.
fn tell(control: &OwnedFd, event: &Event, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> Result<(), Error> {
    let message =
        serde_json::to_vec(event).map_err(|error| doing("telling of the container")(error.into()))?;
    socket::send(control, &message, descriptors).map_err(doing("telling of the container"))
}

/// Kills the container once nobody watches over it any more.
fn end_without_watch(control: OwnedFd, container: OwnedFd) -> Result<(), Error> {
    let watch = move || {
        while socket::receive(&control).is_ok_and(|(message, _)| !message.is_empty()) {}
        // One that has ended meanwhile needs no signal.
        let _ = process::send_signal(&container, libc::SIGKILL);
    };
    thread::Builder::new().name("watch".to_owned()).spawn(watch).map(drop).map_err(doing("starting a thread"))
}

/// The container's code. Whatever its processes leave behind is taken in and waited for on the way.
fn wait(container: Pid, handle: &OwnedFd, daemon: Pid) -> Result<u8, Error> {
    let mut lost = false;
    loop {
        let (ended, code) = process::wait_for_any().map_err(doing("waiting for the container"))?;
        if ended == container {
            return if lost { Err(Error::FileSystemLost) } else { Ok(code) };
        }
        if ended == daemon {
            // Without its files it can do nothing that would be right.
            lost = true;
            process::send_signal(handle, libc::SIGKILL).map_err(doing("ending the container"))?;
        }
    }
}

/// /proc of the own process namespace: runtimes look for themselves there.
fn show_processes() -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", flags, None)
}

/// As if there were none: an empty directory in their place, in this mount namespace alone.
fn hide_control_groups() {
    const WHERE: &str = "/sys/fs/cgroup";
    if !Path::new(WHERE).is_dir() {
        return;
    }
    if let Err(errno) = rustix::mount::mount("none", WHERE, "tmpfs", MountFlags::RDONLY, None) {
        log::debug!("hiding {WHERE}: {errno}");
    }
}

/// What is written needs extended attributes. Where the store can keep none, it is written to memory instead.
fn keep_attributes(held: &Held) -> Result<(), Error> {
    let uppers = held.uppers();
    file::create_private(&uppers).map_err(doing(format!("making {}", uppers.display())))?;
    match rustix::fs::getxattr(&uppers, "user.plyfs", &mut [0u8; 0]) {
        Err(Errno::NOTSUP) => {}
        _ => return Ok(()),
    }
    if !held.container.remove {
        log::warn!(
            "the store's file system keeps no extended attributes: what is written is lost when the container ends"
        );
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("plyfs", &uppers, "tmpfs", flags, Some(c"mode=700"))
        .map_err(|errno| doing("making room for what is written in memory")(errno.into()))
}

/// Where the runtime hands over the terminal that it made.
struct Console(UnixListener);

impl Console {
    fn listen() -> Result<Self, Error> {
        // One of an earlier run.
        let _ = std::fs::remove_file(CONSOLE);
        UnixListener::bind(CONSOLE).map(Self).map_err(doing("listening for the container's terminal"))
    }

    fn accept(self) -> Result<OwnedFd, Error> {
        let (stream, _) = self.0.accept().map_err(doing("taking the container's terminal"))?;
        socket::receive_descriptor(&stream).map_err(doing("taking the container's terminal"))
    }
}
