#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The public header compiles alone, in each language that it is for, without a warning.

    header.py HEADER COMPILER..."""

import subprocess
import sys

LANGUAGES = {"c": ("c99", "c11"), "c++": ("c++11", "c++17")}


def compile(text, compiler, language, *options):
    try:
        command = [compiler, "-x", language, "-fsyntax-only", *options, "-"]
        return subprocess.run(command, input=text, text=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def main(header, *compilers):
    n_compiled = n_failed = 0
    program = f'#include "{header}"\nint main(void) {{ return !direct_state_name(0); }}\n'
    for compiler in compilers:
        for language, standards in LANGUAGES.items():
            if not compile("int i;\n", compiler, language):
                print(f"{compiler}: no {language} here")
                continue
            for standard in standards:
                ok = compile(program, compiler, language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic")
                print(f"{compiler}: {standard} {'ok' if ok else 'FAILED'}")
                n_compiled += 1
                n_failed += not ok
    return n_failed > 0 or n_compiled == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
