#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The C programs and functions in the EXAMPLES of the manual pages compile without a warning, as C99. Every page of
functions has an example, but for those whose functions the examples of others use.

    manual_examples.py SOURCE_ROOT COMPILER..."""

import glob
import os
import re
import subprocess
import sys
import tempfile

WARNINGS = ("-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-D_POSIX_C_SOURCE=200809L", "-std=c99")
NONE_NEEDED = ("direct_client_new.3", "direct_state_name.3", "direct_resolve.3")
ESCAPES = {"\\e": "\\", "\\-": "-", "\\(aq": "'", "\\(ga": "`", "\\(ha": "^", "\\(ti": "~", "\\&": ""}


def examples(page):
    text = page.partition(".SH EXAMPLES\n")[2].partition("\n.SH ")[0]
    for block in re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.MULTILINE | re.DOTALL):
        yield re.sub(r"\\(?:\(..|.)", lambda m: ESCAPES[m[0]], block)


def main(root, *compiler):
    problems, n = [], 0
    with tempfile.TemporaryDirectory() as directory:
        for path in sorted(glob.glob(os.path.join(root, "man", "*direct*.3"))):
            name = os.path.basename(path)
            with open(path, encoding="utf-8") as file:
                found = list(examples(file.read()))
            if not found and name not in NONE_NEEDED:
                problems.append(f"{name} has no example")
            for code in found:
                n += 1
                source = os.path.join(directory, f"{name[:-2]}-{n}.c")
                with open(source, "w", encoding="utf-8") as file:
                    file.write(code)
                command = [*compiler, *WARNINGS, "-I", os.path.join(root, "client"), "-c", "-o", source + ".o", source]
                done = subprocess.run(command, capture_output=True, text=True, timeout=60)
                if done.returncode or done.stderr:
                    problems.append(f"{name}: {done.stderr}")
    for problem in problems:
        print(problem)
    print(f"{n} examples, {len(problems)} problems")
    return bool(problems) or n == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
