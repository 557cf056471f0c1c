//! What this machine lets containers be: each finding was tried or looked up, not guessed.

use super::{Error, Runtime};
use crate::mount::doctor::{Finding, State};
use crate::mount::namespace::{self, IdsOf};
use crate::sys::mount::{self as system, Way};
use crate::sys::namespace::try_overlay;
use crate::sys::overlay;

/// Everything that decides whether and how a container can be run, once an image can be mounted.
pub fn findings() -> Vec<Finding> {
    vec![runtime(), ids(), files()]
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

/// Where the files of a container's root come from.
fn files() -> Finding {
    const WHAT: &str = "files of containers";
    if system::open_device().is_ok() {
        return finding(WHAT, State::Good, "plyfs serves them through FUSE".to_owned(), None);
    }
    let overlay = match Way::of_this_process() {
        Way::Direct if overlay::is_known() => Ok(()),
        Way::Direct => Err("this kernel has none, or is older than Linux 5.2".to_owned()),
        Way::SetuidProgram => try_overlay().map_err(|error| error.to_string()),
    };
    match overlay {
        Ok(()) => {
            const INSTEAD: &str =
                "copied out of the image for each run, under the kernel's overlayfs: there is no FUSE";
            finding(WHAT, State::Missing, INSTEAD.to_owned(), None)
        }
        Err(why) => {
            finding(WHAT, State::Blocked, format!("neither FUSE nor the kernel's overlayfs: {why}"), None)
        }
    }
}

fn finding(what: &'static str, state: State, detail: String, hint: Option<&str>) -> Finding {
    Finding { what, state, detail, hint: hint.map(str::to_owned) }
}
