//! What is mounted in a container beside its root: the kernel's file systems, the files that say who and where it is,
//! and what the user asked for.

use std::path::Path;

use serde_json::{Value, json};

use super::bundle::Placement;
use super::{Network, Wanted};

/// What is in these is the machine's, and nothing of it is for a container: podman's list.
pub const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];
pub const READ_ONLY: &[&str] =
    &["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A file that is made for the container, and where it is seen.
pub type Given = (&'static str, &'static str);

pub const HOSTS: Given = ("hosts", "/etc/hosts");
pub const HOSTNAME: Given = ("hostname", "/etc/hostname");
pub const RESOLVER: Given = ("resolv.conf", "/etc/resolv.conf");

/// In the order in which they are made. Volumes are directories of the image that stay writable.
pub fn mounts(wanted: &Wanted, placement: &Placement, given: &[Given], volumes: &[String]) -> Vec<Value> {
    let mut mounts = kernels(wanted.network, placement);
    mounts.extend(
        given
            .iter()
            .map(|(file, target)| bind(&placement.directory.join(file), target, &["rbind", "rprivate"])),
    );
    let in_root = |path: &String| placement.directory.join(super::ROOTFS).join(path.trim_start_matches('/'));
    if wanted.read_only {
        mounts.extend(volumes.iter().map(|path| bind(&in_root(path), path, &["rbind", "rprivate"])));
    }
    mounts.extend(wanted.tmpfs.iter().map(|tmpfs| {
        let own = tmpfs.options.iter().map(String::as_str);
        let options: Vec<&str> = ["nosuid", "nodev", "noexec", "rprivate"].into_iter().chain(own).collect();
        mount(&tmpfs.target, "tmpfs", "tmpfs", &options)
    }));
    mounts.extend(wanted.binds.iter().map(|one| {
        let own = one.options.iter().map(String::as_str);
        let options: Vec<&str> = ["rbind", "rprivate", "nosuid", "nodev"].into_iter().chain(own).collect();
        bind(&one.source, &one.target, &options)
    }));
    mounts
}

fn kernels(network: Network, placement: &Placement) -> Vec<Value> {
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if placement.has_group(TERMINALS) {
        terminals.push("gid=5");
    }
    let system = match network {
        // The kernel shows /sys anew only to who owns the network that it shows.
        Network::Host if !placement.is_initial() => {
            mount("/sys", "bind", "/sys", &["rbind", "rprivate", "ro", "nosuid", "noexec", "nodev"])
        }
        Network::Host | Network::None => {
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
        }
    };
    vec![
        processes(placement),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &terminals),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        system,
    ]
}

/// The group of terminals everywhere.
const TERMINALS: u32 = 5;

fn processes(placement: &Placement) -> Value {
    match placement.shares_processes {
        true => mount("/proc", "bind", "/proc", &["rbind", "rprivate", "nosuid", "noexec", "nodev"]),
        false => mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    }
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Value {
    mount(target, "bind", &source.display().to_string(), options)
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": kind, "source": source, "options": options})
}
