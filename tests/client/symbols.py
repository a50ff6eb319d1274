#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The functions that directclient.h declares, the symbols that libdirectclient.sym lists, and those that the library exports are
the same.

    symbols.py HEADER SYM LIBRARY NM"""

import re
import subprocess
import sys

NODE = "LIBDIRECTCLIENT_0"


def declared(path):
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    text = re.sub(r"typedef[^;{]*;", "", text)
    return set(re.findall(r"\b(direct_\w+)\s*\(", text))


def listed(path):
    with open(path, encoding="utf-8") as file:
        return set(re.findall(r"^\s*(direct_\w+);", file.read(), flags=re.MULTILINE))


def exported(nm, path):
    command = [nm, "-D", "--defined-only", "--with-symbol-versions", path]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[-1] for line in output.splitlines()]
    functions = [symbol for symbol in symbols if symbol != NODE and not symbol.startswith(NODE + "@")]
    unversioned = [symbol for symbol in functions if not symbol.endswith("@@" + NODE)]
    if unversioned:
        sys.exit(f"not of {NODE}: {' '.join(unversioned)}")
    return {symbol.split("@")[0] for symbol in functions}


def main(header, sym, library, nm):
    sets = {header: declared(header), sym: listed(sym), library: exported(nm, library)}
    everything = set.union(*sets.values())
    problems = [f"{symbol} is not in {path}" for path, symbols in sets.items() for symbol in sorted(everything - symbols)]
    print("\n".join(problems) or f"{len(everything)} symbols")
    return bool(problems) or not everything


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
