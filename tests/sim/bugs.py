#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""bugs.py SIM [OPTION...]: the simulation must find each seeded bug within so many seeds, and find the same again from the seed
alone; and what it does without a bug must not depend on anything but the seed."""

import re
import subprocess
import sys

SEEDS = 1000
# Bug: what the checks may say of it
BUGS = {
    "duplicates": r"was received 2 times|acknowledges frame \d+ of stream",
    "send-again": r"has 0 outcomes|is not connected",
    "credit": r"bytes sent on credit of",
    "id-check": r"was received by|which was never sent",
    "epoch": r"PRESENCE says that",
    "forgetful": r"was used again by",
    "handover": r"a frame of \d+ bytes|has 0 outcomes|were not received",
}


def run(*arguments):
    done = subprocess.run([*sys.argv[1:], *arguments], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


def main():
    failures = 0
    print(f"1..{len(BUGS) + 1}")
    for number, (bug, wanted) in enumerate(BUGS.items(), 1):
        code, told = run(f"--bug={bug}", f"--seeds={SEEDS}", "--no-shrink")
        found = re.search(r"^seed (\d+) fails: (.*)$", told, re.MULTILINE)
        ok = code == 1 and found and re.search(wanted, found[2])
        if ok:
            ok = run(f"--bug={bug}", f"--seed={found[1]}", "--no-shrink")[1].startswith(found[0])
        print(f"{'ok' if ok else 'not ok'} {number} - {bug}{f': seed {found[1]}, {found[2]}' if found else ''}")
        failures += not ok
    first, second = run("--seeds=30"), run("--seeds=30")
    ok = first == second and first[0] == 0
    print(f"{'ok' if ok else 'not ok'} {len(BUGS) + 1} - replay: {first[1].strip()}")
    return failures > 0 or not ok


if __name__ == "__main__":
    sys.exit(main())
