#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""No source file is above 600 lines: where one is, a second object hides in it. No line is above 130 columns. Lists the longest
files, and all such lines.

    sizes.py SOURCE_ROOT"""

import os
import sys

LINES_MAX = 600
COLUMNS_MAX = 130
DIRECTORIES = ("bench", "client", "dbus", "examples", "protocol", "service", "tests", "tools")


def sources(root):
    for top in DIRECTORIES:
        for directory, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if name.endswith((".c", ".h", ".py")):
                    yield os.path.relpath(os.path.join(directory, name), root)


def main(root):
    sizes, n_wide = [], 0
    for path in sources(root):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            lines = file.read().splitlines()
        if not path.endswith(".py"):
            sizes.append((len(lines), path))
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX:
                print(f"{path}:{number} has {len(line)} columns")
                n_wide += 1
    sizes.sort(reverse=True)
    for lines, path in sizes[:10]:
        print(f"{lines:5} {path}")
    print(f"{sum(lines for lines, _ in sizes):5} in {len(sizes)} files")
    return not sizes or sizes[0][0] > LINES_MAX or n_wide > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
