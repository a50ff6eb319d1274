# SPDX-License-Identifier: LGPL-2.1-or-later
"""symbols.py SYMBOLS DEBIAN: Debian's list of the library's symbols names those that it exports, each in its node."""

import re
import sys


def exported(text):
    nodes = re.findall(r"^(\w+) \{\nglobal:\n(.*?)^(?:local:|\})", text, re.MULTILINE | re.DOTALL)
    return {f"{name}@{node}" for node, body in nodes for name in re.findall(r"^\s+(\w+);", body, re.MULTILINE) + [node]}


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        ours = exported(f.read())
    with open(sys.argv[2], encoding="utf-8") as f:
        debian = set(re.findall(r"^ (\S+@\S+) ", f.read(), re.MULTILINE))
    for symbol in sorted(ours - debian):
        print(f"{symbol} is missing in {sys.argv[2]}")
    for symbol in sorted(debian - ours):
        print(f"{symbol} is in {sys.argv[2]}, but not exported")
    print(f"{len(ours)} symbols")
    return not ours or ours != debian


sys.exit(main())
