#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What README.md shows is true: its C program compiles without a warning and works, the commands in its console blocks succeed,
and what they print is what stands there, but for numbers. All runs against a private service on a private session bus. The files
that README.md, HACKING.md and NEWS.md name are there.

    readme.py SOURCE_ROOT BUILD_ROOT [--update]

--update writes what the commands have printed into README.md."""

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

TIMEOUT = 30
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text, language):
    return [match[2] for match in BLOCK.finditer(text) if match[1] == language]


def normalise(line):
    """Numbers with their units, host names and the width of columns differ from run to run."""
    line = re.sub(r"@[\w.-]+", "@HOST", line)
    line = re.sub(r"\b\d[\d.]*(?: ?(?:[KMG]i?)?B?(?:/s)?|us|ms|s|min|h)\b|\b\d[\d.]*", "N", line)
    return re.sub(r"\s+", " ", line).strip()


def wait_for(what, condition):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain: {what}")
        time.sleep(0.02)


class Session:
    """The service, the first program and the commands, in a directory that looks like the source tree to them"""

    def __init__(self, source, build, directory):
        self.directory = directory
        self.processes = []
        for name in ("client", "examples"):
            os.symlink(os.path.join(source, name), os.path.join(directory, name))
        os.symlink(build, os.path.join(directory, "build"))
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("DIRECTSERVER", "LC_")) and k != "COLUMNS"}
        self.environment |= {"XDG_RUNTIME_DIR": directory, "LC_ALL": "C.UTF-8"}

    def spawn(self, *command, **options):
        process = subprocess.Popen(command, cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def run(self, command):
        """The output of a shell command that must succeed"""
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=self.directory, env=self.environment,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
        if done.returncode or done.stderr:
            sys.exit(f"$ {command}\n{done.stdout}{done.stderr}exit status {done.returncode}")
        return done.stdout

    def has(self, command, text):
        done = subprocess.run(command, cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT)
        return text in done.stdout

    def start(self, readme):
        self.spawn("build/service/directserver", "--bus=user", f"--listen=unix:{self.directory}/directserver.sock",
                   f"--state-directory={self.directory}/state")
        wait_for("the service on the bus", lambda: self.has(["busctl", "--user", "list"], "org.directserver.DirectServer1"))

        program = blocks(readme, "c")[0]
        with open(os.path.join(self.directory, "first.c"), "w", encoding="utf-8") as file:
            file.write(program)
        compile_line = re.search(r"^cc -o first .*$", "\n".join(blocks(readme, "sh")), re.MULTILINE)[0]
        self.run(compile_line + " -std=c99 -Wall -Wextra -Werror -pedantic " + os.environ.get("EXTRA_CFLAGS", ""))

        self.heard = open(os.path.join(self.directory, "heard"), "w+", encoding="utf-8")
        self.alice = self.spawn("./first", "alice", stdout=self.heard, stderr=subprocess.STDOUT)
        wait_for("alice", lambda: self.has(["build/tools/directctl", "--user", "list"], "alice"))  # takes no id

    def finish(self):
        """alice was kicked: she ends by herself, and says what she has heard. The service stops in order."""
        self.alice.wait(TIMEOUT)
        self.heard.seek(0)
        heard = self.heard.read()
        for text in ("How are you?", "And from a script?", "Time to go"):
            if text not in heard:
                sys.exit(f"alice has not heard {text!r}, but:\n{heard}")
        self.processes[0].terminate()
        if self.processes[0].wait(TIMEOUT) != 0:
            sys.exit("the service did not stop in order")

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def play(session, text):
    """A console block as it comes out today"""
    lines = []
    for line in text.splitlines():
        if line.startswith("$ "):
            lines += [line] + [out.rstrip() for out in session.run(line[2:]).splitlines()]
    return lines


def compare(shown, seen):
    texts = [normalise(line) for line in shown], [normalise(line) for line in seen]
    return list(difflib.unified_diff(*texts, "README.md", "today", lineterm=""))


def missing_files(source):
    """Links, and paths with a directory in backticks"""
    problems = []
    for name in ("README.md", "HACKING.md", "NEWS.md"):
        with open(os.path.join(source, name), encoding="utf-8") as file:
            text = file.read()
        paths = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        paths += re.findall(r"`((?:bench|client|dbus|examples|man|packaging|protocol|service|systemd|tests|tools)/[\w./-]*)",
                            text)
        problems += [f"{name}: there is no {path}" for path in paths if not os.path.exists(os.path.join(source, path))]
    return problems


def main(source, build, update=None):
    for program in ("dbus-run-session", "busctl"):
        if not shutil.which(program):
            print(f"no {program} here")
            return 77
    if "DIRECTSERVER_README_BUS" not in os.environ:
        os.environ["DIRECTSERVER_README_BUS"] = "1"
        return subprocess.run(["dbus-run-session", "--", sys.executable, *sys.argv]).returncode

    path = os.path.join(source, "README.md")
    with open(path, encoding="utf-8") as file:
        readme = file.read()
    problems = missing_files(source)
    with tempfile.TemporaryDirectory() as directory:
        session = Session(source, build, directory)
        try:
            session.start(readme)
            result = readme
            for block in blocks(readme, "console"):
                seen = play(session, block)
                problems += compare(block.splitlines(), seen)
                result = result.replace(f"```console\n{block}```", "```console\n" + "".join(f"{line}\n" for line in seen) + "```")
            session.finish()
        finally:
            session.end()
    if update:
        with open(path, "w", encoding="utf-8") as file:
            file.write(result)
        return 0
    print("\n".join(problems) or "README.md is true")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
