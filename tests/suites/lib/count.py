"""Prints what each suite of a run has come to, its failures by name, and last the sums; keeps the run's results in a file."""

import sys
from pathlib import Path

import results

run, kept = map(Path, sys.argv[1:3])
header, checks = results.read(run)
results.merge(run, kept)
for suite in sorted({check.split(":")[0] for check in checks}):
    of_suite = {check: found for check, found in checks.items() if check.split(":")[0] == suite}
    print(f"{suite}: {results.sentence(of_suite)}")
    for check, (outcome, reason) in sorted(of_suite.items()):
        if outcome == "fail":
            print(f"    {check}  {reason}")
print(results.sentence(checks))
sys.exit(results.count(checks, "fail") > 0 or results.count(checks, "pass") == 0)
