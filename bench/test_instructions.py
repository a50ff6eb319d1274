#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The core takes no more instructions a message than it did. Counted by callgrind, so nothing else on the machine changes it; but
another compiler, or other options, give other code, of which these figures say nothing.

    test_instructions.py CORE_INSTRUCTIONS BUILD

BUILD says how the program was built, as TAKEN_WITH does."""

import os
import shutil
import subprocess
import sys
import tempfile

TAKEN_WITH = "gcc 12 x86_64 -O2"
MARGIN = 1.10  # one instruction more in the loop over small messages is 4 %
FIGURES = (  # payload bytes, frames in a turn, receivers: instructions a message. Where one gets better, it is written here
    (16, 2000, 1, 23.4),
    (16, 64, 1, 34.5),
    (128, 64, 1, 34.5),
    (128, 64, 8, 329.1),
    (128, 1, 1, 729.0),
    (16384, 4, 1, 207.8),
)


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def count(program, *arguments):
    """Instructions a message"""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "core.out")
        messages = subprocess.run(
            ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=core_turns", program,
             *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True).stdout
        with open(out, encoding="utf-8") as file:
            totals = [line.split()[1] for line in file if line.startswith(("summary:", "totals:"))]
    return int(totals[-1]) / int(messages.split()[0])


def main(program, build):
    if not shutil.which("valgrind"):
        skip("there is no valgrind here (packaging/install-build-deps check installs it)")
    if build != TAKEN_WITH:
        skip(f"the figures hold for {TAKEN_WITH}, and this is {build}")
    failed = False
    for size, frames, receivers, figure in FIGURES:
        n = count(program, size, frames, receivers)
        is_more = n > figure * MARGIN
        failed = failed or is_more
        print(f"{size} bytes, {frames} in a turn, receivers: {receivers}: {n:.1f} instructions a message, "
              f"{n / figure:.2f} of {figure}{', which is too many' if is_more else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
