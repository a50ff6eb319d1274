# SPDX-License-Identifier: LGPL-2.1-or-later
"""functions.py SYMBOLS PAGE: every function that the library exports is in libdirectclient(3), and no other."""

import re
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        exported = set(re.findall(r"^\s+(direct_\w+);", f.read(), re.MULTILINE))
    with open(sys.argv[2], encoding="utf-8") as f:
        documented = set(re.findall(r"\bdirect_[a-z_]+(?= ?\(\))", re.sub(r"\\f[BR]", "", f.read())))
    for name in sorted(exported - documented):
        print(f"{name}() is exported, but not in {sys.argv[2]}")
    for name in sorted(documented - exported):
        print(f"{name}() is in {sys.argv[2]}, but not exported")
    print(f"{len(exported)} functions")
    return not exported or exported != documented


sys.exit(main())
