"""Holds plyfs's results in one folder against the baselines in another. Fails where plyfs fails what it passed before;
with --new, only that is told."""

import sys
from pathlib import Path

import results

found, baseline = map(Path, sys.argv[1:3])
only_new = "--new" in sys.argv


def show(title, names, checks):
    print(f"{title}: {len(names)}")
    for name in sorted(names):
        print(f"    {name}  {checks[name][1]}")


def failing(checks):
    return {name for name, (outcome, _) in checks.items() if outcome == "fail"}


def compare(name, suffix):
    """Baselines name only what did not pass. Gives what is new."""
    header, ours = results.read(found / f"{name}{suffix}.txt")
    kept = (baseline / f"{of}{suffix}.txt" for of in ("plyfs", "overlay", "fuse-overlayfs"))
    before, kernel, peer = (results.read(path)[1] if path.exists() else {} for path in kept)
    print(f"{header}: {results.sentence(ours)}")
    if not only_new:
        worse = {name for name in failing(ours) if kernel.get(name, ("pass",))[0] == "pass"}
        show("plyfs fails and kernel overlayfs passes", worse, ours)
        show("both fail", failing(ours) - worse, ours)
        better = {name for name in failing(peer) if ours.get(name, ("",))[0] == "pass"}
        show("fuse-overlayfs fails and plyfs passes", better, peer)
    new = failing(ours) - failing(before)
    show("plyfs fails and did not before", new, ours)
    return new


new = set()
# How content is kept in the upper is to change nothing.
for name, suffix in (("plyfs", ""), ("plyfs", "-rootless"), ("plyfs-metacopy", ""), ("plyfs-metacopy", "-rootless")):
    if (found / f"{name}{suffix}.txt").exists():
        new |= compare(name, suffix)
    elif name == "plyfs":
        print(f"plyfs{suffix}: no results here; scripts/posix plyfs{suffix and ' --rootless'} makes them")
sys.exit(bool(new))
