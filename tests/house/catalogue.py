#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each journal message of service/log-messages.h has one entry in systemd/directserver.catalog, and no entry is of none. An id
that is there twice would silently hide one of the two. The fields that an entry uses are those that the message has.

    catalogue.py SOURCE_ROOT"""

import collections
import os
import re
import subprocess
import shutil
import sys
import tempfile


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def journalctl_problems(catalogue, ids):
    """What systemd itself reads out of it"""
    if not shutil.which("journalctl"):
        return []
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, "var/lib/systemd/catalog"))
        directory = os.path.join(root, "usr/lib/systemd/catalog")
        os.makedirs(directory)
        with open(os.path.join(directory, "directserver.catalog"), "w", encoding="utf-8") as file:
            file.write(catalogue)
        run = subprocess.run(["journalctl", f"--root={root}", "--update-catalog"], capture_output=True, text=True)
        if run.returncode or run.stderr:
            return [f"journalctl --update-catalog: {run.returncode} {run.stderr}"]
        listed = subprocess.run(["journalctl", f"--root={root}", "--list-catalog"], check=True, capture_output=True,
                                text=True).stdout
        return [f"journalctl does not list {i}" for i in ids if i not in listed]


def main(root):
    source = read(root, "service/log-messages.h")
    catalogue = read(root, "systemd/directserver.catalog")
    ids = {i: name for name, i in re.findall(r'^#define LOG_MESSAGE_ID_(\w+) "([0-9a-f]{32})"$', source, re.MULTILINE)}
    fields = {name: set(re.findall(r"\b[A-Z_]{4,}\b", rest))
              for name, rest in re.findall(r"^ \* ([A-Z_]+) +(?:info|notice|warning|error) +(.*)$", source, re.MULTILINE)}
    entries = dict(re.findall(r"^-- ([0-9a-f]{32})\n((?:(?!^-- ).*\n)*)", catalogue, re.MULTILINE))
    count = collections.Counter(re.findall(r"^-- (.*)$", catalogue, re.MULTILINE))
    problems = []
    if not ids or not fields:
        problems.append("no ids found in service/log-messages.h")
    problems += [f"{name} ({i}) has no entry" for i, name in ids.items() if i not in entries]
    problems += [f"the entry {i} is of no message" for i in count if i not in ids]
    problems += [f"{i} is there {n} times" for i, n in count.items() if n > 1]
    for i, text in entries.items():
        used = set(re.findall(r"@(\w+)@", text))
        problems += [f"{ids[i]} has no field {field}" for field in used - fields.get(ids.get(i), used)]
        if not re.match(r"Subject: .+\nDefined-By: .+\n(?:Documentation: .+\n)?\n\S", text):
            problems.append(f"the entry {i} has no subject, or no text after an empty line")
    problems += journalctl_problems(catalogue, ids)
    for problem in problems:
        print(problem)
    print(f"{len(ids)} messages, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
