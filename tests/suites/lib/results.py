"""Results of scripts/posix: lines of outcome, check and reason with tabs between, after lines of comment."""

from pathlib import Path


def read(path):
    """The first comment of the file and, by check, its outcome and reason; a check that failed once has failed."""
    header, checks = "", {}
    for line in Path(path).read_text(errors="replace").splitlines():
        if line.startswith("#"):
            header = header or line
            continue
        outcome, check, reason = (line.split("\t") + ["", ""])[:3]
        if checks.get(check, ("",))[0] != "fail":
            checks[check] = (outcome, reason)
    return header, checks


def count(checks, outcome):
    return sum(1 for found, _ in checks.values() if found == outcome)


def sentence(checks):
    passed, failed, skipped = (count(checks, outcome) for outcome in ("pass", "fail", "skip"))
    return f"{passed} passed, {failed} failed, {skipped} skipped"


def case_of(check):
    """SUITE:CASE of SUITE:CASE or SUITE:CASE:NAME."""
    return ":".join(check.split(":")[:2])


def merge(run, kept):
    """Puts the cases of one run in the place of theirs in the results kept."""
    header, checks = read(run)
    anew = {case_of(check) for check in checks}
    old = read(kept)[1] if Path(kept).exists() else {}
    checks.update((check, found) for check, found in old.items() if case_of(check) not in anew)
    lines = ["\t".join([outcome, check, reason]).rstrip("\t") for check, (outcome, reason) in sorted(checks.items())]
    Path(kept).write_text("\n".join([header, *lines]) + "\n")
