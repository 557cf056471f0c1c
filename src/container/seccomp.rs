//! The system calls a container may make: the profile that podman and buildah use, where it is installed, in the form
//! of the runtime spec.

use std::fs;
use std::io;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, doing};

/// The administrator's before the distribution's.
const PROFILES: [&str; 2] = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    arch_map: Vec<Architecture>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    action: String,
    #[serde(default)]
    args: Option<Vec<Value>>,
    errno_ret: Option<u32>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Debug, Default, Deserialize)]
struct Condition {
    #[serde(default)]
    arches: Vec<String>,
    #[serde(default)]
    caps: Vec<String>,
}

/// `None` where no profile is installed.
pub fn profile(capabilities: &[String]) -> Result<Option<Value>, Error> {
    for path in PROFILES {
        match fs::read(path) {
            Ok(bytes) => {
                let profile: Profile = serde_json::from_slice(&bytes)
                    .map_err(|error| doing(format!("reading {path}"))(error.into()))?;
                return Ok(Some(profile.of_runtime(capabilities)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(doing(format!("reading {path}"))(error)),
        }
    }
    Ok(None)
}

impl Profile {
    fn of_runtime(&self, capabilities: &[String]) -> Value {
        let machine = machine();
        let rules =
            self.syscalls.iter().filter(|rule| rule.holds(machine.0, capabilities)).map(Rule::of_runtime);
        let own = self.arch_map.iter().find(|entry| entry.architecture == machine.1);
        let architectures: Vec<&String> = own
            .into_iter()
            .flat_map(|own| std::iter::once(&own.architecture).chain(own.sub_architectures.iter().flatten()))
            .collect();
        let mut made = json!({
            "defaultAction": self.default_action,
            "architectures": architectures,
            "syscalls": rules.collect::<Vec<_>>(),
        });
        if let Some(errno) = self.default_errno_ret {
            made["defaultErrnoRet"] = errno.into();
        }
        made
    }
}

impl Rule {
    fn holds(&self, machine: &str, capabilities: &[String]) -> bool {
        let here = |condition: &Condition| condition.arches.iter().any(|name| name == machine);
        let has = |name: &String| capabilities.contains(name);
        (self.includes.arches.is_empty() || here(&self.includes))
            && self.includes.caps.iter().all(has)
            && !here(&self.excludes)
            && !self.excludes.caps.iter().any(has)
    }

    fn of_runtime(&self) -> Value {
        let mut made = json!({"names": self.names, "action": self.action});
        if let Some(errno) = self.errno_ret {
            made["errnoRet"] = errno.into();
        }
        if let Some(args) = self.args.as_ref().filter(|args| !args.is_empty()) {
            made["args"] = args.clone().into();
        }
        made
    }
}

/// This machine, as Go and as libseccomp call it.
fn machine() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "x86_64" => ("amd64", "SCMP_ARCH_X86_64"),
        "x86" => ("386", "SCMP_ARCH_X86"),
        "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
        "arm" => ("arm", "SCMP_ARCH_ARM"),
        "powerpc64" => ("ppc64le", "SCMP_ARCH_PPC64LE"),
        "s390x" => ("s390x", "SCMP_ARCH_S390X"),
        "riscv64" => ("riscv64", "SCMP_ARCH_RISCV64"),
        other => (other, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_where_its_conditions_hold() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": []},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["umount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": null,
                "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["other"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["pdp11"]}}]}"#;
        let profile: Profile = serde_json::from_str(text).unwrap();
        let expected = json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": [], "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["umount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
            "defaultErrnoRet": 38});
        assert_eq!(profile.of_runtime(&["CAP_KILL".to_owned()]), expected);
    }
}
