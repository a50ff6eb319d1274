#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service and the client library make no more system calls a message than are stated here, and no others. Counted by strace,
so what else the machine does hardly changes it: twice to five times what was counted is allowed where batches may be larger or
smaller, a twentieth more where each message has its calls.

    test_calls.py CALLS_CLIENT"""

import collections
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import unittest

import direct1
from service import QUIET, SANITIZED, TIMEOUT, Service, main, say

CALLS_CLIENT = os.path.abspath(sys.argv.pop(1))
PAIRS = 8
PAYLOAD = 128
DEEP_BYTES = 2 << 20  # of each sender
ROUND_TRIPS = 500

# Calls a message, at most; and how many others in all
SERVICE_DEEP = {"recvfrom": 0.01, "sendto": 0.01, "epoll_wait": 0.01}, 0.005
SERVICE_WINDOW_1 = {"recvfrom": 1.05, "sendto": 1.05, "epoll_wait": 1.05}, 0.05
# Neither end wakes for each message. What else there is, is brk(): while the heap grows, and not with each batch of messages
LIBRARY_SMALL = {"sendmsg": 0.01, "epoll_wait": 0.01, "recvfrom": 0.01}, 0.0015
# A MiB goes out in 8 pieces of 128 KiB or less, and comes in as it lies in the socket; the receiver acknowledges what it has read
LIBRARY_LARGE = {"sendmsg": 12, "epoll_wait": 12, "recvfrom": 12}, 0.3
LIBRARY_CALL = {"sendmsg": 1.05, "epoll_wait": 1.05, "recvfrom": 1.05}, 0.5

CALL = re.compile(r"(?:\d+ +)?(\w+)\((.*)")


class TracedService(Service):
    """Its calls are in the file `trace`; strace passes no signals on."""

    def __init__(self, trace, **options):
        self.prefix = ("strace", "-f", "-o", trace)
        super().__init__(**options)

    @property
    def pid(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            return int(file.read().split()[0])

    def send_signal(self, number):
        os.kill(self.pid, number)


def phases(path, marker):
    """What was called between two of the lines that the pattern matches, counted by name"""
    counts = []
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            call = CALL.match(line)
            if re.search(marker, line):
                counts.append(collections.Counter())
            elif counts and call:
                counts[-1][call[1]] += 1
    return counts[:-1]


def exchange(blocks, receivers):
    """Each sender sends its block, and its receiver takes as much."""
    views = {sender.socket.fileno(): (sender.socket, memoryview(block)) for sender, block in blocks.items()}
    left = {receiver.socket.fileno(): len(block) for receiver, block in zip(receivers, blocks.values())}
    sockets = {receiver.socket.fileno(): receiver.socket for receiver in receivers}
    poll = select.poll()
    for fd in views:
        poll.register(fd, select.POLLOUT)
    for fd in left:
        poll.register(fd, select.POLLIN)
    while any(left.values()):
        ready = poll.poll(TIMEOUT * 1000)
        if not ready:
            raise TimeoutError("nothing moves")
        for fd, _ in ready:
            if fd in left:
                left[fd] -= len(sockets[fd].recv(1 << 20))
                continue
            s, view = views[fd]
            views[fd] = s, view[s.send(view):]
            if not views[fd][1]:
                poll.unregister(fd)


class Calls(unittest.TestCase):
    def setUp(self):
        if SANITIZED:
            self.skipTest("sanitizers make calls of their own, and look for leaks by what strace uses")
        if not shutil.which("strace"):
            self.skipTest("there is no strace here (packaging/install-build-deps check installs it)")
        if subprocess.run(["strace", "-f", "-o", os.devnull, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("strace may not trace here")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def assertCalls(self, counts, n, figures, what):
        most, others = figures
        text = ", ".join(f"{name} {count / n:.4f}" for name, count in counts.most_common())
        say(f"{what}: {sum(counts.values()) / n:.4f} calls a message: {text}")
        for name, figure in most.items():
            self.assertLessEqual(counts[name] / n, figure, f"{what}: {name}")
        self.assertGreater(sum(counts.values()), 10)  # else strace writes something else than was read here
        rest = {name: count for name, count in counts.items() if name not in most}
        self.assertLessEqual(sum(rest.values()) / n, others, f"{what}: {rest}")

    def test_service(self):
        trace = os.path.join(self.directory, "service")
        service = TracedService(trace, config=QUIET)
        self.addCleanup(service.finish)
        senders = [direct1.Client(service.tcp) for _ in range(PAIRS)]
        receivers = [direct1.Client(service.tcp) for _ in range(PAIRS)]
        payload = bytes(PAYLOAD)
        frame_size = direct1.HEADER.size + PAYLOAD
        n_each = DEEP_BYTES // frame_size
        blocks = {a: direct1.Frame(direct1.DATA, direct1.WHOLE, target=b.id, payload=payload).pack() * n_each
                  for a, b in zip(senders, receivers)}
        marks = [direct1.Client(service.tcp)]
        exchange(blocks, receivers)
        marks.append(direct1.Client(service.tcp))
        a, b = senders[0], receivers[0]
        for _ in range(ROUND_TRIPS):
            a.data(b.id, payload)
            b.expect(direct1.DATA)
            b.data(a.id, payload)
            a.expect(direct1.DATA)
        marks.append(direct1.Client(service.tcp))
        for client in senders + receivers + marks:
            client.close()
        service.finish()

        deep, window_1 = phases(trace, r"accept4\(.*= \d")[-2:]
        self.assertCalls(deep, PAIRS * n_each, SERVICE_DEEP, "service, 8 pairs")
        self.assertCalls(window_1, 2 * ROUND_TRIPS, SERVICE_WINDOW_1, "service, window 1")

    def run_clients(self, one, other, n, size):
        """The calls of the one, who begins, and of the other"""
        service = Service(config=QUIET)
        self.addCleanup(service.finish)
        processes, traces = [], []
        for role in (other, one):
            traces.append(os.path.join(self.directory, role))
            process = subprocess.Popen(["strace", "-f", "-o", traces[-1], CALLS_CLIENT, role, service.tcp, str(n), str(size)],
                                       stdout=subprocess.PIPE, text=True)
            processes.append(process)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            self.assertEqual(process.stdout.readline(), "begin\n")
        for process in reversed(processes):
            self.assertEqual(process.stdout.read(), "end\n")
            process.stdout.close()
            self.assertEqual(process.wait(TIMEOUT), 0)
        service.finish()
        return [phases(trace, r'write\(1, "(begin|end)')[0] for trace in reversed(traces)]

    def test_messages(self):
        n = 50000
        sender, receiver = self.run_clients("send", "receive", n, PAYLOAD)
        self.assertCalls(sender, n, LIBRARY_SMALL, "library, sender")
        self.assertCalls(receiver, n, LIBRARY_SMALL, "library, receiver")

    def test_large_messages(self):
        n, size = 100, 1 << 20
        sender, receiver = self.run_clients("send", "receive", n, size)
        self.assertCalls(sender, n, LIBRARY_LARGE, "library, sender of 1 MiB")
        self.assertCalls(receiver, n, LIBRARY_LARGE, "library, receiver of 1 MiB")

    def test_calls(self):
        n = 500
        caller, answerer = self.run_clients("call", "answer", n, PAYLOAD)
        self.assertCalls(caller, n, LIBRARY_CALL, "library, caller")
        self.assertCalls(answerer, n, LIBRARY_CALL, "library, answerer")


if __name__ == "__main__":
    main()
