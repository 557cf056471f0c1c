//! What this machine lets containers be: each finding was tried or looked up, not guessed.

use super::{Error, Runtime};
use crate::mount::doctor::{Finding, State};
use crate::mount::namespace::{self, IdsOf};

/// Everything that decides whether and how a container can be run, once an image can be mounted.
pub fn findings() -> Vec<Finding> {
    vec![runtime(), ids()]
}

fn runtime() -> Finding {
    const WHAT: &str = "OCI runtime";
    match Runtime::find(None) {
        Ok(runtime) => finding(WHAT, State::Good, runtime.program().display().to_string(), None),
        Err(error) => finding(WHAT, State::Missing, error.to_string(), Error::hint(&error)),
    }
}

fn ids() -> Finding {
    const WHAT: &str = "ids in containers";
    const HINT: &str = "install the package uidmap, and as root: `usermod --add-subuids 100000-165535 --add-subgids \
                        100000-165535 USER`";
    if rustix::process::geteuid().is_root() {
        return finding(WHAT, State::Good, "those of root's namespace".to_owned(), None);
    }
    match namespace::granted(rustix::process::getuid().as_raw()) {
        Ok(ids @ IdsOf::Granted { .. }) => finding(WHAT, State::Good, ids.to_string(), None),
        Ok(ids @ IdsOf::User) => {
            finding(WHAT, State::Missing, format!("{ids}: everything in a container is root's"), Some(HINT))
        }
        Err(error) => finding(WHAT, State::Blocked, error.to_string(), None),
    }
}

fn finding(what: &'static str, state: State, detail: String, hint: Option<&str>) -> Finding {
    Finding { what, state, detail, hint: hint.map(str::to_owned) }
}
