//! Running a container: the process that the user started, or in the background one that it left behind, watches over
//! the container to its end. It keeps the log, passes signals on, and knows the exit code.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal};

use super::init::{Event, Init};
use super::relay::{Attachment, Ends, Streams};
use super::{Error, Held, Runtime, doing};
use crate::mount::daemon::Launch;
use crate::mount::namespace;
use crate::sys::mount::Way;
use crate::sys::namespace::{Processes, enter_private_namespaces};
use crate::sys::process::{self, Fork};
use crate::sys::socket;
use crate::sys::terminal::{self, Raw};

/// The signals that are the container's when this process gets them.
const PASSED_ON: &[Signal] = &[
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::CONT,
    Signal::WINCH,
];

/// Mounts the image and serves it, in a process of its own: the code that process ends with.
pub type Serve<'a> = dyn FnMut(&Held, Launch) -> u8 + 'a;

/// Runs it to its end: its exit code. To be called while there is one thread.
pub fn run(held: Held, runtime: &Runtime, launch: Launch, serve: &mut Serve<'_>) -> Result<u8, Error> {
    match watch_over(&held, runtime, launch, serve) {
        // Its own surroundings have settled it.
        outcome @ (Ok(_) | Err(Error::Reported { .. })) => outcome,
        Err(error) => held
            .settle(match error {
                Error::Lost => KILLED,
                _ => error.status(),
            })
            .and(Err(error)),
    }
}

/// What a process that was killed leaves as its code.
const KILLED: u8 = 137;

fn watch_over(held: &Held, runtime: &Runtime, launch: Launch, serve: &mut Serve<'_>) -> Result<u8, Error> {
    process::hold_signals(PASSED_ON).map_err(doing("holding signals"))?;
    if Way::of_this_process() != Way::Direct {
        let ids = namespace::become_root()?;
        log::info!("in a user namespace with {ids}");
    }
    let mut launch = Some(launch);
    for processes in [Processes::Own, Processes::Shared] {
        match Watch::begin(held, runtime, processes, serve)?.follow(held, &mut launch)? {
            Some(code) => return Ok(code),
            None => {
                log::info!("the kernel shows no /proc of a new process namespace here; this one is shared")
            }
        }
    }
    Err(Error::Lost)
}

/// This process's side of a container.
struct Watch {
    control: OwnedFd,
    streams: Option<Streams>,
    init: Pid,
    terminal: Option<Raw>,
    saying: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Between this process and the first one of the container's surroundings another is forked, for a moment: who
    /// makes a process namespace can start no threads after that.
    fn begin(
        held: &Held,
        runtime: &Runtime,
        processes: Processes,
        serve: &mut Serve<'_>,
    ) -> Result<Self, Error> {
        let wanted = &held.container.wanted;
        let (streams, ends) = Streams::new(wanted).map_err(doing("making pipes"))?;
        let (control, theirs) = socket::pair().map_err(doing("making a socket"))?;
        process::take_in_orphans().map_err(doing("becoming a reaper"))?;
        match process::fork().map_err(doing("starting a process"))? {
            Fork::Child => {
                drop((control, streams));
                let code = fork_init(held, runtime, theirs, ends, processes, serve);
                std::process::exit(code.into())
            }
            Fork::Parent { child } => {
                drop((theirs, ends));
                process::wait_for(child).map_err(doing("starting a process"))?;
                let init = forked(&control)?;
                Ok(Self { control, streams: Some(streams), init, terminal: None, saying: Vec::new() })
            }
        }
    }

    /// `None`: it is to be tried in another way.
    fn follow(mut self, held: &Held, launch: &mut Option<Launch>) -> Result<Option<u8>, Error> {
        let outcome = self.listen(held, launch);
        // Whatever comes of it, nothing of it is left when this returns.
        drop(self.control);
        self.saying.into_iter().for_each(|thread| drop(thread.join()));
        drop(self.terminal);
        process::wait_for(self.init).map_err(doing("waiting for the container's surroundings"))?;
        outcome
    }

