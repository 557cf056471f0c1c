//! What this machine lets plyfs do: each finding was tried, not guessed.

use std::fs;

use crate::sys::mount::{self as system, Way};
use crate::sys::namespace;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub what: &'static str,
    pub state: State,
    pub detail: String,
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Good,
    /// Not there, and can be had.
    Missing,
    /// There, and not allowed.
    Blocked,
}

/// Everything that decides whether and how this process can mount.
pub fn findings() -> Vec<Finding> {
    vec![kernel(), device(), setuid_program(), others(), namespaces(), passthrough(), verdict()]
}

fn finding(what: &'static str, state: State, detail: impl Into<String>) -> Finding {
    Finding { what, state, detail: detail.into(), hint: None }
}

impl Finding {
    fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }
}

fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let enough = version(&release) >= (5, 1);
    let state = if enough { State::Good } else { State::Missing };
    // Directories that need no open came with 5.1; older kernels are served, slower.
    finding("kernel", state, release).hint((!enough).then_some("Linux 5.1 or later is faster"))
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn device() -> Finding {
    match system::open_device() {
        Ok(_) => finding("/dev/fuse", State::Good, "opens"),
        Err(error @ system::Error::NoDevice) => {
            finding("/dev/fuse", State::Missing, error.to_string()).hint(error.hint())
        }
        Err(error) => finding("/dev/fuse", State::Blocked, error.to_string()).hint(error.hint()),
    }
}

fn setuid_program() -> Finding {
    const WHAT: &str = "fusermount3";
    match system::setuid_program() {
        Some((path, true)) => finding(WHAT, State::Good, path.display().to_string()),
        Some((path, false)) => {
            finding(WHAT, State::Blocked, format!("{} is not set-user-id", path.display()))
                .hint(Some(format!("as root: `chmod u+s {}`", path.display())))
        }
        None => finding(WHAT, State::Missing, "not found in PATH").hint(Some("install the package fuse3")),
    }
}

fn others() -> Finding {
    const WHAT: &str = "allow_other for users";
    if system::users_may_allow_others() {
        finding(WHAT, State::Good, "user_allow_other is in /etc/fuse.conf")
    } else {
        let error = system::Error::OthersNotAllowed;
        finding(WHAT, State::Blocked, "user_allow_other is not in /etc/fuse.conf").hint(error.hint())
    }
}

/// Settings that forbid namespaces, the value that forbids, and how to allow them again.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

fn namespaces() -> Finding {
    const WHAT: &str = "user namespaces";
    let forbidding = SETTINGS
        .iter()
        .find(|(path, forbids, _)| fs::read_to_string(path).is_ok_and(|value| value.trim() == *forbids));
    let hint = forbidding.map(|(_, _, remedy)| format!("as root: `{remedy}`"));
    match namespace::try_user_namespace() {
        Ok(()) => finding(WHAT, State::Good, "one was made"),
        Err(error) => finding(WHAT, State::Blocked, format!("making one: {error}")).hint(hint),
    }
}

fn passthrough() -> Finding {
    const WHAT: &str = "passthrough";
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match (version(&release) >= (6, 9), system::may_pass_through()) {
        (true, true) => finding(
            WHAT,
            State::Good,
            "the kernel reads and writes an upper's files itself, and with `-o passthrough` reads cached ones",
        ),
        (false, _) => finding(WHAT, State::Missing, "needs Linux 6.9 or later"),
        (true, false) => finding(WHAT, State::Blocked, "only root of the first user namespace may use it"),
    }
}

fn verdict() -> Finding {
    const WHAT: &str = "mounting";
    match (Way::of_this_process(), system::open_device(), system::setuid_program()) {
        (_, Err(error), _) => finding(WHAT, State::Blocked, "not possible").hint(error.hint()),
        (Way::Direct, Ok(_), _) => finding(WHAT, State::Good, "plyfs mounts by itself"),
        (Way::SetuidProgram, Ok(_), Some((_, true))) => {
            finding(WHAT, State::Good, "plyfs mounts through fusermount3")
        }
        (Way::SetuidProgram, Ok(_), _) => {
            let error = system::Error::NoSetuidProgram;
            finding(WHAT, State::Blocked, "plyfs has neither CAP_SYS_ADMIN nor fusermount3")
                .hint(error.hint())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        let releases = ["6.18.44-fc-v657", "5.4.0-1+deb", "6.9-rc1", "strange"];
        assert_eq!(releases.map(version), [(6, 18), (5, 4), (6, 9), (0, 0)]);
    }
}
