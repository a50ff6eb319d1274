#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What systemd gives to the service, and what it waits for from it: sockets, readiness, the watchdog, reloads, the end. The
sockets are as systemd makes them, blocking: a service that forgets that serves the first client and then hangs."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))

import direct1
from direct1 import TIMEOUT

SERVICE = os.environ["DIRECTSERVER_EXECUTABLE"]

# Between fork and exec, as the pid has to be in the environment
TRAMPOLINE = """
import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
for i, fd in enumerate(copies):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "WATCHDOG_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Activation(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.config = os.path.join(self.directory, "directserver.conf")
        self.configure("")

        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(os.path.join(self.directory, "notify"))
        self.manager.settimeout(TIMEOUT)

        self.local = os.path.join(self.directory, "socket")
        listeners = []
        for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, self.local)):
            s = socket.socket(family, socket.SOCK_STREAM)
            self.addCleanup(s.close)
            s.bind(address)
            s.listen(128)
            listeners.append(s)
        self.addresses = [f"127.0.0.1:{listeners[0].getsockname()[1]}", f"unix:{self.local}"]
        self.early = direct1.open_socket(self.addresses[0])  # before the service is there: systemd holds the queue
        self.addCleanup(self.early.close)

        fds = [s.fileno() for s in listeners]
        environment = {k: v for k, v in os.environ.items() if k != "JOURNAL_STREAM"}
        environment |= {"NOTIFY_SOCKET": os.path.join(self.directory, "notify"), "WATCHDOG_USEC": "1000000",
                        "STATE_DIRECTORY": os.path.join(self.directory, "state")}
        self.process = subprocess.Popen([sys.executable, "-c", TRAMPOLINE, ",".join(map(str, fds)), SERVICE, "--bus=none",
                                         f"--config={self.config}"], pass_fds=fds, env=environment)
        self.addCleanup(self.end)
        self.await_notification("READY=1")

    def end(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()

    def configure(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"[Server]\n{text}")

    def await_notification(self, wanted):
        """Returns all that was said up to then."""
        said = []
        while not said or wanted not in said[-1].split("\n"):
            said.append(self.manager.recv(4096).decode())
        return said

    def client(self, address):
        client = direct1.Client(address)
        self.addCleanup(client.close)
        return client

    def test_sockets(self):
        for _ in range(3):
            for address in self.addresses:
                self.client(address)
        # who knocked before the service was there is let in too
        self.early.setblocking(True)
        self.early.settimeout(TIMEOUT)
        self.early.sendall(direct1.hello("early").pack())
        self.assertEqual(self.early.recv(5)[4], direct1.WELCOME)

    def test_watchdog(self):
        """Fed at half its time, also while clients come."""
        begin = time.monotonic()
        for _ in range(3):
            self.await_notification("WATCHDOG=1")
            self.client(self.addresses[0])
        self.assertLess(time.monotonic() - begin, 3 * 1.0 + direct1.TIMEOUT * direct1.SANITIZED)

    def test_reload(self):
        client = self.client(self.addresses[0])
        for text in ("MaxClients=7\n", "MaxClients=wrong\n"):
            self.configure(text)
            self.process.send_signal(signal.SIGHUP)
            said = self.await_notification("RELOADING=1")
            self.assertIn("MONOTONIC_USEC=", said[-1])
            self.await_notification("READY=1")
            client.ping()

    def test_stop(self):
        client = self.client(self.addresses[1])
        self.process.send_signal(signal.SIGTERM)
        self.await_notification("STOPPING=1")
        goodbye = client.wait_for(lambda frame: frame.type == direct1.GOODBYE)
        self.assertEqual(goodbye.kind, direct1.STOPPING)
        self.assertEqual(self.process.wait(TIMEOUT), 0)
        # what systemd listens on is not the service's to remove
        self.assertTrue(os.path.exists(self.local))


if __name__ == "__main__":
    unittest.main(verbosity=2)
