#!/usr/bin/env python3
"""write.py PLYFS SCRATCH [ROW…]: the same writing on native ext4, kernel overlayfs, fuse-overlayfs and plyfs, turn by turn.

PLYFS is the program, SCRATCH a folder on ext4 for the mounts and for what they show: trees of 5,000 and 25,000 small
files and a file of 500 MB, as images for plyfs, as directories for the others. `plyfs dirs` is plyfs as a mount program
over those directories. Each turn has a fresh mount with an empty upper, which is not timed. What it leaves is removed at
the very end: ext4 is slow to make files where others were removed within the last half minute.
Figures are medians of ROUNDS turns, ratios medians of the ratios turn by turn. Needs root, git, make and cc.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get("ROUNDS", "5"))
PLYFS, SCRATCH = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
FILES = 10000
MIB = 1 << 20


def run(*words, **options):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options)


def at(*parts):
    return os.path.join(SCRATCH, *parts)


# What is shown and worked with.

def make_inputs():
    for name, entries in (("small", 5000), ("many", 25000)):
        if not os.path.exists(at(name)):
            with open(at(name + ".tar"), "wb") as tar:
                run_to(tar, sys.executable, os.path.join(HERE, "entries.py"), str(entries))
            os.makedirs(at(name + ".new"))
            run("tar", "-C", at(name + ".new"), "-xf", at(name + ".tar"))
            os.rename(at(name + ".new"), at(name))
    if not os.path.exists(at("big")):
        os.makedirs(at("big"))
        run("sh", "-c", "head -c 500M /dev/urandom >big/big && tar -C big -cf big.tar big", cwd=SCRATCH)
    if not os.path.exists(at("repository")):
        run("sh", "-c", "git init -q new && cp -r small/tree new && cd new && git add . && "
            "git -c user.name=n -c user.email=n@example.org commit -qm all && cd .. && mv new repository", cwd=SCRATCH)
    if not os.path.exists(at("sources")):
        make_sources()


def run_to(file, *words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=file)


def make_sources():
    os.makedirs(at("sources.new"))
    names = ["unit%d" % number for number in range(60)]
    for name in names:
        with open(at("sources.new", name + ".c"), "w") as file:
            file.write("#include <stdio.h>\nint %s(int n) { return printf(\"%%d\", n); }\n" % name)
    with open(at("sources.new", "Makefile"), "w") as file:
        file.write("library.a: %s\n\tar rcs $@ $^\n" % " ".join(name + ".o" for name in names))
    os.rename(at("sources.new"), at("sources"))


# What shows it.

class Driver:
    """`tree` is small, many or big; what is mounted shows it at `here`."""

    def __init__(self, name):
        self.name, self.top = name, tempfile.mkdtemp(dir=at("run"))
        self.here, self.upper, self.work = (os.path.join(self.top, part) for part in ("mnt", "upper", "work"))

    def fresh(self, tree):
        for directory in (self.here, self.upper, self.work):
            os.makedirs(directory)
        {"native": self.copy, "overlay": self.overlay, "fuse-overlayfs": self.fuse_overlayfs, "plyfs": self.plyfs,
         "plyfs dirs": self.directories}[self.name](tree)

    def options(self, tree):
        return "lowerdir=%s,upperdir=%s,workdir=%s" % (at(tree), self.upper, self.work)

    def copy(self, tree):
        os.rmdir(self.here)
        run("cp", "-a", at(tree), self.here)

    def overlay(self, tree):
        run("mount", "-t", "overlay", "overlay", "-o", self.options(tree), self.here)

    def fuse_overlayfs(self, tree):
        run("fuse-overlayfs", "-o", self.options(tree), self.here)

    def directories(self, tree):
        run(PLYFS, "-o", self.options(tree), self.here)

    def plyfs(self, tree):
        run(PLYFS, "--root", at("store"), "mount", "--name", os.path.basename(self.top), at(tree + ".tar"), self.here)

    def gone(self):
        if os.path.ismount(self.here):
            run("umount", self.here)


# What is done. Each is given where, prepares, and returns what is timed.

def names(here, count=FILES):
    os.mkdir(here + "/new")
    return ["%s/new/name-%d" % (here, number) for number in range(count)]


def each(act, paths):
    return lambda: [act(path) for path in paths]


def create_one(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def create(here):
    return each(create_one, names(here))


def unlink(here):
    paths = names(here)
    each(create_one, paths)()
    return each(os.unlink, paths)


def mkdir(here):
    return each(os.mkdir, names(here))


def rename(here):
    paths = names(here)
    each(create_one, paths)()
    return each(lambda path: os.rename(path, path + "-other"), paths)


def write(size, piece):
    def prepare(here):
        def act():
            with open(here + "/written", "wb", buffering=0) as file:
                for _ in range(size // piece):
                    file.write(block)
        block = os.urandom(piece)
        return act
    return prepare


def copy_up(here):
    def act():
        with open(here + "/big", "ab") as file:
            file.write(b"x")
    return act


def command(*words):
    return lambda here: lambda: run(*(word.format(here=here, scratch=SCRATCH) for word in words), stderr=subprocess.DEVNULL)


ROWS = [  # name, what is mounted, work
    ("create 10k", "small", create),
    ("unlink 10k", "small", unlink),
    ("mkdir 10k", "small", mkdir),
    ("rename 10k", "small", rename),
    ("copy-up of 500 MB", "big", copy_up),
    ("chmod -R of 5k lower files", "small", command("chmod", "-R", "g+w", "{here}/tree")),
    ("rm -rf of 25k lower files", "many", command("rm", "-rf", "{here}/tree")),
    ("untar 5k files", "big", command("tar", "-C", "{here}", "-xf", "{scratch}/small.tar")),
    ("git clone 5k files", "big", command("git", "clone", "-q", "file://{scratch}/repository", "{here}/clone")),
    ("compile 60 files", "big", command("sh", "-c", "cp -r {scratch}/sources {here}/ && make -s -j2 -C {here}/sources")),
    ("write 512 MiB by 128k", "big", write(512 * MIB, 128 << 10)),
    ("write 64 MiB by 4k", "big", write(64 * MIB, 4 << 10)),
]
NAMES = os.environ.get("DRIVERS", "native,overlay,fuse-overlayfs,plyfs,plyfs dirs").split(",")


def measure(tree, work):
    """driver -> seconds of each turn; the first turn warms up and is not counted."""
    times = {name: [] for name in NAMES}
    for turn in range(ROUNDS + 1):
        for driver in map(Driver, NAMES):
            try:
                driver.fresh(tree)
                timed = work(driver.here)
                os.sync()
                start = time.monotonic()
                timed()
                took = time.monotonic() - start
            finally:
                driver.gone()
            if turn:
                times[driver.name].append(took)
    return times


def ratio(times, one, other):
    return statistics.median(a / b for a, b in zip(times[one], times[other]))


def main():
    wanted = sys.argv[3:]
    os.makedirs(at("run"), exist_ok=True)
    make_inputs()
    print("%-28s" % "seconds" + "".join("%16s" % name for name in NAMES) + "   plyfs : fuse-overlayfs", flush=True)
    ratios = []
    for name, tree, work in ROWS:
        if wanted and not any(word in name for word in wanted):
            continue
        times = measure(tree, work)
        told = [ratio(times, name, "fuse-overlayfs") for name in NAMES if name.startswith("plyfs") and "fuse-overlayfs" in NAMES]
        ratios.append(told)
        print("%-28s" % name + "".join("%16.4f" % statistics.median(times[who]) for who in NAMES)
              + "   " + " ".join("%.2f" % one for one in told), flush=True)
    shutil.rmtree(at("run"))
    shutil.rmtree(at("store"), ignore_errors=True)
    print("%-28s" % "geometric mean" + " " * 16 * len(NAMES) + "   "
          + " ".join("%.2f" % statistics.geometric_mean(column) for column in zip(*ratios) if all(column)))


if __name__ == "__main__":
    main()
