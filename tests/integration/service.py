# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service under test: each on directories and ports of its own, watched, and stopped by its pid.

The environment names the program in DIRECTSERVER_EXECUTABLE. main() at the end of each test file turns what cannot run here into
exit status 77, which the build takes for "skipped".
"""

import contextlib
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import direct1
from direct1 import SANITIZED, TIMEOUT

SKIP_STATUS = 77
SANITIZER_REPORT = re.compile(r"ERROR: \w*Sanitizer|LeakSanitizer|runtime error:|WARNING: \w*Sanitizer")
LISTENING = re.compile(r"Listening on (\S+?)\.?$")

# Starts the service on sockets that somebody else holds and has bound, and with what else is to be passed, as the manager does.
PASS_DESCRIPTORS = """import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds]
for fd in fds:
    os.set_inheritable(fd, False)
for i, fd in enumerate(copies):
    os.dup2(fd, 3 + i)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": sys.argv[2]}
os.execv(sys.argv[3], sys.argv[3:])"""

# What a round trip may take beside a transfer on a small, shared machine, in seconds.
PROMPT = 5.0 if SANITIZED else 1.0

# No PING of the service gets between a test and what it looks at, unless the test asks for that.
QUIET = {"PingIntervalSec": "60"}


class ServiceFailure(AssertionError):
    """The service did not start, did not stop, or a sanitizer has reported something."""


class Service:
    """A running service. tcp and unix are its addresses, as direct1.open_socket() takes them. With listen=("held",) it gets a
    socket that stays: its address `held` is the same after each start, and who connects meanwhile waits."""

    prefix = ()  # of the command line

    def __init__(self, config=None, nofile=None, environment=None, listen=("tcp", "unix"), state=None, bus="none"):
        self.directory = tempfile.mkdtemp(prefix="directserver-")
        self.config = QUIET | (config or {})
        self.state = state or os.path.join(self.directory, "state")
        self.nofile = nofile
        self.environment = environment or {}
        self.listen = listen
        self.bus = bus
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024) if "held" in listen else None
        self.process = None
        try:
            self.start()
        except BaseException:
            if self.process and self.process.poll() is None:
                self.kill()
            self.finish()
            raise

    def configure(self, **config):
        """Writes the configuration, for the next start or a reload. Returns its path."""
        self.config |= config
        path = os.path.join(self.directory, "directserver.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write("[Server]\n" + "".join(f"{key}={value}\n" for key, value in self.config.items()))
        return path

    def start(self, **config):
        """Also starts it again, on the same state directory and the same local socket, with changed configuration if wished."""
        path = self.configure(**config)
        places = {"tcp": "127.0.0.1:0", "tcp6": "[::1]:0", "any": "0.0.0.0:0", "unix": f"unix:{self.directory}/socket"}
        command = [*self.prefix, os.environ["DIRECTSERVER_EXECUTABLE"], f"--config={path}", f"--bus={self.bus}",
                   f"--state-directory={self.state}",
                   *(f"--listen={places[kind]}" for kind in self.listen if kind in places)]
        passed = self.descriptors()
        if passed:
            command = [sys.executable, "-c", PASS_DESCRIPTORS, ",".join(str(fd) for fd, _ in passed),
                       ":".join(name for _, name in passed), *command]
        environment = {k: v for k, v in os.environ.items() if k not in ("JOURNAL_STREAM", "NOTIFY_SOCKET", "STATE_DIRECTORY")}
        self.lines = []
        self.changed = threading.Condition()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        pass_fds=[fd for fd, _ in passed],
                                        env=environment | self.environment, preexec_fn=self._limit)
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        for kind in self.listen:
            pattern = {"tcp": r"127\.0\.0\.1:", "held": r"127\.0\.0\.1:", "tcp6": r"\[::1\]:", "any": r"0\.0\.0\.0:",
                       "unix": "unix:"}[kind]
            line = self.wait_line(rf"Listening on {pattern}")
            setattr(self, kind, LISTENING.search(line).group(1))

    def descriptors(self):
        """What it is started with, and the names of that."""
        return [(self.listener.fileno(), "directserver")] if self.listener else []

    def _limit(self):
        """The limits that a login gives, whatever this process has raised its own to; or the few descriptors of the test."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile) if self.nofile else (1024, hard))

    def _read(self, stderr):
        with stderr:
            for line in stderr:
                with self.changed:
                    self.lines.append(line.decode("utf-8", "backslashreplace").removesuffix("\n"))
                    self.changed.notify_all()
        with self.changed:
            self.lines.append(None)  # the end: nothing more to wait for
            self.changed.notify_all()

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with self.changed:
            return [line for line in self.lines if line is not None]

    def wait_line(self, pattern, timeout=TIMEOUT, skip=0):
        """The first line on stderr that matches, from the start of the service on, or after so many."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                for line in self.lines[skip:]:
                    if line is not None and wanted.search(line):
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or self.lines[-1:] == [None]:
                    raise ServiceFailure(f"no line matches {pattern!r} in:\n" + self._tail())
                self.changed.wait(left)

    def _tail(self):
        return "\n".join(f"    {line}" for line in self.lines[-60:] if line is not None)

    # The end

    def send_signal(self, number):
        self.process.send_signal(number)

    @contextlib.contextmanager
    def held(self):
        """It does nothing meanwhile, and then has all at once that has come."""
        self.send_signal(signal.SIGSTOP)
        try:
            while self._stat()[0] != "T":
                time.sleep(0.001)
            yield
        finally:
            self.send_signal(signal.SIGCONT)

    def _stat(self):
        """What follows the name in proc_pid_stat(5)"""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            return f.read().rpartition(")")[2].split()

    def wait(self, timeout=TIMEOUT):
        """Waits for the exit after a signal, and judges it."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise ServiceFailure(f"the service did not stop within {timeout} s:\n" + self._tail()) from None
        self.reader.join()
        if status != 0:
            raise ServiceFailure(f"the service exited with status {status}:\n" + self._tail())
        if any(SANITIZER_REPORT.search(line) for line in self.log()):
            raise ServiceFailure("a sanitizer reported:\n" + self._tail())

    def stop(self, number=signal.SIGTERM, timeout=TIMEOUT):
        self.send_signal(number)
        self.wait(timeout)

    def kill(self):
        """As a crash: no chance to tidy up."""
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def finish(self):
        try:
            if self.process and self.process.returncode is None:
                self.stop()
        finally:
            if self.listener:
                self.listener.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    # Figures

    def rss(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.MULTILINE).group(1)) * 1024

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ServiceTest(unittest.TestCase):
    """One service for each test, described by the class; `address` is where its clients connect by default."""

    config = {}
    transport = "tcp"

    def setUp(self):
        self.service = self.start_service()

    def start_service(self, **options):
        service = Service(**({"config": self.config} | options))
        self.addCleanup(service.finish)
        return service

    @property
    def address(self):
        return getattr(self.service, self.transport)

    def link(self, **socket_options):
        link = direct1.Link(self.address, **socket_options)
        self.addCleanup(link.close)
        return link

    def client(self, name="", address=None, **fields):
        client = direct1.Client(address or self.address, name, **fields)
        self.addCleanup(client.close)
        return client

    def need_descriptors(self, n):
        """For the test as well as for its service."""
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < n:
            self.skipTest(f"{n} descriptors are needed (ulimit -Hn)")

    def assertRefused(self, code, name="", **fields):
        with self.assertRaises(direct1.Refused) as caught:
            self.client(name, **fields)
        self.assertEqual(caught.exception.code, code, str(caught.exception))

    def eventually(self, condition, what, timeout=TIMEOUT):
        """For figures of the kernel that nobody announces, such as a number of descriptors."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                self.fail(what() if callable(what) else what)
            time.sleep(0.01)


class Background(threading.Thread):
    """Runs function(*args) beside the test; join() raises what it raised and returns what it returned."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args = function, args
        self.result = self.error = None
        self.start()

    def run(self):
        try:
            self.result = self.function(*self.args)
        except BaseException as error:
            self.error = error

    def join(self, timeout=TIMEOUT * 3):
        super().join(timeout)
        if self.is_alive():
            raise TimeoutError("the background part of the test did not end")
        if self.error:
            raise self.error
        return self.result


