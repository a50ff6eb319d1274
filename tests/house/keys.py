#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of keys in service/config.c, the configuration file that is installed, and the manual page name the same
keys with the same defaults, in the same order. The shipped file, and the one with all its comments taken away, are what
the service accepts.

    keys.py SOURCE_ROOT [SERVICE]"""

import os
import re
import subprocess
import sys
import tempfile


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def accepts(service, text):
    """A service that comes as far as the address that can't be listened on has read its configuration."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "directserver.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        run = subprocess.run([service, f"--config={path}", f"--state-directory={directory}", "--bus=none",
                              "--listen=unix:relative"], capture_output=True, text=True, timeout=30)
        return [] if "relative" in run.stderr and path not in run.stderr else [f"the service does not accept it: {run.stderr}"]


def main(root, service=None):
    table = re.findall(r'^\s*\{ "(\w+)", &value_\w+, FIELD\(\w+\), "([^"]*)",', read(root, "service/config.c"), re.MULTILINE)
    shipped = read(root, "systemd/directserver.conf")
    # the default of a file is what is commented out
    in_file = re.findall(r"^#(\w+)=(.*)$", shipped, re.MULTILINE)
    page = read(root, "man/directserver.conf.5")
    in_page = []
    for name, text in re.findall(r"^\.TP\n\\fB(\w+)=\\fR\n((?:(?!\.TP|\.SH).*\n)*)", page, re.MULTILINE):
        default = re.search(r"^Default: (\S*)\.$", text, re.MULTILINE)
        in_page.append((name, default[1] if default else ""))
    problems = [] if len(table) > 1 else ["no keys found in service/config.c"]
    for where, found in (("systemd/directserver.conf", in_file), ("man/directserver.conf.5", in_page)):
        problems += [f"{where}: {name}={default} is missing or has another default" for name, default in table
                     if (name, default) not in found]
        problems += [f"{where}: {name}={default} is not in the table" for name, default in found if (name, default) not in table]
        if not problems and found != table:
            problems.append(f"{where}: the order is another one")
    if service:
        problems += accepts(service, shipped)
        # Listen= would have no value
        problems += accepts(service, re.sub(r"^#(?=\w+=.)", "", shipped, flags=re.MULTILINE))
    for problem in problems:
        print(problem)
    print(f"{len(table)} keys, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
