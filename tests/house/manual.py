#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages as files: groff, man and mandoc have nothing to say against them, as far as these programs are there; each
names itself, the version and the date; a reader at 80 columns sees all of it; the pages that they refer to exist, and none is
forgotten in man/meson.build.

    manual.py SOURCE_ROOT"""

import glob
import os
import re
import shutil
import subprocess
import sys

WIDTH = 80
# All pages at once. By the program that must be there; lexgrog is how to know that man is man-db's. mandoc objects to two things
# that are meant, and which it does not count as warnings: titles in lower case, as the names are, and long lines in the source.
CHECKS = {
    "lexgrog": ("man", "--warnings", "-l", "-Tutf8", "-P", "cat"),
    "mandoc": ("mandoc", "-Tlint", "-W", "warning"),
}


def run(*command):
    environment = os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": str(WIDTH), "MANOPT": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=120)


def check_all(paths):
    problems = []
    for program, command in CHECKS.items():
        if shutil.which(program):
            done = run(*command, *paths)
            said = done.stderr + (done.stdout if program == "mandoc" else "")
            if done.returncode or said:
                problems.append(f"{command[0]}: {said or done.returncode}")
    return problems


def check_rendered(path):
    done = run("groff", "-man", "-Tutf8", "-K", "utf8", "-ww", "-P-c", f"-rLL={WIDTH - 2}n", path)
    text = re.sub(r".\x08", "", done.stdout)
    return ([f"groff: {done.stderr or done.returncode}"] if done.returncode or done.stderr else
            [f"wider than {WIDTH} columns: {line}" for line in text.splitlines() if len(line) > WIDTH])


def names_for_apropos(paths):
    """What apropos and whatis will know of the pages"""
    if not shutil.which("lexgrog"):
        return None
    return set(re.findall(r'^([^"\n]*): "(\S+) - ', run("lexgrog", *paths).stdout, re.MULTILINE))


def check_head(path, text, names, version):
    problems = []
    title = re.search(r'^\.TH (\S+) (\d) "(\d{4}-\d\d-\d\d)" "DirectServer ([^"]*)" "[^"]+"$', text, re.MULTILINE)
    if not title:
        return ["no .TH with name, section, date, version and volume"], None
    if f"{title[1]}.{title[2]}" != os.path.basename(path):
        problems.append(f".TH says {title[1]}.{title[2]}")
    if title[4] != version:
        problems.append(f".TH has the version {title[4]}, meson.build {version}")
    if re.sub(r"\.\d$", "", os.path.basename(path)) not in names:
        problems.append("its own name is not in NAME")
    return problems, title[3]


def references(text):
    """(name, section) of each .BR name (3)"""
    found = re.findall(r"^\.(?:BR|RB)(?: \()? ([\w.\\-]+) \((\d)\)", text, re.MULTILINE)
    return {(name.replace("\\-", "-"), section) for name, section in found}


def main(root):
    if not shutil.which("groff"):
        print("no groff here")
        return 77
    paths = sorted(glob.glob(os.path.join(root, "man", "*.[1-9]")))
    with open(os.path.join(root, "meson.build"), encoding="utf-8") as file:
        version = re.search(r"version: '([^']*)'", file.read())[1]
    with open(os.path.join(root, "man", "meson.build"), encoding="utf-8") as file:
        installed = file.read()
    texts, names = {}, {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            texts[path] = file.read()
        line = re.search(r"^\.SH NAME\n(.*) \\- .", texts[path], re.MULTILINE)
        names[path] = line[1].split(", ") if line else []
    known = {(name, path[-1]) for path in paths for name in names[path]}

    problems, dates = check_all(paths), set()
    for_apropos = names_for_apropos(paths)
    for path in paths:
        found, date = check_head(path, texts[path], names[path], version)
        dates.add(date)
        found += check_rendered(path)
        if for_apropos is not None:
            found += [f"lexgrog does not find {name} in NAME" for name in names[path] if (path, name) not in for_apropos]
        missing = {(name, number) for name, number in references(texts[path]) - known if "direct" in name}
        found += [f"there is no {name}({number})" for name, number in sorted(missing)]
        stem = os.path.basename(path)
        if f"'{stem}'" not in installed and f"'{stem[:-2]}': [" not in installed:
            found.append("is not in man/meson.build")
        problems += [f"{os.path.basename(path)}: {problem}" for problem in found]
    if len(dates) > 1:
        problems.append(f"the pages have several dates: {dates}")
    for problem in problems:
        print(problem)
    print(f"{len(paths)} pages, {len(known)} names, {len(problems)} problems")
    return bool(problems) or not paths


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
