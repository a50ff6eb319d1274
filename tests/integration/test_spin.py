# SPDX-License-Identifier: LGPL-2.1-or-later
"""SpinUSec=: while traffic is brisk the service does not sleep; else it costs nothing."""

import itertools
import os
import re
import select
import signal

from direct1 import DATA, TIMEOUT, WHOLE, Frame
from service import Bystanders, ServiceTest, main, say


class Spin(ServiceTest):
    config = {"SpinUSec": "1ms"}

    def setUp(self):
        super().setUp()
        self.pair = Bystanders(self.address)
        self.addCleanup(self.pair.close)

    def n_sleeps(self):
        with open(f"/proc/{self.service.pid}/status", encoding="ascii") as f:
            return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", f.read(), re.MULTILINE).group(1))

    def cpu_seconds(self):
        """To a nanosecond"""
        with open(f"/proc/{self.service.pid}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[0]) / 1e9

    def sleeps(self):
        """How many for a round trip, which has two messages that have to wake the service, if it does not poll"""
        n, ends = 10, (self.pair.a, self.pair.b)
        ways = [(a.socket, b.socket, Frame(DATA, target=b.id, flags=WHOLE, payload=b"x").pack()) for a, b in (ends, ends[::-1])]
        for end in ends:
            end.socket.settimeout(TIMEOUT)
        before = self.n_sleeps()
        for sender, receiver, frame in ways * n:  # at once, which a Client with its large buffers is not
            sender.sendall(frame)
            self.assertEqual(len(receiver.recv(len(frame))), len(frame))
        n_sleeps = self.n_sleeps() - before
        for end in ends:
            end.socket.setblocking(False)
        return n_sleeps / n

    def use_two_processors(self):
        """One for the service and one for its clients: on the same, polling is of no use, and sleeps are few without"""
        usable = os.sched_getaffinity(0)
        if len(usable) < 2:
            self.skipTest("who is waited for needs a processor beside the one that is polled on")
        self.addCleanup(os.sched_setaffinity, 0, usable)
        os.sched_setaffinity(self.service.pid, {max(usable)})
        os.sched_setaffinity(0, {min(usable)})

    def polls(self, again):
        """Others may need a processor for a while, and then it learns not to; `again` makes it forget that."""
        self.eventually(lambda: again() or self.sleeps() < 1, "it sleeps between messages that follow each other", 60)

    def reload(self, value):
        self.service.configure(SpinUSec=value)
        skip = len(self.service.log())
        self.service.send_signal(signal.SIGHUP)
        self.service.wait_line("asked; changed: SpinUSec", skip=skip)

    def test_start(self):
        self.use_two_processors()
        processors = os.sched_getaffinity(self.service.pid)

        def restart():
            self.pair.close()
            self.service.stop()
            self.service.start()
            os.sched_setaffinity(self.service.pid, processors)
            self.pair = Bystanders(self.address)

        self.polls(restart)
        self.addCleanup(self.pair.close)

    def test_reload(self):
        self.use_two_processors()
        self.reload("0")
        self.eventually(lambda: self.sleeps() > 1.5, "it polls without having been told to")
        values = itertools.cycle(("1ms", "500us"))
        self.polls(lambda: self.reload(next(values)))

    def test_idle(self):
        """After brisk traffic, and with a message now and then"""
        if not os.path.exists(f"/proc/{self.service.pid}/schedstat"):
            self.skipTest("this kernel does not count nanoseconds")
        self.pair.exchange(1000)
        cpu, n = self.cpu_seconds(), 100
        for _ in range(n):
            select.select([], [], [], 0.005)
            self.pair.exchange()
        cpu = self.cpu_seconds() - cpu
        say(f"{cpu / n * 1e6:.0f} us of CPU for a round trip every 5 ms")
        # not one millisecond for each of the two waits, nor for the one that is as long as the pause
        self.assertLess(cpu, n * 0.001 / 2)


class SpinUnix(Spin):
    transport = "unix"


if __name__ == "__main__":
    main()
