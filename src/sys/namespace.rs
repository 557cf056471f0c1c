//! User namespaces: whether a plain user may make one here, tried and not guessed.
#![allow(unsafe_code)]

use std::io;

use rustix::process::{Pid, WaitOptions};

/// Makes a user and a mount namespace in a short-lived child; the error is the kernel's.
pub fn try_user_namespace() -> io::Result<()> {
    // SAFETY: the child calls only unshare and _exit, which are safe after a fork whatever other threads hold.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: as above; errno is this thread's own.
            let code = unsafe {
                match libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) {
                    0 => 0,
                    _ => *libc::__errno_location(),
                }
            };
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) }
        }
        pid => child_answer(pid),
    }
}

fn child_answer(pid: i32) -> io::Result<()> {
    let status = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other("the child that tried was killed")),
    }
}

/// Moves this process, its only thread, into a user namespace with no ids yet, and a mount namespace of it.
pub fn enter_user_namespace() -> io::Result<()> {
    // SAFETY: unshare takes flags alone; of these none has this process share less memory.
    match unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
