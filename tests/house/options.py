#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""--version and --help work, --help and the manual page name the same options and commands, and so do the completions.

    options.py PROGRAM PAGE [COMPLETION]..."""

import re
import subprocess
import sys


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    return done.returncode, done.stdout, done.stderr


def options_of_help(text):
    lines = [re.split(r"\s{3,}(?=[A-Z])", line.strip())[0] for line in text.splitlines() if re.match(r"\s+-", line)]
    return {option for line in lines for option in re.findall(r"--[a-z][a-z-]*", line)}


def words_of_help(text):
    """The first word of each line in the list of commands"""
    section = re.search(r"^(?:Commands|Verbs):\n((?:[ \t]+.*\n)+)", text, re.MULTILINE)
    return {word for word in re.findall(r"^ {1,4}([a-z][a-z-]*)", section[1], re.MULTILINE)} if section else set()


def section_of_page(page, name):
    """The tags (what follows .TP and .TQ) of a section, without fonts"""
    section = re.search(rf"^\.SH {name}\n((?:(?!\.SH ).*\n)*)", page, re.MULTILINE)
    tags = re.findall(r"^\.T[PQ]\n(.*)$", section[1], re.MULTILINE) if section else []
    return [re.sub(r"\\f.|^\.[A-Z]+ ", "", tag).replace(r"\-", "-") for tag in tags]


def compare(what, left_name, left, right_name, right):
    return ([f"{what} {word} is in {left_name} and not in {right_name}" for word in sorted(left - right)] +
            [f"{what} {word} is in {right_name} and not in {left_name}" for word in sorted(right - left)])


def main(program, page_path, *completion_paths):
    name = program.rsplit("/", 1)[-1]
    problems = []

    code, out, err = run(program, "--version")
    if code or err or not re.match(rf"{name} \d+\.\d+", out):
        problems.append(f"--version: {code} {out!r} {err!r}")
    code, text, err = run(program, "--help")
    if code or err or not text:
        problems.append(f"--help: {code} {err!r}")
    if run(program, "-h")[:2] != (0, text):
        problems.append("-h is not --help")
    code, out, err = run(program, "--no-such-option")
    if code == 0 or out or not err:
        problems.append(f"--no-such-option: {code} {out!r} {err!r}")

    with open(page_path, encoding="utf-8") as file:
        page = file.read()
    options = options_of_help(text)
    documented = {o for tag in section_of_page(page, "OPTIONS") for o in re.findall(r"--[a-z][a-z-]*", tag)}
    problems += compare("option", "--help", options, "the manual page", documented)
    words = words_of_help(text)
    documented = {tag.split()[0] for tag in section_of_page(page, "COMMANDS")}
    problems += compare("command", "--help", words, "the manual page", documented)
    if not options:
        problems.append("no option found in --help")

    for completion_path in completion_paths:
        with open(completion_path, encoding="utf-8") as file:
            completion = file.read()
        completed = set(re.findall(r"--[a-z][a-z-]*", re.sub(r"^\s*#.*$", "", completion, flags=re.MULTILINE)))
        problems += [f"option {o} is not completed by {completion_path}" for o in sorted(options - completed)]
        problems += [f"command {w} is not completed by {completion_path}" for w in sorted(words)
                     if not re.search(rf"\b{w}\b", completion)]

    for problem in problems:
        print(problem)
    print(f"{name}: {len(options)} options, {len(words)} commands, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