class Bystanders:
    """A pair that has nothing to do with the trouble, and must not notice it."""

    def __init__(self, address):
        self.a = direct1.Client(address)
        self.b = direct1.Client(address)
        self.n = 0

    def exchange(self, n=1):
        """Round trips. Returns the longest, in seconds."""
        longest = 0.0
        for _ in range(n):
            self.n += 1
            begin = time.monotonic()
            self.a.data(self.b.id, b"there", tag=self.n)
            self.b.expect(direct1.DATA, source=self.a.id, tag=self.n, payload=b"there")
            self.b.data(self.a.id, b"and back", tag=self.n)
            self.a.expect(direct1.DATA, source=self.b.id, tag=self.n, payload=b"and back")
            longest = max(longest, time.monotonic() - begin)
        return longest

    def close(self):
        self.a.close()
        self.b.close()


class Sender:
    """Sends numbered frames to one target beside the test, and counts them."""

    def __init__(self, client, target, n, size=65536, **fields):
        self.client, self.target, self.n, self.size, self.fields = client, target, n, size, fields
        self.sent = 0
        self.thread = Background(self._run)

    def _run(self):
        payload = random.Random(6).randbytes(self.size)
        for i in range(self.n):
            self.client.data(self.target, payload, tag=i, **self.fields)
            self.sent = i + 1


def wait_until_paused(senders, meanwhile):
    """Until none of them has got a frame through for half a second. `meanwhile` is what others do in this time."""
    moved, seen = time.monotonic(), None
    while time.monotonic() - moved < 0.5:
        sent = [sender.sent for sender in senders]
        if sent != seen:
            moved, seen = time.monotonic(), sent
        if any(sender.sent == sender.n for sender in senders):
            raise AssertionError("a sender was never paused")
        meanwhile()


def say(text):
    """A figure or a remark for the test log."""
    print(text, flush=True)


def main():
    if not os.access(os.environ.get("DIRECTSERVER_EXECUTABLE", ""), os.X_OK):
        print("SKIP: DIRECTSERVER_EXECUTABLE does not name the service")
        sys.exit(SKIP_STATUS)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if SANITIZED:
        say("The service is built with sanitizers.")
    result = unittest.main(exit=False, verbosity=2).result
    if not result.wasSuccessful() or result.testsRun == 0:
        sys.exit(1)
    for test, reason in result.skipped:
        say(f"SKIP: {test.id()}: {reason}")
    sys.exit(SKIP_STATUS if result.skipped else 0)
