#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The functions and types of the library are those that client/libdirectclient.abi describes: a program that was built with an
older release goes on working with a newer one. Compared by abidiff (libabigail), from debug information, on the architecture that
the description is of.

    abi.py DESCRIPTION HEADER LIBRARY [--update]

--update says what has changed, and writes the description anew."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIP_STATUS = 77
# The status of abidiff is a set of bits
CHANGED, INCOMPATIBLE = 4, 8
# What is not public may change: types that no header in the directory of public ones has
OPTIONS = ("--drop-private-types", "--exported-interfaces-only")


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(SKIP_STATUS)


def architecture(path):
    with open(path, encoding="utf-8") as file:
        return re.search(r"architecture='([^']*)'", file.read(4096))[1]


def describe(library, headers, path):
    subprocess.run(["abidw", *OPTIONS, "--headers-dir", headers, "--no-show-locs", "--no-corpus-path", "--no-comp-dir-path",
                    "--type-id-style", "hash", "--out-file", path, library], check=True)
    # The files that the functions are in, as seen from wherever it was built
    with open(path, encoding="utf-8") as file:
        text = re.sub(r" path='[^']*/", " path='", file.read())
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main(description, header, library, update=None):
    if not shutil.which("abidiff"):
        skip("there is no abidiff here (of libabigail; packaging/install-build-deps check installs it)")
    sections = subprocess.run(["readelf", "--sections", "--wide", library], check=True, capture_output=True, text=True).stdout
    if ".debug_info" not in sections:
        skip("the library has no debug information")
    with tempfile.TemporaryDirectory() as directory:
        headers = os.path.join(directory, "include")
        os.mkdir(headers)
        shutil.copy(header, headers)
        new = os.path.join(directory, "new.abi")
        describe(library, headers, new)
        if architecture(new) != architecture(description) and not update:
            skip(f"the description is of {architecture(description)}, the library of {architecture(new)}")
        status = subprocess.run(["abidiff", description, new], check=False).returncode
        if update:
            shutil.copyfile(new, description)
            return 0
    if status & INCOMPATIBLE:
        print("Programs that were built with an older release would break.")
    elif status & CHANGED:
        print("If that is meant: make abi, and commit what it writes.")
    return status != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
