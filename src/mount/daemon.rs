//! A mount's process. The command forks before it does anything; the child mounts, says what it has to say to the
//! terminal, and stays; the parent ends with the child's code, or with success once the mount is live.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::process::Pid;

use crate::sys::process::{self, Fork, Inherited};

/// Which process this is after [`detach`].
#[derive(Debug)]
pub enum Detached {
    /// The one that was started.
    Parent(Outcome),
    /// The one that does the work.
    Child(Launch),
}

/// What became of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Live(Pid),
    /// With this code; it has said why.
    Ended(u8),
}

/// How the process that serves was started.
#[derive(Debug)]
pub enum Launch {
    Foreground,
    Background { live: File, inherited: Inherited },
}

/// To be called first: while there is one thread, and nothing is open but what was inherited.
pub fn detach() -> io::Result<Detached> {
    let inherited = Inherited::at_start()?;
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match process::fork()? {
        Fork::Child => Ok(Detached::Child(Launch::Background { live: File::from(writer), inherited })),
        Fork::Parent { child } => {
            drop(writer);
            // One byte when the mount is live; the end of the pipe when the child has ended without one.
            match File::from(reader).read(&mut [0])? {
                0 => process::wait_for(child).map(Outcome::Ended).map(Detached::Parent),
                _ => Ok(Detached::Parent(Outcome::Live(child))),
            }
        }
    }
}

impl Launch {
    /// Lets the parent go, and the terminal: what is to be said goes to `log` from now on.
    pub fn live(self, log: impl FnOnce() -> io::Result<File>) -> io::Result<()> {
        let Self::Background { mut live, inherited } = self else { return Ok(()) };
        process::leave_terminal(&log()?)?;
        inherited.close();
        // A parent that was killed meanwhile has no use for the word; the mount stays.
        let _ = live.write_all(&[1]);
        Ok(())
    }
}