    fn listen(&mut self, held: &Held, launch: &mut Option<Launch>) -> Result<Option<u8>, Error> {
        let attachment = match launch {
            Some(Launch::Background { .. }) => Attachment::Detached,
            _ => Attachment::Attached,
        };
        loop {
            let (event, descriptors) = receive(&self.control)?;
            match event {
                Some(Event::Created) => {
                    self.attend(held, descriptors, attachment)?;
                    socket::send(&self.control, b"go", &[]).map_err(doing("starting the container"))?;
                }
                Some(Event::Started) => {
                    if let Some(launch) = launch.take() {
                        launch.live(|| held.daemon_log()).map_err(doing("leaving the terminal"))?;
                    }
                }
                Some(Event::Exited(code)) => return Ok(Some(code)),
                Some(Event::Failed { message, status }) => return Err(Error::Reported { message, status }),
                Some(Event::NoProcesses) => return Ok(None),
                Some(Event::Forked(_)) | None => return Err(Error::Lost),
            }
        }
    }

    /// It is there, and not started yet: from here on nothing it says is lost, and no signal.
    fn attend(
        &mut self,
        held: &Held,
        descriptors: Vec<OwnedFd>,
        attachment: Attachment,
    ) -> Result<(), Error> {
        let mut descriptors = descriptors.into_iter();
        let container = descriptors.next().ok_or(Error::Lost)?;
        let console = descriptors.next();
        let wanted = &held.container.wanted;
        held.set_running(number_of(&container)?, self.init.as_raw_nonzero().get().unsigned_abs())?;
        if let (Some(console), Attachment::Attached) = (&console, attachment) {
            // Without a terminal on this side it keeps the size it was made with.
            let _ = terminal::copy_size(io::stdin(), console);
            if wanted.interactive && terminal::is_terminal(io::stdin()) {
                self.terminal = Raw::new(io::stdin()).ok();
            }
        }
        if let Some(streams) = self.streams.take() {
            self.saying = streams.relay(console.as_ref(), &held.directory, attachment, wanted.interactive)?;
        }
        pass_signals_on(container, console)
    }
}

/// In the process between: its code.
fn fork_init(
    held: &Held,
    runtime: &Runtime,
    control: OwnedFd,
    ends: Ends,
    processes: Processes,
    serve: &mut Serve<'_>,
) -> u8 {
    let forked = enter_private_namespaces(processes).and_then(|()| process::fork());
    let event = match forked {
        Ok(Fork::Child) => {
            let held = match held.share() {
                Ok(held) => held,
                Err(_) => return 1,
            };
            return Init { held, runtime, control, ends, processes, serve }.run();
        }
        Ok(Fork::Parent { child }) => Event::Forked(child.as_raw_nonzero().get().unsigned_abs()),
        Err(error) => {
            let message = format!("making the container's namespaces: {error}");
            Event::Failed { message, status: super::FAILED }
        }
    };
    let sent = serde_json::to_vec(&event)
        .map_err(io::Error::from)
        .and_then(|text| socket::send(&control, &text, &[]));
    u8::from(sent.is_err())
}

fn forked(control: &OwnedFd) -> Result<Pid, Error> {
    match receive(control)?.0 {
        Some(Event::Forked(number)) => i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(Error::Lost),
        Some(Event::Failed { message, status }) => Err(Error::Reported { message, status }),
        _ => Err(Error::Lost),
    }
}

/// `None`: the other side is gone.
fn receive(control: &OwnedFd) -> Result<(Option<Event>, Vec<OwnedFd>), Error> {
    let (message, descriptors) = socket::receive(control).map_err(doing("hearing of the container"))?;
    if message.is_empty() {
        return Ok((None, Vec::new()));
    }
    let event =
        serde_json::from_slice(&message).map_err(|error| doing("hearing of the container")(error.into()))?;
    Ok((Some(event), descriptors))
}

/// A process's number as this process counts.
fn number_of(handle: &OwnedFd) -> Result<u32, Error> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", handle.as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(doing(format!("reading {path}")))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    number.ok_or(Error::Lost)
}

fn pass_signals_on(container: OwnedFd, console: Option<OwnedFd>) -> Result<(), Error> {
    let pass = move || {
        while let Ok(number) = process::wait_for_signal(PASSED_ON) {
            match &console {
                Some(console) if number == libc::SIGWINCH => drop(terminal::copy_size(io::stdin(), console)),
                // One that has ended needs no signal any more.
                _ => drop(process::send_signal(container.as_fd(), number)),
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(pass)
        .map(drop)
        .map_err(doing("starting a thread"))
}
