#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The public header compiles alone, in each language that it is for, without a warning.

    header.py HEADER COMPILER..."""

import subprocess
import sys

# c2x is what compilers that do not know C23 by its name call what they have of it
LANGUAGES = {"c": ("c99", "c11", "c17", "c23", "c2x"), "c++": ("c++11", "c++14", "c++17", "c++20", "c++23")}
PROBE = "int i;\n"


def compile(text, compiler, language, *options):
    try:
        command = [compiler, "-x", language, "-fsyntax-only", *options, "-"]
        quiet = subprocess.DEVNULL if text == PROBE else None
        return subprocess.run(command, input=text, text=True, check=False, stderr=quiet).returncode == 0
    except FileNotFoundError:
        return False


def main(header, *compilers):
    n_compiled = n_failed = 0
    program = f'#include "{header}"\nint main(void) {{ return !direct_state_name(0); }}\n'
    for compiler in compilers:
        for language, standards in LANGUAGES.items():
            if not compile(PROBE, compiler, language):
                print(f"{compiler}: no {language} here")
                continue
            for standard in standards:
                if not compile(PROBE, compiler, language, f"-std={standard}"):
                    print(f"{compiler}: no {standard} here")
                    continue
                ok = compile(program, compiler, language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic")
                print(f"{compiler}: {standard} {'ok' if ok else 'FAILED'}")
                n_compiled += 1
                n_failed += not ok
    return n_failed > 0 or n_compiled == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
