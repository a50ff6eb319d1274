# SPDX-License-Identifier: LGPL-2.1-or-later
"""A restart by the manager keeps every connection: clients notice nothing but a pause."""

import os
import random
import socket
import threading
import time

import direct1
from direct1 import DATA, DIED, GOODBYE, LEFT, STATE_ALIVE, STOPPING, WELCOME, WENT_AWAY, hello
from manager import STORED, ManagedService, sealed
from service import SANITIZED, ServiceTest, main, say

RESTARTS = 5
CANT = "Can't take over the connections"


class HandoverTest(ServiceTest):
    def start_service(self, **options):
        service = ManagedService(**({"config": self.config} | options))
        self.addCleanup(service.finish)
        return service

    @property
    def address(self):
        return self.service.held

    def restart(self, n_links=None, **config):
        self.service.restart(**config)
        line = self.service.wait_line("Took over")
        if n_links is not None:
            self.assertIn(f"Took over {n_links} connections", line)


class Stream:
    """Numbered messages from one client to another, as fast as they are taken, until it is told to stop."""

    def __init__(self, sender, receiver, size):
        self.sender, self.receiver, self.size = sender, receiver, size
        self.n_sent = self.n_received = 0
        self.longest = 0.0
        self.stopping = threading.Event()
        self.failure = None
        self.threads = [threading.Thread(target=self._run, args=(work,), daemon=True) for work in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _run(self, work):
        try:
            work()
        except BaseException as failure:
            self.failure = failure

    def _send(self):
        payload = random.Random(1).randbytes(self.size)
        while not self.stopping.is_set():
            self.sender.data(self.receiver.id, payload, tag=self.n_sent + 1)
            self.n_sent += 1
        self.sender.data(self.receiver.id, b"", tag=0)

    def _receive(self):
        last = time.monotonic()
        while True:
            frame = self.receiver.receive()
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now
            assert frame.type == DATA and frame.source == self.sender.id, frame
            if frame.tag == 0:
                return
            self.n_received += 1
            assert frame.tag == self.n_received and len(frame.payload) == self.size, f"{frame} instead of {self.n_received}"

    def wait_for_more(self, n):
        """Until so many more have come."""
        goal = self.n_received + n
        while self.n_received < goal and not self.failure and self.threads[1].is_alive():
            time.sleep(0.005)

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(direct1.TIMEOUT)
        if self.failure:
            raise self.failure
        assert self.n_received == self.n_sent, f"{self.n_received} of {self.n_sent} messages came"


class Traffic(HandoverTest):
    def test_restarts_under_traffic(self):
        streams = []
        for size in (0, 100, 65536):
            for a, b in ((self.service.held, self.service.held), (self.service.unix, self.service.held),
                         (self.service.held, self.service.unix)):
                streams.append(Stream(self.client(address=a), self.client(address=b), size))
        idle = self.client("idle")
        for _ in range(RESTARTS):
            for stream in streams:
                stream.wait_for_more(20)
            self.restart(2 * len(streams) + 1)
        for stream in streams:
            stream.wait_for_more(20)
            stream.finish()
        say(f"{sum(stream.n_sent for stream in streams)} messages over {RESTARTS} restarts, the longest pause "
            f"{max(stream.longest for stream in streams) * 1000:.0f} ms")
        idle.expect_nothing()
        self.service.wait_removed()
        self.assertEqual(self.service.removed, RESTARTS)

    def test_what_is_under_way(self):
        """Halves of frames in and out, more than all buffers take, and a sender that is paused."""
        slow = self.client("slow")
        sender = self.client("sender")
        payload = random.Random(2).randbytes(65536)
        n = 0
        rest = b""
        quiet = time.monotonic()
        while time.monotonic() - quiet < 0.3:  # until it is paused
            if not rest:
                rest = direct1.Frame(DATA, flags=direct1.WHOLE, target=slow.id, payload=payload, tag=n).pack()
                n += 1
            try:
                rest = rest[sender.socket.send(rest):]
                quiet = time.monotonic()
            except BlockingIOError:
                time.sleep(0.005)
        half = self.client("half")
        frame = direct1.Frame(DATA, flags=direct1.WHOLE, target=half.id, payload=b"x" * 1000, tag=7).pack()
        half.send_bytes(frame[:500])
        opening = self.link()
        greeting = hello("opening").pack()
        opening.send_bytes(greeting[:30])
        self.restart(4)
        self.restart(4)
        opening.send_bytes(greeting[30:])
        opening.expect(WELCOME)
        half.send_bytes(frame[500:])
        self.assertEqual(half.expect(DATA).payload, b"x" * 1000)
        sent = threading.Thread(target=sender.send_bytes, args=(rest,), daemon=True)
        sent.start()
        for i in range(n):
            received = slow.expect(DATA, tag=i, source=sender.id)
            self.assertEqual(received.payload, payload)
        sent.join()
        slow.expect_nothing()

    def test_sessions(self):
        """Ids, names, watches, the epoch and the instance are kept; who went meanwhile is told."""
        watcher, one, two = self.client("watcher"), self.client("one"), self.client("two", self.service.unix)
        watcher.watch(one.id)
        epoch, _ = watcher.watch(two.id)
        self.restart(3)
        self.assertEqual(watcher.resolve("one"), (one.id, STATE_ALIVE))
        self.service.stop()
        two.close()
        self.service.start()
        watcher.expect_presence(LEFT, two.id, reason=DIED, epoch=epoch + 1)
        one.goodbye()
        watcher.expect_presence(LEFT, one.id, epoch=epoch + 2)
        new = self.client("one")
        self.assertGreater(new.id, two.id)
        self.assertEqual(new.welcome.instance, watcher.welcome.instance)

    def test_who_knocks_meanwhile(self):
        """… is let in by the next."""
        self.service.stop()
        early = self.link()
        early.send_bytes(hello("early").pack())
        self.service.start()
        early.expect(WELCOME)

    def test_after_a_restart_a_crash(self):
        client = self.client("worker")
        self.restart(1)
        self.service.kill()
        client.expect_closed()
        self.service.start()
        again = self.client(resume=client.welcome)
        self.assertEqual(again.id, client.id)

    def test_account_lost_between_the_two(self):
        """Who is taken over may resume later, also if the file that said so has gone."""
        client = self.client("worker")
        self.service.stop()
        os.unlink(os.path.join(self.service.state, "resumable"))
        self.service.start()
        client.ping()
        later = self.client("later")
        self.service.kill()
        self.service.start()
        for old in (client, later):
            old.expect_closed()
            self.assertEqual(self.client(resume=old.welcome).id, old.id)

    def test_reset_before(self):
        """A client whose link was reset may resume, whoever of the two services has seen that."""
        watcher, other = self.client("watcher"), self.client("other")
        watcher.watch(other.id)
        self.service.stop()
        other.reset()
        self.service.start()
        watcher.expect_presence(WENT_AWAY, other.id)
        self.assertEqual(self.client(resume=other.welcome).id, other.id)

    def test_reset_that_was_seen(self):
        """The kernel tells a reset once, so that the service before has to pass on that it was told."""
        watcher, other = self.client("watcher"), self.client("other")
        watcher.watch(other.id)
        self.service.stop()
        self.service.repack(lambda state, links: (state, [[b"\0\1", links[0][1]]]))
        other.close()
        self.service.start()
        watcher.expect_presence(WENT_AWAY, other.id)
        self.assertEqual(self.client(resume=other.welcome).id, other.id)

    def test_many(self):
        n = 500 if SANITIZED else 5000
        self.need_descriptors(2 * n + 200)
        clients = [self.client(address=self.service.unix if i % 2 else self.service.held) for i in range(n)]
        clients[0].ping()
        begin = time.monotonic()
        self.service.stop()
        stopped = time.monotonic()
        self.service.start()
        clients[0].ping()
        end = time.monotonic()
        self.service.wait_line(f"Took over {n} connections of {n} clients")
        say(f"{n} clients: {(stopped - begin) * 1000:.0f} ms to the end of the first service, {(end - stopped) * 1000:.0f} ms "
            "until the second has answered")
        for client in clients:
            client.ping()
        for a, b in zip(clients, clients[1:]):
            a.data(b.id, b"hello")
        for a, b in zip(clients, clients[1:]):
            b.expect(DATA, source=a.id)

    def test_stop_for_good(self):
        """Clients see the end of their links."""
        client = self.client("worker")
        self.service.stop()
        self.service.forget()
        client.expect_closed()

    def test_without_a_store(self):
        """They are told to come back."""
        self.service.environment["FDSTORE"] = "0"
        self.restart(0)
        client = self.client("worker")
        self.service.send_signal(15)
        client.wait_for(lambda frame: frame.type == GOODBYE and frame.kind == STOPPING)
        self.service.wait()
        self.assertEqual(self.service.stored, [])


class Refusals(HandoverTest):
    """What is wrong in any way is refused as a whole: all links are closed, it is said once, and clients resume."""

    def refused(self, change):
        clients = [self.client("tcp"), self.client("unix", self.service.unix)]
        self.service.stop()
        change(self.service)
        self.service.start()
        for client in clients:
            self.assertFalse(client.expect_closed().reset)
        self.assertEqual(sum(CANT in line for line in self.service.log()), 1, self.service.log())
        for client, address in zip(clients, (self.service.held, self.service.unix)):
            self.assertEqual(self.client(address=address, resume=client.welcome).id, client.id)
        self.restart(2)

    def repacked(self, change):
        self.refused(lambda service: service.repack(change))

    def test_damaged_state(self):
        self.repacked(lambda state, links: (state[:100] + bytes([state[100] ^ 1]) + state[101:], links))

    def test_cut_state(self):
        self.repacked(lambda state, links: (state[:-1], links))

    def test_empty_state(self):
        self.repacked(lambda state, links: (b"", links))

    def test_another_state_directory(self):
        self.repacked(lambda state, links: (bytes([state[0] ^ 1]) + state[1:], links))

    def test_state_that_can_change(self):
        self.repacked(lambda state, links: (sealed(state, 0), links))

    def test_missing_descriptor(self):
        def change(state, links):
            os.close(links[0][1].pop())
            return state, [[links[0][0][:-1], links[0][1]]]
        self.repacked(change)

    def test_no_descriptors(self):
        def change(state, links):
            for fd in links[0][1]:
                os.close(fd)
            return state, []
        self.repacked(change)

    def test_one_more(self):
        def change(state, links):
            a, b = socket.socketpair()
            b.close()
            return state, links + [[b"\0", [a.detach()]]]
        self.repacked(change)

    def test_wrong_order(self):
        self.repacked(lambda state, links: (state, [[links[0][0], links[0][1][::-1]]]))

    def test_no_socket(self):
        def change(state, links):
            os.close(links[0][1].pop())
            return state, [[links[0][0], links[0][1] + [os.open("/dev/null", os.O_RDONLY)]]]
        self.repacked(change)

    def test_marks_that_are_not_as_many(self):
        self.repacked(lambda state, links: (state, [[links[0][0] + b"\0", links[0][1]]]))

    def test_not_a_pair(self):
        def change(service):
            service.forget()
            service.stored.append((STORED, os.open("/dev/null", os.O_RDONLY)))
        self.refused(change)

    def test_two(self):
        def change(service):
            service.stored.append((STORED, os.open("/dev/null", os.O_RDONLY)))
        clients = [self.client("tcp"), self.client("unix", self.service.unix)]
        self.service.stop()
        change(self.service)
        self.service.start()
        for client in clients:
            client.ping()

    def test_fewer_descriptors_allowed(self):
        """The next start may have fewer than there are connections."""
        clients = [self.client() for _ in range(200)]
        self.service.stop()
        self.service.nofile = 150
        self.service.start()
        for client in clients:
            client.expect_closed()
        self.assertEqual(sum(CANT in line for line in self.service.log()), 1, self.service.log())
        self.assertEqual(self.client(resume=clients[0].welcome).id, clients[0].id)


if __name__ == "__main__":
    main()
