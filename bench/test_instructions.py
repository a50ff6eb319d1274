#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The core, and the client library, take no more instructions a message than they did. Counted by callgrind, so nothing else on
the machine changes it; but another compiler, or other options, give other code, of which these figures say nothing.

    test_instructions.py core|client PROGRAM BUILD

BUILD says how the program was built, as TAKEN_WITH does."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

TAKEN_WITH = "gcc 12 x86_64 -O2"
MARGIN = 1.10  # one instruction more in the loop over small messages is 4 %
# How the program is started, which function counts: instructions a message. Where one gets better, it is written here
FIGURES = {
    "core": (  # payload bytes, frames in a turn, receivers
        ("16 2000 1", "core_turns", 23.4),
        ("16 64 1", "core_turns", 34.5),
        ("128 64 1", "core_turns", 34.5),
        ("128 64 8", "core_turns", 329.1),
        ("128 1 1", "core_turns", 729.0),
        ("16384 4 1", "core_turns", 207.8),
    ),
    "client": (  # payload bytes, messages in a turn. The one copy of 16 KiB that there is counts as 16,400
        ("receive 128 500", "client_receives", 868.5),
        ("receive 128 1", "client_receives", 2112.2),
        ("receive 16384 4", "client_receives", 17663.0),
        ("send 128 500", "client_sends", 541.9),
        ("send 128 1", "client_sends", 2320.1),
        ("send 16384 4", "client_sends", 17554.3),
    ),
}


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def count(program, arguments, function):
    """Instructions a message"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}  # meson sets one
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "callgrind.out")
        done = subprocess.run(
            ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={function}", program,
             *arguments.split()], stdout=subprocess.PIPE, env=environment, text=True)
        if done.returncode != 0:
            sys.exit(f"{program} {arguments} has failed:\n{done.stdout}")
        with open(out, encoding="utf-8") as file:
            totals = [line.split()[1] for line in file if line.startswith(("summary:", "totals:"))]
    return int(totals[-1]) / int(re.search(r"^(\d+) messages$", done.stdout, re.MULTILINE)[1])


def main(kind, program, build):
    if not shutil.which("valgrind"):
        skip("there is no valgrind here (packaging/install-build-deps check installs it)")
    if build != TAKEN_WITH:
        skip(f"the figures hold for {TAKEN_WITH}, and this is {build}")
    failed = False
    for arguments, function, figure in FIGURES[kind]:
        n = count(program, arguments, function)
        is_more = n > figure * MARGIN
        failed = failed or is_more
        print(f"{kind} {arguments}: {n:.1f} instructions a message, {n / figure:.2f} of {figure}"
              f"{', which is too many' if is_more else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
