# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ten thousand: what a connection costs, and that none is left behind."""

import select
import time

import direct1
from direct1 import DIED, LEFT, WELCOME, Client, hello
from service import Bystanders, ServiceTest, main, say

N = 1000 if direct1.SANITIZED else 10000
SPARE = 200  # descriptors for everything else
KIBIBYTE = 1024


class Scale(ServiceTest):
    def setUp(self):
        self.need_descriptors(N + SPARE)
        super().setUp()
        self.bystanders = Bystanders(self.service.unix)
        self.addCleanup(self.bystanders.close)
        self.bystanders.exchange(100)
        self.baseline = self.service.n_descriptors()

    def links(self, data):
        """N connections that have sent `data`. Several local addresses, as one has too few free ports."""
        sockets = []
        self.addCleanup(lambda: [s.close() for s in sockets])
        for i in range(N):
            s = direct1.open_socket(self.service.tcp, source=f"127.0.0.{2 + i % 8}")
            sockets.append(s)
            if data:
                s.send(data)
        self.eventually(lambda: self.service.n_descriptors() >= self.baseline + N,
                        lambda: f"{self.service.n_descriptors()} descriptors")
        self.bystanders.exchange(10)
        return sockets

    def assertMemory(self, what, before, limit):
        each = (self.service.rss() - before) / N
        say(f"{what}: {each:.0f} bytes of resident memory each, {N} of them")
        if direct1.SANITIZED:
            say("The limit does not apply under sanitizers.")
        else:
            self.assertLessEqual(each, limit)

    def assertPrompt(self, name):
        begin = time.monotonic()
        for _ in range(100):
            self.bystanders.a.alive(name)
        seconds = (time.monotonic() - begin) / 100
        say(f"ALIVE beside them: {seconds * 1e6:.0f} us")
        self.assertLess(seconds, 0.05)

    def assertDescriptorsBack(self):
        self.eventually(lambda: self.service.n_descriptors() <= self.baseline,
                        lambda: f"{self.service.n_descriptors()} descriptors instead of {self.baseline}")


class BeforeHello(Scale):
    def test_who_never_says_hello(self):
        """Each announces the most that a HELLO may have and holds back its last byte."""
        before = self.service.rss()
        first = time.monotonic()
        whole = hello(program="").pack()
        sockets = self.links(hello(program="p" * (direct1.HELLO_FRAME_MAX - len(whole))).pack()[:-1])
        last = time.monotonic()
        say(f"{N} connections in {last - first:.2f} s")
        self.assertMemory("before HELLO", before, 8 * KIBIBYTE)
        self.assertPrompt(self.bystanders.b.name)

        poll = select.epoll()
        for s in sockets:
            poll.register(s, select.EPOLLIN)
        left, earliest = N, None
        longest = 0.0
        while left:
            for fd, _ in poll.poll(0.1):
                poll.unregister(fd)
                left -= 1
                earliest = earliest or time.monotonic()
            longest = max(longest, self.bystanders.exchange())
            self.assertLess(time.monotonic() - last, 5 + direct1.TIMEOUT, f"{left} are still open")
        poll.close()
        say(f"closed from {earliest - first:.2f} to {time.monotonic() - last:.2f} s after connecting; longest round trip "
            f"of others {longest * 1000:.0f} ms")
        self.assertGreater(earliest - first, 4.5)
        self.assertLess(time.monotonic() - last, 7)
        self.assertLess(longest, 1)
        self.assertDescriptorsBack()


class Idle(Scale):
    def test_idle_clients(self):
        before = self.service.rss()
        begin = time.monotonic()
        sockets = self.links(hello(program="").pack())
        for s in sockets:
            s.setblocking(True)
            data = b""
            while len(data) < 40 or len(data) < 40 + int.from_bytes(data[:4], "little"):
                data += s.recv(4096)
            self.assertEqual(data[4], WELCOME)
        say(f"{N} clients in {time.monotonic() - begin:.2f} s")
        self.bystanders.exchange(10)
        self.assertMemory("idle clients", before, 2 * KIBIBYTE)
        name = direct1.Welcome.parse(data[40:]).name
        self.assertPrompt(name)

        a = self.bystanders.a
        n, after = 0, 0
        while page := a.list_page(after)[1]:
            n, after = n + len(page), page[-1][0]
        self.assertEqual(n, N + 2)

        a.watch(0)
        begin = time.monotonic()
        for s in sockets:
            s.close()
        epochs = []
        while len(epochs) < N:
            presence = a.expect_presence(LEFT, reason=DIED)
            epochs.append(presence.epoch)
        say(f"all gone after {time.monotonic() - begin:.2f} s")
        self.assertEqual(epochs, list(range(epochs[0], epochs[0] + N)))
        a.watch(0, on=False)
        self.bystanders.exchange(10)
        self.assertDescriptorsBack()


class OneAfterTheOther(Scale):
    def test_connects_and_disconnects(self):
        before = self.service.rss()
        begin = time.monotonic()
        for i in range(N):
            where = (self.service.unix, {}) if i % 2 else (self.service.tcp, {"source": f"127.0.0.{2 + i % 200}"})
            with Client(where[0], socket_options=where[1]) as c:
                if i % 4 == 0:
                    c.goodbye()
        grown = self.service.rss() - before
        say(f"{N} connects and disconnects in {time.monotonic() - begin:.2f} s, RSS grown by {grown >> 10} KiB")
        if not direct1.SANITIZED:
            self.assertLess(grown, 2 * KIBIBYTE * KIBIBYTE)
        self.assertDescriptorsBack()


if __name__ == "__main__":
    main()
