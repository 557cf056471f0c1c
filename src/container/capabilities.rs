//! Which of root's powers a container's root has: podman's set, and what is added and dropped.

use super::Error;
use super::wanted::invalid;

const DEFAULT: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

const ALL: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// By their names in the kernel, in the order of the alphabet.
pub fn resolve(add: &[String], drop: &[String]) -> Result<Vec<String>, Error> {
    let (add, drop) = (known(add)?, known(drop)?);
    let everything = |list: &[String]| list.iter().any(|one| one == "ALL");
    let start = match (everything(&add), everything(&drop)) {
        (true, _) => ALL,
        (false, true) => &[],
        (false, false) => DEFAULT,
    };
    let kept = start.iter().map(|one| (*one).to_owned()).filter(|one| !drop.contains(one));
    let mut names: Vec<String> = kept.chain(add.into_iter().filter(|one| one != "ALL")).collect();
    names.sort();
    names.dedup();
    Ok(names.into_iter().map(|name| format!("CAP_{name}")).collect())
}

fn known(names: &[String]) -> Result<Vec<String>, Error> {
    names
        .iter()
        .map(|name| {
            let upper = name.to_uppercase();
            let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
            match plain == "ALL" || ALL.contains(&plain) {
                true => Ok(plain.to_owned()),
                false => Err(invalid("capability", name, "the kernel has none of this name")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(add: &[&str], drop: &[&str]) -> Result<Vec<String>, Error> {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        resolve(&owned(add), &owned(drop))
    }

    #[test]
    fn capabilities_are_added_and_dropped_in_any_spelling() {
        assert_eq!(resolved(&["net_raw", "CAP_KILL"], &["ALL"]).unwrap(), ["CAP_KILL", "CAP_NET_RAW"]);
        assert_eq!(resolved(&[], &[]).unwrap().len(), DEFAULT.len());
        assert_eq!(resolved(&["all"], &["sys_admin"]).unwrap().len(), ALL.len() - 1);
        let unknown = resolved(&["FLY"], &[]).unwrap_err().to_string();
        assert_eq!(unknown, "capability `FLY`: the kernel has none of this name");
    }
}
