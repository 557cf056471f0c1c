//! What is done to a container that runs: a signal sent, another process run beside its first.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use super::bundle::Placement;
use super::identity::Identity;
use super::record::{Found, Running};
use super::runtime::leave_keys;
use super::{CONFIG, Error, ROOTFS, Runtime, Wanted, doing, plain_path, process, spec};
use crate::sys::beneath;
use crate::sys::namespace::{self, Mounts};
use crate::sys::process::{Fork, fork, send_signal, started_at, wait_for};

/// Sends a signal to the container's first process.
pub fn signal(found: &Found, number: i32) -> Result<(), Error> {
    let running = found.running()?;
    let signalling = || doing(format!("sending a signal to container {}", found.container.name));
    let gone = || Error::NotRunning(found.container.name.clone());
    let pid = i32::try_from(running.process).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    // Opened first and looked at then: the number cannot be another's meanwhile.
    if started_at(running.process).ok() != Some(running.ticks) {
        return Err(gone());
    }
    send_signal(handle.as_fd(), number).map_err(signalling())
}

/// A process to be run in a container.
#[derive(Debug, Default)]
pub struct Execution {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub workdir: Option<String>,
    pub user: Option<String>,
    pub terminal: bool,
    /// Whether it reads this process's stdin.
    pub interactive: bool,
    pub detach: bool,
}

/// Runs it with this process's streams: its exit code. To be called while there is one thread.
pub fn execute(found: &Found, runtime: &Runtime, execution: &Execution) -> Result<u8, Error> {
    let running = found.running()?;
    let mounts = join(found, running)?;
    match fork().map_err(doing("starting a process"))? {
        Fork::Parent { child } => wait_for(child).map_err(doing("waiting for a process")),
        Fork::Child => {
            let entered = mounts.enter().map_err(doing("entering the container's mounts"));
            let ended = entered.and_then(|()| inside(found, runtime, execution));
            let code = ended.unwrap_or_else(|error| {
                let _ = writeln!(std::io::stderr(), "plyfs: {error}");
                error.status()
            });
            std::process::exit(code.into())
        }
    }
}

fn join(found: &Found, running: &Running) -> Result<Mounts, Error> {
    if started_at(running.init).ok() != Some(running.init_ticks) {
        return Err(Error::NotRunning(found.container.name.clone()));
    }
    namespace::join(running.init).map_err(doing(format!("entering container {}", found.container.name)))
}

/// In the container's surroundings.
fn inside(found: &Found, runtime: &Runtime, execution: &Execution) -> Result<u8, Error> {
    let directory = &found.directory;
    rustix::process::chdir(directory)
        .map_err(|errno| doing("entering the container's directory")(errno.into()))?;
    let process = process_of(found, execution)?;
    let mut file = tempfile::NamedTempFile::new_in(".").map_err(doing("describing a process"))?;
    let text = serde_json::to_vec(&process).map_err(|error| doing("describing a process")(error.into()))?;
    file.write_all(&text).map_err(doing("describing a process"))?;
    leave_keys();
    Runtime::forget_complaints()?;
    let mut command = runtime.execute(&found.container.id, file.path(), execution.detach);
    if !execution.interactive {
        command.stdin(Stdio::null());
    }
    run(command, runtime)
}

fn run(mut command: Command, runtime: &Runtime) -> Result<u8, Error> {
    let status = command.status().map_err(doing(format!("running {}", runtime.program().display())))?;
    match (status.code(), runtime.complaint()) {
        (Some(0), _) => Ok(0),
        // The runtime has said on stderr what it says in its log.
        (_, Some(error)) => Ok(error.status()),
        (code, None) => Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(super::FAILED)),
    }
}

/// As the container's first process, but for what is wanted otherwise.
fn process_of(found: &Found, execution: &Execution) -> Result<Value, Error> {
    let reading = || doing("reading the container's config");
    let bytes = fs::read(CONFIG).map_err(reading())?;
    let config: Value = serde_json::from_slice(&bytes).map_err(|error| reading()(error.into()))?;
    let mut made = config["process"].clone();
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
    };
    let mut env = words(&made["env"]);
    if execution.terminal {
        process::set(&mut env, "TERM=xterm");
    }
    if let Some(user) = &execution.user {
        let (identity, powers) = other_user(&found.container.wanted, user)?;
        made["user"] = spec::user(&identity);
        made["capabilities"] = powers;
        process::set(&mut env, &format!("HOME={}", identity.home));
    }
    execution.env.iter().for_each(|word| process::set(&mut env, word));
    if let Some(workdir) = &execution.workdir {
        made["cwd"] = plain_path(workdir).display().to_string().into();
    }
    made["env"] = env.into();
    made["args"] = execution.args.clone().into();
    made["terminal"] = execution.terminal.into();
    Ok(made)
}

fn other_user(wanted: &Wanted, user: &str) -> Result<(Identity, Value), Error> {
    let root = beneath::root(Path::new(ROOTFS)).map_err(doing("opening the container's root"))?;
    let mut identity = Identity::find(root.as_fd(), user, &[])?;
    Placement::here(std::path::PathBuf::from("."))?.admit(&mut identity)?;
    let powers = spec::powers(identity.user, wanted)?;
    Ok((identity, powers))
}
