"""Holds plyfs's results in one folder against the baselines in another. Fails where plyfs fails what kernel overlayfs passes."""

import sys
from pathlib import Path

import results

found, baseline = map(Path, sys.argv[1:3])
worse = 0


def show(title, names, checks):
    print(f"{title}: {len(names)}")
    for name in sorted(names):
        print(f"    {name}  {checks[name][1]}")


def failing(checks):
    return {name for name, (outcome, _) in checks.items() if outcome == "fail"}


def passing(name, checks):
    """Baselines name only what did not pass."""
    return name not in checks


for suffix in ("", "-rootless"):
    if not (found / f"plyfs{suffix}.txt").exists():
        print(f"plyfs{suffix}: no results here; scripts/posix plyfs{suffix and ' --rootless'} makes them")
        continue
    header, ours = results.read(found / f"plyfs{suffix}.txt")
    (_, kernel), (_, peer) = (results.read(baseline / f"{name}{suffix}.txt") for name in ("overlay", "fuse-overlayfs"))
    print(f"{header}: {results.sentence(ours)}")
    regressions = {name for name in failing(ours) if passing(name, kernel)}
    show("plyfs fails and kernel overlayfs passes", regressions, ours)
    show("both fail", failing(ours) - regressions, ours)
    show("fuse-overlayfs fails and plyfs passes", {name for name in failing(peer) if ours.get(name, ("",))[0] == "pass"}, peer)
    worse += len(regressions)
sys.exit(worse > 0)
