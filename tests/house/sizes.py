#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""No source file is above 600 lines: where one is, a second object hides in it. Lists the longest.

    sizes.py SOURCE_ROOT"""

import os
import sys

LINES_MAX = 600
DIRECTORIES = ("bench", "client", "examples", "protocol", "service", "tests", "tools")


def main(root):
    sizes = []
    for top in DIRECTORIES:
        for directory, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if name.endswith((".c", ".h")):
                    path = os.path.join(directory, name)
                    with open(path, "rb") as file:
                        sizes.append((file.read().count(b"\n"), os.path.relpath(path, root)))
    sizes.sort(reverse=True)
    for lines, path in sizes[:10]:
        print(f"{lines:5} {path}")
    print(f"{sum(lines for lines, _ in sizes):5} in {len(sizes)} files")
    return not sizes or sizes[0][0] > LINES_MAX


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
