//! Processes: a fork that is safe to call, a wait for signals, and the leaving of a terminal.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getrlimit, setrlimit};

/// Which of the two processes goes on after a fork.
#[derive(Debug)]
pub enum Fork {
    Parent { child: Pid },
    Child,
}

/// Refused when the process has other threads: their locks would stay locked in the child for ever.
pub fn fork() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with several threads cannot be forked"));
    }
    // SAFETY: this is the only thread, so the child's memory is as consistent as the parent's.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid)
            .map(|child| Fork::Parent { child })
            .ok_or_else(|| io::Error::other("fork returned a process id below zero")),
    }
}

/// Waits for a child's end: its exit code, or 128 and its signal, as shells say it.
pub fn wait_for(child: Pid) -> io::Result<u8> {
    loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(code_of(status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn code_of(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The signals that ask a daemon to end.
const ENDING: &[Signal] = &[Signal::TERM, Signal::INT, Signal::HUP];

/// Holds the ending signals back, in this thread and every thread it starts, until [`wait_for_ending_signal`] takes
/// them.
pub fn hold_ending_signals() -> io::Result<()> {
    hold_signals(ENDING)
}

/// Sleeps until one of the held signals comes.
pub fn wait_for_ending_signal() -> io::Result<()> {
    wait_for_signal(ENDING).map(drop)
}

/// Holds signals back, in this thread and every thread it starts, until [`wait_for_signal`] takes them. Programs that
/// are started do not inherit this.
pub fn hold_signals(signals: &[Signal]) -> io::Result<()> {
    let set = set_of(signals);
    // SAFETY: `set` is initialized, and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// From now on this process is killed when its parent ends.
pub fn end_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Sleeps until one of the held signals comes: its number.
pub fn wait_for_signal(signals: &[Signal]) -> io::Result<i32> {
    let set = set_of(signals);
    let mut taken = 0;
    // SAFETY: both point to live, initialized values of the right types.
    match unsafe { libc::sigwait(&raw const set, &raw mut taken) } {
        0 => Ok(taken),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

fn set_of(signals: &[Signal]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set; sigaddset gets an initialized set and valid signal numbers.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
        }
        set.assume_init()
    }
}

/// Sends a signal by its number, also one of the real-time ones, to the process that `process` was opened for.
pub fn send_signal(process: impl AsFd, number: i32) -> io::Result<()> {
    let process = process.as_fd().as_raw_fd();
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the kernel reads three numbers, and no memory through the null pointer.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process, number, nothing, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// From now on the processes that this one's children leave behind are its own children.
pub fn take_in_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Kills this process's children but one, and what they leave behind, until there is nothing more.
pub fn end_children_but(kept: Pid) -> io::Result<()> {
    loop {
        let children = children()?;
        let mut others = children.into_iter().filter(|child| *child != kept).peekable();
        if others.peek().is_none() {
            return Ok(());
        }
        for child in others {
            // One that has ended is still there to be waited for.
            let _ = rustix::process::kill_process(child, Signal::KILL);
            wait_for(child)?;
        }
    }
}

fn children() -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("children"))?;
        children.extend(text.split_ascii_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)));
    }
    Ok(children)
}

/// Waits for the end of any child, also of one that was inherited: which, and its code as [`wait_for`] has it.
pub fn wait_for_any() -> io::Result<(Pid, u8)> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((child, status))) => return Ok((child, code_of(status))),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Leaves the keys of the session for a keyring that has none. A user may have few keyrings; who has no more shares one
/// of this name with others of the user's.
pub fn leave_keys(shared: &CStr) -> io::Result<()> {
    let join = |name: *const libc::c_char| {
        // SAFETY: the kernel takes no name, or reads one that ends with a zero.
        match unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    join(std::ptr::null()).or_else(|error| match error.raw_os_error() {
        Some(libc::EDQUOT) => join(shared.as_ptr()),
        _ => Err(error),
    })
}

/// When a process was started, in the clock ticks of /proc: with its number, this tells it from all others.
pub fn started_at(process: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before the last parenthesis may hold anything.
    let field = text.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(19));
    field
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::other("/proc/PID/stat has no start time"))
}

/// Asks the process that holds a lock on the file `inode` to end, if it is `pid` as this process counts them: another
/// may have that number in another namespace, or by now.
pub fn ask_holder_to_end(pid: u32, inode: u64) -> io::Result<bool> {
    let locks = std::fs::read_to_string("/proc/locks")?;
    let holder = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match holder.filter(|_| locks.lines().any(|line| is_lock_of(line, pid, inode))) {
        Some(holder) => {
            rustix::process::kill_process(holder, Signal::TERM).map(|()| true).map_err(Into::into)
        }
        None => Ok(false),
    }
}

/// `1: FLOCK  ADVISORY  WRITE 708 00:1a:4711 0 EOF`
fn is_lock_of(line: &str, pid: u32, inode: u64) -> bool {
    let mut words = line.split_ascii_whitespace().skip(1);
    let kind = words.next();
    let holder = words.nth(2).and_then(|word| word.parse().ok());
    let locked = words.next().and_then(|word| word.rsplit(':').next()).and_then(|word| word.parse().ok());
    (kind, holder, locked) == (Some("FLOCK"), Some(pid), Some(inode))
}

/// Has the kernel allow as many open files as this process may ask for, and says how many that are.
pub fn allow_open_files() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Descriptors that were open when the process began, other than stdin, stdout and stderr.
#[derive(Debug)]
pub struct Inherited(Vec<RawFd>);

impl Inherited {
    /// To be called before the process opens anything of its own.
    pub fn at_start() -> io::Result<Self> {
        let directory = std::fs::read_dir("/proc/self/fd")?;
        let named = directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let numbers: Vec<RawFd> = named.filter(|&number| number > 2).collect();
        // One of them was the directory that was read, which is closed by now.
        // SAFETY: F_GETFD only asks whether the number is open.
        let open = numbers.into_iter().filter(|&number| unsafe { libc::fcntl(number, libc::F_GETFD) } != -1);
        Ok(Self(open.collect()))
    }

    /// So that whoever waits for the end of a pipe does not wait for a daemon.
    pub fn close(self) {
        for number in self.0 {
            // SAFETY: the number was open before this program opened anything, so no object of this program owns it.
            unsafe { libc::close(number) };
        }
    }
}

/// Becomes a session of its own, in `/`, that reads nothing and says what it says into `log`.
pub fn leave_terminal(log: &File) -> io::Result<()> {
    // A leader of a process group cannot make a session; it is then in nobody's way already.
    if let Err(errno) = rustix::process::setsid()
        && errno != rustix::io::Errno::PERM
    {
        return Err(errno.into());
    }
    rustix::process::chdir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(log)?;
    debug_assert!(null.as_raw_fd() > 2);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_told_by_its_holder_and_its_file() {
        let line = "1: FLOCK  ADVISORY  WRITE 708 00:1a:4711 0 EOF";
        assert!(is_lock_of(line, 708, 4711));
        assert!(!is_lock_of(line, 709, 4711) && !is_lock_of(line, 708, 4710));
        assert!(!is_lock_of("1: -> FLOCK  ADVISORY  WRITE 708 00:1a:4711 0 EOF", 708, 4711));
        assert!(!is_lock_of("", 708, 4711));
    }
}
