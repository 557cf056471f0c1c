//! Bytes between a container and whoever started it: what it says goes to the log and, while someone looks on, to the
//! same streams of this process; what is typed goes the other way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::thread::{self, JoinHandle};

use super::log::{self, LogWriter, Stream};
use super::{Error, Wanted, doing};

/// This process's ends of a container's streams.
pub struct Streams {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
}

/// The container's ends.
pub struct Ends {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
}

/// Whether someone looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    Attached,
    Detached,
}

impl Streams {
    /// With a terminal, what is said comes through that instead.
    pub fn new(wanted: &Wanted) -> io::Result<(Self, Ends)> {
        let pipe = |is_wanted: bool| -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
            match is_wanted {
                true => {
                    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
                    Ok((Some(reader), Some(writer)))
                }
                false => Ok((None, None)),
            }
        };
        let (their_input, input) = pipe(wanted.interactive && !wanted.terminal)?;
        let (output, their_output) = pipe(!wanted.terminal)?;
        let (errors, their_errors) = pipe(!wanted.terminal)?;
        let ends = Ends { input: their_input, output: their_output, errors: their_errors };
        Ok((Self { input, output, errors }, ends))
    }

    /// Lets bytes through from now on. Returns what is to be waited for before all has been said.
    pub fn relay(
        self,
        terminal: Option<&OwnedFd>,
        directory: &Path,
        attachment: Attachment,
        interactive: bool,
    ) -> Result<Vec<JoinHandle<()>>, Error> {
        let mut saying = Vec::new();
        let attached = attachment == Attachment::Attached;
        let copy = |from: OwnedFd, stream: Stream| {
            let log = log::open(directory).map_err(doing("opening the container's log"))?;
            let to = match (attached, stream) {
                (false, _) => To::Nobody,
                (true, Stream::Stdout) => To::Stdout,
                (true, Stream::Stderr) => To::Stderr,
            };
            spawn(move || say(File::from(from), LogWriter::new(log, stream), to))
        };
        let duplicate = |terminal: &OwnedFd| terminal.try_clone().map_err(doing("duplicating a terminal"));
        if let Some(terminal) = terminal {
            saying.push(copy(duplicate(terminal)?, Stream::Stdout)?);
        }
        for (from, stream) in [(self.output, Stream::Stdout), (self.errors, Stream::Stderr)] {
            saying.extend(from.map(|from| copy(from, stream)).transpose()?);
        }
        let input = match terminal {
            Some(terminal) if interactive => Some(duplicate(terminal)?),
            _ => self.input,
        };
        match input {
            Some(input) if attached => drop(spawn(move || type_in(File::from(input)))?),
            // Nobody will type anything, and it is not the end either.
            Some(input) => std::mem::forget(input),
            None => {}
        }
        Ok(saying)
    }
}

impl Ends {
    pub fn into_stdio(self) -> [Stdio; 3] {
        [self.input, self.output, self.errors].map(|end| end.map_or_else(Stdio::null, Stdio::from))
    }
}

enum To {
    Stdout,
    Stderr,
    Nobody,
}

impl To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => write_all(io::stdout().as_fd(), bytes),
            Self::Stderr => write_all(io::stderr().as_fd(), bytes),
            Self::Nobody => Ok(()),
        }
    }
}

/// Past the standard library's buffers: a prompt has no newline.
fn write_all(to: std::os::fd::BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(to, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new().name("relay".to_owned()).spawn(work).map_err(doing("starting a thread"))
}

fn say(mut from: File, mut log: LogWriter, mut to: To) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let bytes = match from.read(&mut buffer) {
            Ok(length) if length > 0 => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A terminal that its last user closed says EIO.
            _ => break,
        };
        // Who does not read any more does not keep the container from going on.
        if to.write(bytes).is_err() {
            to = To::Nobody;
        }
        if let Err(error) = log.write(bytes) {
            log::warn(&error);
        }
    }
    if let Err(error) = log.finish() {
        log::warn(&error);
    }
}

fn type_in(mut to: File) {
    let mut buffer = [0; 4096];
    loop {
        let length = match io::stdin().read(&mut buffer) {
            Ok(length) if length > 0 => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => break,
        };
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}
