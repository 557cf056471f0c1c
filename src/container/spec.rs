//! `config.json` as the runtime spec has it.

use serde_json::{Value, json};

use super::bundle::Placement;
use super::identity::Identity;
use super::mounts::{self, Given};
use super::process::Process;
use super::{Error, Network, Wanted, capabilities, seccomp};

const VERSION: &str = "1.0.2";

/// All that a config is made of.
pub struct Parts<'a> {
    pub process: &'a Process,
    pub wanted: &'a Wanted,
    pub placement: &'a Placement,
    pub hostname: &'a str,
    pub given: &'a [Given],
    pub volumes: &'a [String],
}

pub fn config(parts: &Parts<'_>) -> Result<Value, Error> {
    let Parts { process, wanted, placement, hostname, given, volumes } = parts;
    let powers = capabilities::resolve(&wanted.add_capabilities, &wanted.drop_capabilities)?;
    Ok(json!({
        "ociVersion": VERSION,
        "process": self::process(process, wanted)?,
        "root": {"path": super::ROOTFS, "readonly": wanted.read_only},
        "hostname": hostname,
        "mounts": mounts::mounts(wanted, placement, given, volumes),
        "linux": linux(wanted, placement, seccomp::profile(&powers)?),
    }))
}

/// The part that says what is run.
fn process(process: &Process, wanted: &Wanted) -> Result<Value, Error> {
    let identity = &process.identity;
    Ok(json!({
        "terminal": process.terminal,
        "user": user(identity),
        "args": process.args,
        "env": process.env,
        "cwd": process.cwd,
        "capabilities": powers(identity.user, wanted)?,
        "noNewPrivileges": false,
    }))
}

pub fn user(identity: &Identity) -> Value {
    json!({"uid": identity.user, "gid": identity.group, "additionalGids": identity.groups})
}

/// Who is not root has only what was asked for, and can become no more than root of the container.
pub fn powers(user: u32, wanted: &Wanted) -> Result<Value, Error> {
    let bounding = capabilities::resolve(&wanted.add_capabilities, &wanted.drop_capabilities)?;
    if user == 0 {
        return Ok(json!({"bounding": bounding, "effective": bounding, "permitted": bounding}));
    }
    let own = capabilities::resolve(&wanted.add_capabilities, &["ALL".to_owned()])?;
    Ok(json!({"bounding": bounding, "effective": own, "permitted": own, "inheritable": own, "ambient": own}))
}

fn linux(wanted: &Wanted, placement: &Placement, seccomp: Option<Value>) -> Value {
    let mut kinds = vec!["mount", "ipc", "uts"];
    if !placement.shares_processes {
        kinds.push("pid");
    }
    if wanted.network == Network::None {
        kinds.push("network");
    }
    let mut linux = json!({"maskedPaths": mounts::MASKED, "readonlyPaths": mounts::READ_ONLY});
    if let Some((user, group)) = placement.mapped_to_root() {
        kinds.push("user");
        let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        linux["uidMappings"] = map(user);
        linux["gidMappings"] = map(group);
    }
    linux["namespaces"] = kinds.iter().map(|kind| json!({"type": kind})).collect();
    if let Some(path) = &placement.control_group {
        linux["cgroupsPath"] = path.as_str().into();
    }
    if let Some(seccomp) = seccomp {
        linux["seccomp"] = seccomp;
    }
    linux
}
