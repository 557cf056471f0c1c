//! The OCI runtime that makes a container of a bundle: crun, runc, youki, or another that takes the same words. It is
//! called in the bundle's directory, where it keeps its state, so every path it is told is short and goes with the
//! bundle.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;
use serde::Deserialize;

use super::{Error, FAILED, doing};

const STATE: &str = "state";
const LOG: &str = "runtime.log";
const PID: &str = "pid";
pub const CONSOLE: &str = "console";
const LARGEST_LOG: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    kind: Kind,
    program: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Crun,
    Runc,
    Youki,
}

/// In the order in which they are taken.
const KINDS: [Kind; 3] = [Kind::Crun, Kind::Runc, Kind::Youki];
/// Where a plain user's PATH often does not lead.
const ALSO: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Runc => "runc",
            Self::Youki => "youki",
        }
    }
}

impl Runtime {
    /// The one of this name or path, or the first there is.
    pub fn find(wanted: Option<&str>) -> Result<Self, Error> {
        match wanted {
            Some(wanted) => Self::named(wanted).ok_or_else(|| Error::NoSuchRuntime(wanted.to_owned())),
            None => KINDS.into_iter().find_map(|kind| Self::named(kind.name())).ok_or(Error::NoRuntime),
        }
    }

    fn named(wanted: &str) -> Option<Self> {
        let program = if wanted.contains('/') { fs::canonicalize(wanted).ok()? } else { in_path(wanted)? };
        let name = program.file_name()?.to_str()?;
        // One that is not known is called as runc is: others have its words.
        let kind = KINDS.into_iter().find(|kind| name.contains(kind.name())).unwrap_or(Kind::Runc);
        Some(Self { kind, program })
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// crun can do without control groups, but looks at them all the same and refuses mixed ones.
    pub fn wants_no_control_groups(&self) -> bool {
        self.kind == Kind::Crun
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--root", STATE, "--log", LOG, "--log-format", "json"]);
        if self.kind == Kind::Crun {
            command.arg("--cgroup-manager=disabled");
        }
        command
    }

    /// Everything but the start of the command: which process it will be.
    pub fn create(
        &self,
        id: &str,
        [input, output, errors]: [Stdio; 3],
        terminal: bool,
    ) -> Result<Pid, Error> {
        let mut command = self.command();
        command.args(["create", "--bundle", ".", "--pid-file", PID, "--no-new-keyring"]);
        if terminal {
            command.args(["--console-socket", CONSOLE]);
        }
        command.arg(id).stdin(input).stdout(output).stderr(errors);
        self.run(command)?;
        let text = fs::read_to_string(PID).map_err(doing("reading the container's process id"))?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| self.failed("it did not say which process it made".to_owned()))
    }

    pub fn start(&self, id: &str) -> Result<(), Error> {
        let mut command = self.command();
        command.args(["start", id]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.run(command)
    }

    /// Runs another process in the container; the caller lets it have its own streams.
    pub fn execute(&self, id: &str, process: &Path, detach: bool) -> Command {
        let mut command = self.command();
        command.arg("exec").arg("--process").arg(process);
        if detach {
            command.arg("--detach");
        }
        command.arg(id);
        command
    }

    fn run(&self, mut command: Command) -> Result<(), Error> {
        let status = command.status().map_err(doing(format!("running {}", self.program.display())))?;
        match status.success() {
            true => Ok(()),
            false => Err(self.complaint().unwrap_or_else(|| self.failed(status.to_string()))),
        }
    }

    /// What it wrote last to its log.
    pub fn complaint(&self) -> Option<Error> {
        let mut text = String::new();
        File::open(LOG).ok()?.take(LARGEST_LOG).read_to_string(&mut text).ok()?;
        let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Logged>(line).ok());
        lines.filter(|logged| logged.level == "error").map(|logged| self.failed(logged.msg)).next()
    }

    fn failed(&self, message: String) -> Error {
        Error::Runtime { program: self.name(), status: status_of(&message), message }
    }

    /// What is written down is old when another process is run.
    pub fn forget_complaints() -> Result<(), Error> {
        File::create(LOG).map(drop).map_err(doing("emptying the runtime's log"))
    }
}

/// So that a container has no keys of its user's: runtimes would make a keyring for each, of which a user may have 200.
pub fn leave_keys() {
    if let Err(error) = crate::sys::process::leave_keys(c"plyfs") {
        log::debug!("leaving the session's keys: {error}");
    }
}

/// Of a container whose runtime insists on one.
pub fn control_group(id: &str) -> String {
    format!("/plyfs-{id}")
}

/// Takes away what a runtime made and may not have lived to take away.
pub fn clear_state(directory: &Path, id: &str) {
    for name in [PID, CONSOLE, LOG] {
        // Mostly there is none.
        let _ = fs::remove_file(directory.join(name));
    }
    if let Err(error) = fs::remove_dir_all(directory.join(STATE))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        log::warn!("removing the runtime's state of container {id}: {error}");
    }
    let name = control_group(id);
    let top = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_dir(top).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    for directory in controllers.chain([top.to_owned()]) {
        // Mostly there is none.
        let _ = fs::remove_dir(directory.join(name.trim_start_matches('/')));
    }
}

#[derive(Deserialize)]
struct Logged {
    level: String,
    msg: String,
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(ALSO.iter().map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// 127 where the command is not there and 126 where it cannot be run, as shells say it. Runtimes tell in words alone.
fn status_of(message: &str) -> u8 {
    let message = message.to_lowercase();
    let is_of_command =
        ["executable", "exec: \"", "exec container process"].iter().any(|word| message.contains(word));
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match is_of_command {
        true if says(&["not found", "no such file"]) => 127,
        true if says(&["permission denied", "not permitted", "format error", "is a directory"]) => 126,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_command_is_told_from_what_is_wrong_with_a_container() {
        for (message, status) in [
            ("executable file `x` not found in $PATH: No such file or directory", 127),
            (
                "runc create failed: unable to start container process: exec: \"x\": executable file not found in $PATH",
                127,
            ),
            (
                "runc create failed: unable to start container process: exec: \"/x\": stat /x: no such file or directory",
                127,
            ),
            ("open executable: Permission denied", 126),
            ("open executable: Operation not permitted", 126),
            ("exec: \"/etc\": permission denied", 126),
            ("exec container process `/bin/x`: Exec format error", 126),
            ("mount `/x` to `/y`: No such file or directory", 125),
            ("mount `proc` to `/proc`: Operation not permitted", 125),
        ] {
            assert_eq!(status_of(message), status, "{message}");
        }
    }
}
