#!/usr/bin/env python3
"""compare.py PLYFS WORK IMAGE SCRATCH: the same read work on native ext4, plyfs and fuse-overlayfs, turn by turn.

PLYFS and WORK are the programs (WORK: benches/work.rs), IMAGE an OCI layout, SCRATCH a folder on ext4 where
`scripts/bench` has put rootfs/ (the image unpacked), layers/N/ (each layer unpacked by itself), big/ (one file of
500 MB) and big.tar (the same as an image).
A row is a kind of work; a turn runs it once on every driver; figures are medians, ratios medians of the ratios turn by turn.
Needs root: it mounts, and drops the kernel's caches of names and inodes before each cold run.
"""
import os
import statistics
import subprocess
import sys

ROUNDS = int(os.environ.get("ROUNDS", "7"))
PLYFS, WORK, IMAGE, SCRATCH = sys.argv[1:5]
STORE = os.path.join(SCRATCH, "store")


def run(*words, **options):
    return subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options).stdout


def drop_caches():
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2")


def seconds(words):
    """Wall seconds of one run of a command; WORK tells its own, without the making of its list."""
    if words[0] == WORK:
        return float(run(*words))
    timed = ["perf", "stat", "-x", ",", "-e", "duration_time", "--", *words]
    return float(subprocess.run(timed, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                 .stderr.splitlines()[-1].split(",")[0]) / 1e9


class Driver:
    def __init__(self, name, at, mount=None, unmount=None):
        self.name, self.at, self.mount_words, self.unmount_words = name, at, mount, unmount

    def mount(self):
        if self.mount_words:
            run(*self.mount_words)

    def unmount(self):
        if self.unmount_words:
            run(*self.unmount_words)

    def fresh(self):
        """A new mount, and no name or inode cached."""
        self.unmount()
        drop_caches()
        self.mount()


def drivers(name, image, native, lower):
    """One tree on every driver: `image` for plyfs, the directory `native`, the directories `lower` for fuse-overlayfs."""
    plyfs, fuse_overlayfs = ("%s/%s-%s" % (SCRATCH, name, driver) for driver in ("plyfs", "fuse-overlayfs"))
    for at in (plyfs, fuse_overlayfs):
        os.makedirs(at, exist_ok=True)
    return [
        Driver("native", native),
        Driver("plyfs", plyfs, [PLYFS, "--root", STORE, "mount", image, plyfs], [PLYFS, "--root", STORE, "umount", plyfs]),
        Driver("fuse-overlayfs", fuse_overlayfs, ["fuse-overlayfs", "-o", "lowerdir=" + ":".join(lower), fuse_overlayfs],
               ["umount", fuse_overlayfs]),
    ]


def trees():
    layers = [SCRATCH + "/layers/%d" % number for number in reversed(range(len(os.listdir(SCRATCH + "/layers"))))]
    return {"tree": drivers("tree", IMAGE, SCRATCH + "/rootfs", layers),
            "big": drivers("big", SCRATCH + "/big.tar", SCRATCH + "/big", [SCRATCH + "/big"])}


ROWS = [  # name, cold, command with {tree} or {big} for where it is mounted, target ratio to native
    ("find -printf %s, cold", True, ["find", "{tree}", "-printf", "%s"], 1.1),
    ("find -printf %s, warm", False, ["find", "{tree}", "-printf", "%s"], 1.1),
    ("stat of all, cold", True, [WORK, "stat", "{tree}", SCRATCH + "/list"], 2.0),
    ("stat of all, warm", False, [WORK, "stat", "{tree}", SCRATCH + "/list"], 1.1),
    ("tar of all, contents cached", False, ["sh", "-c", "tar -C {tree} --one-file-system -cf - . | cat >/dev/null"], 1.3),
    ("open+read+close, small, warm", False, [WORK, "open", "{tree}"], 1.2),
    ("500 MB file, warm", False, [WORK, "read", "{big}/big"], 1.1),
    ("missing names", False, [WORK, "miss", "{tree}", "30000"], 1 / 0.6),
    ("python start-up, warm", False, ["chroot", "{tree}", "/usr/bin/python3", "-c", "import json, ssl, http.client"], 1.1),
]


def measure(drivers, cold, words):
    """driver -> seconds of each turn; the first turn warms up and is not counted."""
    times = {driver.name: [] for driver in drivers}
    for turn in range(ROUNDS + 1):
        for driver in drivers:
            if cold:
                driver.fresh()
            took = seconds([word.format(tree=driver.at, big=driver.at) for word in words])
            if turn:
                times[driver.name].append(took)
    return times


def report(name, target, times):
    middle = {who: statistics.median(all) for who, all in times.items()}
    ratio = {who: statistics.median(a / b for a, b in zip(all, times["native"])) for who, all in times.items()}
    print("%-30s %10.4f %10.4f %7.2f %7.2f %15.4f %7.2f" % (name, middle["native"], middle["plyfs"], ratio["plyfs"], target,
                                                          middle["fuse-overlayfs"], ratio["fuse-overlayfs"]), flush=True)


def main():
    wanted = sys.argv[5:]
    with open(SCRATCH + "/list", "wb") as names:
        subprocess.run(["find", SCRATCH + "/rootfs", "-printf", r"%P\0"], check=True, stdout=names)
    everything = trees()
    everyone = [driver for drivers in everything.values() for driver in drivers]
    print("%-30s %10s %10s %7s %7s %15s %7s" % ("work", "native s", "plyfs s", "ratio", "target", "fuse-overlayfs", "ratio"))
    try:
        for driver in everyone:
            driver.mount()
        for name, cold, words, target in ROWS:
            if not wanted or any(word in name for word in wanted):
                drivers = everything["big" if any("{big}" in word for word in words) else "tree"]
                report(name, target, measure(drivers, cold, words))
    finally:
        for driver in everyone:
            driver.unmount()


if __name__ == "__main__":
    main()
