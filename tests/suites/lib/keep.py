"""Prints a results file as a baseline: what did not pass by name, and how much did."""

import sys

import results

header, checks = results.read(sys.argv[1])
print(header)
print(f"# {results.sentence(checks)}; what is not named here passed")
for check, (outcome, reason) in sorted(checks.items()):
    if outcome != "pass":
        print(outcome, check, reason, sep="\t")
