//! Namespaces: whether a plain user may make one here, tried and not guessed; making them, and entering another's.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use rustix::mount::MountPropagationFlags;
use rustix::process::{Pid, WaitOptions};

/// Makes a user and a mount namespace in a short-lived child; the error is the kernel's.
pub fn try_user_namespace() -> io::Result<()> {
    try_there(|| 0)
}

/// The same, and whether the kernel's overlayfs could be mounted there.
pub fn try_overlay() -> io::Result<()> {
    try_there(|| {
        // SAFETY: the kernel reads the name, which lives as long as the program; the descriptor ends with the child.
        match unsafe { libc::syscall(libc::SYS_fsopen, c"overlay".as_ptr(), 0) } {
            // SAFETY: errno is this thread's own.
            -1 => unsafe { *libc::__errno_location() },
            _ => 0,
        }
    })
}

/// `then` is called in the child, and may only do what is safe after a fork whatever other threads hold: its errno.
fn try_there(then: fn() -> i32) -> io::Result<()> {
    // SAFETY: the child calls only unshare, `then` and _exit, which are safe after a fork whatever other threads hold.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: as above; errno is this thread's own.
            let code = unsafe {
                match libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) {
                    0 => then(),
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

/// Whether ids are counted here as the machine counts them.
pub fn is_initial() -> io::Result<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    Ok(map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// Whether this process is in a namespace in which there is nobody but root.
pub fn has_one_id() -> io::Result<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    let mut words = map.split_ascii_whitespace();
    Ok(words.nth(2) == Some("1") && words.next().is_none())
}

/// Moves this process into a mount namespace of its own, in which nothing reaches the one it came from; what it forks
/// next is the first process of a process namespace, if it is to have one.
pub fn enter_private_namespaces(processes: Processes) -> io::Result<()> {
    let flags = match processes {
        Processes::Own => libc::CLONE_NEWNS | libc::CLONE_NEWPID,
        Processes::Shared => libc::CLONE_NEWNS,
    };
    // SAFETY: as above.
    match unsafe { libc::unshare(flags) } {
        0 => {}
        _ => return Err(io::Error::last_os_error()),
    }
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", downstream)?)
}

/// Whose processes are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    Own,
    Shared,
}

/// Moves this process, its only thread, into the user namespace of another; what it forks next is a process of the
/// other's process namespace, and may move into its mount namespace. One at a time: where the other's mounts are, /proc
/// does not show this process.
pub fn join(process: u32) -> io::Result<Mounts> {
    let open = |kind: &str| File::open(format!("/proc/{process}/ns/{kind}"));
    let mounts = Mounts(open("mnt")?);
    let processes = open("pid")?;
    let same = |kind: &str| -> io::Result<bool> {
        let link = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/{kind}"));
        Ok(link("self")? == link(&process.to_string())?)
    };
    let is_new = !same("pid")?;
    // Nobody may enter the user namespace that they are in already.
    if !same("user")? {
        set(&open("user")?, libc::CLONE_NEWUSER)?;
    }
    // Nor may they, without rights over the machine's processes, enter those again.
    if is_new {
        set(&processes, libc::CLONE_NEWPID)?;
    }
    Ok(mounts)
}

/// The mount namespace of another process.
#[derive(Debug)]
pub struct Mounts(File);

impl Mounts {
    pub fn enter(&self) -> io::Result<()> {
        set(&self.0, libc::CLONE_NEWNS)
    }
}

fn set(namespace: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open, and setns changes no memory of this process.
    match unsafe { libc::setns(namespace.as_raw_fd(), kind) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
