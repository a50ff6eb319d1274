# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs under test: started, read line by line, and ended by their pid.

The environment names the programs: DIRECTSERVER_EXECUTABLE, DIRECTCLIENT_EXECUTABLE, and so on. main() at the end of each
test file turns what cannot run here into exit status 77, which the build takes for "skipped".
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SANITIZED = os.environ.get("DIRECTSERVER_SANITIZED") == "1"
TIMEOUT = 120 if SANITIZED else 30  # for an event that is about to come; nobody waits so long when all is well
SKIP_STATUS = 77


class Program:
    """A child process. Its stdout and stderr are read in the background, so it never waits for the test."""

    def __init__(self, *command, stdin=None, environment=None):
        self.command = command
        self.changed = threading.Condition()
        self.output = {"stdout": b"", "stderr": b""}
        self.open = {"stdout", "stderr"}
        hidden = ("DIRECTSERVER", "DIRECTSERVER_NAME", "JOURNAL_STREAM", "NOTIFY_SOCKET", "STATE_DIRECTORY")
        env = {k: v for k, v in os.environ.items() if k not in hidden}
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env | (environment or {}))
        self.threads = [threading.Thread(target=self._read, args=(name,), daemon=True) for name in ("stdout", "stderr")]
        if stdin is not None:
            self.threads.append(threading.Thread(target=self._write, args=(stdin,), daemon=True))
        for thread in self.threads:
            thread.start()

    def _read(self, name):
        stream = getattr(self.process, name)
        while data := stream.read1(1 << 20):
            with self.changed:
                self.output[name] += data
                self.changed.notify_all()
        stream.close()
        with self.changed:
            self.open.discard(name)
            self.changed.notify_all()

    def _write(self, data):
        try:
            with self.process.stdin:
                self.process.stdin.write(data)
        except BrokenPipeError:
            pass  # the exit status tells

    def lines(self, name="stdout"):
        with self.changed:
            return self.output[name].decode("utf-8", "backslashreplace").splitlines()

    def wait_line(self, pattern, name="stdout", timeout=TIMEOUT):
        """The match of the first whole line that matches."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                whole = self.output[name].rpartition(b"\n")[0].decode("utf-8", "backslashreplace")
                for line in whole.splitlines():
                    if match := wanted.search(line):
                        return match
                left = deadline - time.monotonic()
                if left <= 0 or name not in self.open:
                    raise AssertionError(f"no line matches {pattern!r}:\n{self.report()}")
                self.changed.wait(left)

    def wait(self, status=0, timeout=TIMEOUT):
        """Waits for the end and judges it. Returns stdout, as bytes."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {timeout} s:\n{self.report()}") from None
        for thread in self.threads:
            thread.join()
        if self.process.returncode != status:
            raise AssertionError(f"exit status {self.process.returncode} and not {status}:\n{self.report()}")
        return self.output["stdout"]

    def stop(self, number=signal.SIGTERM, status=0):
        self.process.send_signal(number)
        return self.wait(status)

    def kill(self):
        self.process.kill()
        self.process.wait()
        for thread in self.threads:
            thread.join()

    def finish(self):
        if self.process.poll() is None:
            self.kill()

    def report(self):
        with self.changed:
            parts = [" ".join(self.command)]
            for name, data in self.output.items():
                parts.append(f"--- {name}\n" + data[-4000:].decode("utf-8", "backslashreplace"))
        return "\n".join(parts)

    def rss(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.MULTILINE).group(1)) * 1024


class ProgramTest(unittest.TestCase):
    """A test with a service of its own. What it starts ends with it."""

    config = ""  # lines of the service's [Server] section

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="directserver-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.start_service("127.0.0.1:0")

    def start_service(self, listen):
        config = os.path.join(self.directory, "directserver.conf")
        with open(config, "w", encoding="ascii") as f:
            f.write("[Server]\n" + self.config)
        self.service = self.start("DIRECTSERVER", f"--config={config}", f"--listen={listen}", "--bus=none",
                                  f"--state-directory={self.directory}/state")
        self.address = self.service.wait_line(r"Listening on (\S+?)\.?$", "stderr")[1]

    def start(self, program, *arguments, **options):
        """`program` is the part before _EXECUTABLE of the variable that names it."""
        child = Program(os.environ[f"{program}_EXECUTABLE"], *arguments, **options)
        self.addCleanup(child.finish)
        return child


def main():
    for name, path in os.environ.items():
        if name.endswith("_EXECUTABLE") and not os.access(path, os.X_OK):
            print(f"SKIP: {name} does not name a program")
            sys.exit(SKIP_STATUS)
    if "DIRECTSERVER_EXECUTABLE" not in os.environ:
        print("SKIP: the service is not built")
        sys.exit(SKIP_STATUS)
    result = unittest.main(exit=False, verbosity=2).result
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 else 1)
