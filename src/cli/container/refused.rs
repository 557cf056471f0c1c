//! What docker's users ask of `run` that can't be had here: each flag gets the reason, and not only that it is not known.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::error::Usage;

/// Why, and all flags of docker's and podman's of which it is true.
pub const REFUSED: &[(&str, &[&str])] = &[
    (
        "plyfs makes no networks: a container has yours, or with `--network none` none",
        &[
            "-p",
            "--publish",
            "-P",
            "--publish-all",
            "--expose",
            "--dns",
            "--dns-option",
            "--dns-search",
            "--add-host",
            "--ip",
            "--ip6",
            "--link",
            "--link-local-ip",
            "--mac-address",
            "--network-alias",
        ],
    ),
    (
        "plyfs makes no control groups, so it sets no limits; `systemd-run --user --scope -p MemoryMax=1G plyfs run` does",
        &[
            "-m",
            "--memory",
            "--memory-reservation",
            "--memory-swap",
            "--memory-swappiness",
            "-c",
            "--cpu-shares",
            "--cpus",
            "--cpu-count",
            "--cpu-percent",
            "--cpu-period",
            "--cpu-quota",
            "--cpu-rt-period",
            "--cpu-rt-runtime",
            "--cpuset-cpus",
            "--cpuset-mems",
            "--pids-limit",
            "--blkio-weight",
            "--blkio-weight-device",
            "--device-read-bps",
            "--device-read-iops",
            "--device-write-bps",
            "--device-write-iops",
            "--device-cgroup-rule",
            "--io-maxbandwidth",
            "--io-maxiops",
            "--kernel-memory",
            "--oom-kill-disable",
            "--oom-score-adj",
            "--cgroup-parent",
            "--cgroupns",
            "--cgroups",
        ],
    ),
    ("no daemon starts a container again; a unit of systemd with `Restart=` does", &["--restart"]),
    (
        "a container has the streams of this command; with --detach they go to the log, which `plyfs logs` shows",
        &["-a", "--attach", "--sig-proxy", "--detach-keys", "--log-driver", "--log-opt"],
    ),
    (
        "a container has no more rights than its user; `--cap-add` gives it those of a namespace's root",
        &["--privileged", "--security-opt"],
    ),
    ("plyfs gives no devices but the usual ones", &["--device", "--gpus"]),
    ("say it as --volume or --tmpfs", &["--mount"]),
    (
        "plyfs keeps no volumes apart from containers; a directory of yours is one by --volume",
        &["--volumes-from", "--volume-driver", "--storage-opt"],
    ),
    (
        "the command is the first process, and plyfs has no other to put before it; an image can bring tini as its entrypoint",
        &["--init", "--init-path"],
    ),
    ("your own limits hold; `ulimit` changes them before plyfs runs", &["--ulimit"]),
    ("/dev/shm has 64 MiB; `--tmpfs /dev/shm:size=1g` makes another", &["--shm-size"]),
    (
        "a container has namespaces of its own for processes, messages and its name, and its settings are the kernel's",
        &["--pid", "--ipc", "--uts", "--domainname", "--sysctl"],
    ),
    (
        "which ids there are is decided by /etc/subuid; `plyfs doctor` says what they are",
        &["--userns", "--uidmap", "--gidmap", "--subuidname", "--subgidname"],
    ),
    (
        "nothing asks a container how it is",
        &[
            "--health-cmd",
            "--health-interval",
            "--health-retries",
            "--health-start-interval",
            "--health-start-period",
            "--health-timeout",
            "--no-healthcheck",
        ],
    ),
    ("an image that is not here is pulled; `plyfs pull` brings a newer one", &["--pull"]),
    ("labels are given one by one, by --label", &["--label-file", "--annotation"]),
    ("there is one way to be isolated, the kernel's namespaces", &["--isolation"]),
];

/// The reason why a flag of `run` or `bundle` is not taken, if it is one of docker's.
pub fn explained(error: &clap::Error) -> Option<Usage> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let runs = |usage: &ContextValue| {
        ["plyfs run", "plyfs bundle"].iter().any(|one| usage.to_string().contains(one))
    };
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    error.get(ContextKind::Usage).filter(|usage| runs(usage))?;
    let name = flag.split('=').next().unwrap_or(flag);
    let (why, _) = REFUSED.iter().find(|(_, flags)| flags.contains(&name))?;
    Some(Usage(format!("{name} is not taken: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_in_the_documentation_beside_its_flags() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONTAINERS.md")).unwrap();
        let line = |(why, flags): &(&str, &[&str])| {
            let flags: Vec<String> = flags.iter().map(|flag| format!("`{flag}`")).collect();
            format!("| {} | {why} |", flags.join(" "))
        };
        let missing: Vec<String> = REFUSED.iter().map(line).filter(|line| !page.contains(line)).collect();
        assert_eq!(missing, [""; 0], "docs/CONTAINERS.md");
    }

    #[test]
    fn none_that_is_taken_is_refused() {
        let command = crate::cli::command();
        let run = command.find_subcommand("run").unwrap();
        let taken = |flag: &&str| {
            let name = flag.trim_start_matches('-');
            run.get_arguments().any(|argument| match flag.starts_with("--") {
                true => argument.get_long_and_visible_aliases().is_some_and(|longs| longs.contains(&name)),
                false => argument.get_short().is_some_and(|short| name.starts_with(short)),
            })
        };
        let refused = REFUSED.iter().flat_map(|(_, flags)| flags.iter().copied());
        assert_eq!(refused.filter(taken).collect::<Vec<_>>(), [""; 0]);
    }
}
