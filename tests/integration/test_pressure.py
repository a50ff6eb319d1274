# SPDX-License-Identifier: LGPL-2.1-or-later
"""Receivers that stop reading: nobody else notices, nothing is lost, memory is bounded."""

import hashlib
import random
import select
import time

import direct1
from direct1 import (BACK, BOUNCE, DATA, DIED, EVERYONE, LEFT, MARK, MARK_BASELINE, PING, PONG, RELIABLE, STATE_ALIVE, STATE_BUSY,
                     WENT_AWAY, WHOLE, Client, Frame)
from service import PROMPT, Background, Bystanders, Sender, ServiceTest, main, say, wait_until_paused

MEBIBYTE = 1 << 20
# Small, so that the tests need not move much to reach them.
WATER = {"OutboxHighWater": "512K", "OutboxLowWater": "128K"}


class StoppedReceiver(ServiceTest):
    config = WATER | {"KernelTimeoutSec": "2"}

    def stopped_client(self, name="stopped"):
        """A client with a small window, so that little disappears into the kernel."""
        return self.client(name, socket_options={"receive_buffer": 16384})

    def test_pauses_its_sender_and_nobody_else(self):
        """64 MiB to a receiver that reads nothing for longer than KernelTimeoutSec=; then all of it arrives."""
        stopped, client = self.stopped_client(), self.client("sender")
        bystanders = Bystanders(self.address)
        self.addCleanup(bystanders.close)
        watcher = self.client("watcher")
        watcher.watch(stopped.id)
        watcher.watch(client.id)
        bystanders.exchange(100)
        before = self.service.rss()

        n = 64 * MEBIBYTE // 65536
        sender = Sender(client, stopped.id, n)
        wait_until_paused([sender], bystanders.exchange)
        begin, cpu = time.monotonic(), self.service.cpu_seconds()
        longest = 0.0
        while time.monotonic() - begin < 5:
            longest = max(longest, bystanders.exchange(20))
            select.select([], [], [], 0.02)
        cpu = self.service.cpu_seconds() - cpu
        grown = self.service.rss() - before
        say(f"{self.transport}: {sender.sent} frames accepted, RSS grown by {grown >> 10} KiB, longest round trip of others "
            f"{longest * 1000:.1f} ms, {cpu:.2f} s of CPU in 5 s")
        self.assertLess(sender.sent, n)
        self.assertLess(longest, PROMPT)
        if not direct1.SANITIZED:
            self.assertLess(grown, 8 * MEBIBYTE)
            self.assertLess(cpu, 2.5, "it does not spin on what it has paused")
        self.assertIn(watcher.alive(stopped.id).state, (STATE_ALIVE, STATE_BUSY))
        load = watcher.load()
        self.assertEqual(load["clients_paused"], 1)
        self.assertGreaterEqual(load["queued_bytes"], 256 * 1024)
        self.assertLess(load["queued_bytes"], 2 * MEBIBYTE)
        watcher.expect_nothing()

        for i in range(n):
            stopped.expect(DATA, source=client.id, tag=i)
        sender.thread.join()
        client.expect_nothing()
        watcher.expect_nothing()
        bystanders.exchange(100)
        load = watcher.load()
        self.assertEqual((load["clients_paused"], load["queued_bytes"]), (0, 0))

    def test_with_little_that_waits(self):
        """What it does not read is all in buffers of the kernels: it is left alone for as long as it computes, all the same."""
        stopped, client = self.client("stopped"), self.client("sender")
        watcher = self.client("watcher")
        watcher.watch(stopped.id)
        n = 16
        for i in range(n):
            client.data(stopped.id, bytes(65536), tag=i)
        with self.assertRaises(TimeoutError):
            watcher.receive(timeout=4)  # twice what KernelTimeoutSec= says
        for i in range(n):
            stopped.expect(DATA, source=client.id, tag=i)

    def test_contents_after_stops_and_starts(self):
        """A reader that is slow in bursts gets every byte, in order."""
        stopped, client = self.stopped_client(), self.client("sender")
        n = 400
        rng = random.Random(7)
        payloads = [rng.randbytes(rng.choice((0, 100, 5000, 65536))) for _ in range(n)]
        sent = Background(lambda: [client.data(stopped.id, payload, tag=i) for i, payload in enumerate(payloads)])
        other = self.client()
        digest = hashlib.sha256()
        for i in range(n):
            if i % 40 == 0:
                for _ in range(30):
                    other.ping()
            digest.update(stopped.expect(DATA, source=client.id, tag=i).payload)
        sent.join()
        self.assertEqual(digest.digest(), hashlib.sha256(b"".join(payloads)).digest())

    def test_control_frames_pass(self):
        """The answer to a question of a receiver that is behind does not wait for all that is queued for it."""
        stopped, client = self.stopped_client(), self.client("sender")
        other = self.client()
        n = 600
        sender = Sender(client, stopped.id, n)
        wait_until_paused([sender], other.ping)
        stopped.send(PING, payload=b"?", tag=5)
        before_pong = 0
        while stopped.receive().type != PONG:
            before_pong += 1
        say(f"{before_pong} frames of {n} before the PONG")
        self.assertLess(before_pong, 100)
        for i in range(before_pong, n):
            stopped.expect(DATA, source=client.id, tag=i)
        sender.thread.join()

    def test_many_senders(self):
        """Each is paused, memory does not grow with their number beyond one batch each, and each gets through in the end."""
        stopped = self.stopped_client()
        bystanders = Bystanders(self.address)
        self.addCleanup(bystanders.close)
        clients = [self.client() for _ in range(8)]
        bystanders.exchange(10)
        before = self.service.rss()
        n = 400  # the kernel takes up to 20 MiB of the first on its two links, autotuned
        senders = [Sender(c, stopped.id, n) for c in clients]
        wait_until_paused(senders, bystanders.exchange)
        grown = self.service.rss() - before
        say(f"8 senders paused: RSS grown by {grown >> 10} KiB")
        if not direct1.SANITIZED:
            self.assertLess(grown, 16 * MEBIBYTE)
        seen = {c.id: 0 for c in clients}
        for _ in range(n * len(clients)):
            frame = stopped.expect(DATA)
            self.assertEqual(frame.tag, seen[frame.source])
            seen[frame.source] += 1
        for sender in senders:
            sender.thread.join()

    def test_many_senders_within_their_credit(self):
        """Each has sent all that it may before the receiver has taken any: none of them waits, whatever else it sends."""
        stopped = self.stopped_client()
        clients = [self.client() for _ in range(200)]
        before = self.service.rss()
        for c in clients:
            size = c.welcome.initial_credit // 4
            for i in range(4):
                c.data(stopped.id, bytes(size - 40), tag=i)
        for c in clients:
            c.ping()
        load = clients[0].load()
        grown = self.service.rss() - before
        say(f"{load['queued_bytes'] >> 10} KiB of {len(clients)} senders are queued, RSS grown by {grown >> 10} KiB")
        self.assertEqual(load["clients_paused"], 0)
        self.assertGreater(load["queued_bytes"], 16 * MEBIBYTE)
        if not direct1.SANITIZED:
            self.assertLess(grown, 32 * MEBIBYTE)

        # One that goes on without being granted more does wait, and nobody with it.
        n = 64 * MEBIBYTE // 65536  # more than the kernel takes
        greedy = Sender(clients[0], stopped.id, n)
        wait_until_paused([greedy], clients[1].ping)
        for c in clients[1:]:
            c.ping()
        self.assertEqual(clients[1].load()["clients_paused"], 1)
        coming = {c.id: [*range(4)] for c in clients}
        coming[clients[0].id] += range(n)
        while any(coming.values()):
            frame = stopped.expect(DATA)
            self.assertEqual(frame.tag, coming[frame.source].pop(0))
        greedy.thread.join()

    def test_ends_while_others_wait(self):
        """However the receiver ends, those that were paused for it go on at once, and are told."""
        for end in (Client.reset if self.transport == "tcp" else Client.close, Client.close, Client.goodbye):
            stopped, client = self.stopped_client(""), self.client()
            other = self.client()
            other.watch(stopped.id)
            n = 1000
            sender = Sender(client, stopped.id, n)
            wait_until_paused([sender], other.ping)
            end(stopped)
            begin = time.monotonic()
            last = client_bounces = 0
            sender.thread.join()
            client.data(stopped.id, b"the last", tag=n)
            while last != n:
                frame = client.expect(BOUNCE, target=stopped.id)
                last = frame.tag
                client_bounces += 1
            self.assertGreater(client_bounces, 100)
            self.assertLess(time.monotonic() - begin, 10)
            presence = direct1.Presence.parse(other.expect(direct1.PRESENCE).payload)
            self.assertIn(presence.event, (LEFT, WENT_AWAY))
            if presence.event == WENT_AWAY:
                other.expect_presence(LEFT, stopped.id)
            client.close()

    def test_two_that_stop_for_each_other(self):
        """Both send without reading until both are paused; then both read: no deadlock remains."""
        a, b = self.stopped_client("a"), self.stopped_client("b")
        other = self.client()
        n = 300

        def frames(peer):
            return b"".join(Frame(DATA, flags=WHOLE, target=peer.id, tag=i, payload=bytes(65536)).pack() for i in range(n))

        threads = [Background(a.send_only, frames(b)), Background(b.send_only, frames(a))]
        for _ in range(500):
            other.ping()
        readers = [Background(lambda me, peer: [me.expect(DATA, source=peer.id).tag for _ in range(n)], *pair)
                   for pair in ((a, b), (b, a))]
        for reader in readers:
            self.assertEqual(reader.join(), list(range(n)))
        for thread in threads:
            thread.join()


class StoppedReceiverUnix(StoppedReceiver):
    transport = "unix"

    def stopped_client(self, name="stopped"):
        return self.client(name)

    def test_sender_that_dies_while_it_is_paused(self):
        """Its kernel says so; a link that is not read from is looked at all the same, and does not make the service spin."""
        stopped, client = self.stopped_client(), self.client("sender")
        watcher = self.client("watcher")
        watcher.watch(client.id)
        sender = Sender(client, stopped.id, 1000)
        wait_until_paused([sender], watcher.ping)
        client.socket.shutdown(2)
        client.close()
        watcher.expect_presence(LEFT, client.id, reason=DIED)
        if not direct1.SANITIZED:
            self.assertLess(self.quiet_second(watcher), 0.1)

    def quiet_second(self, watcher):
        """The CPU time that the service uses in a second in which nobody does anything."""
        cpu = self.service.cpu_seconds()
        with self.assertRaises(TimeoutError):
            watcher.receive(timeout=1)
        return self.service.cpu_seconds() - cpu


    def test_many_senders_that_die_while_they_are_paused(self):
        """More last words than the service takes for a receiver that does not read. It keeps what it can bound, does not spin on
        the rest, and delivers it when the receiver reads; every sender is gone in the end."""
        stopped, watcher = self.stopped_client(), self.client("watcher")
        n = 100
        senders = [self.client() for _ in range(n)]
        before = self.service.rss()
        frame = Frame(DATA, flags=WHOLE, target=stopped.id, payload=bytes(65536)).pack()
        written = {}
        for c in senders:
            written[c.id] = 0
            try:
                while (sent := c.socket.send(frame[written[c.id] % len(frame):])) > 0:
                    written[c.id] += sent
            except BlockingIOError:
                pass
        watcher.watch(0)
        for c in senders:
            c.close()
        left = []
        try:
            while True:
                left.append(watcher.expect_presence(LEFT, timeout=1, reason=DIED).id)
        except TimeoutError:
            pass
        cpu = self.quiet_second(watcher)
        grown = self.service.rss() - before
        say(f"{len(left)} of {n} gone, {sum(written.values()) >> 10} KiB written by them, RSS grown by {grown >> 10} KiB, "
            f"{cpu:.2f} s of CPU")
        if not direct1.SANITIZED:
            self.assertLess(grown, 10 * MEBIBYTE + n * 4 * len(frame), "two reads of each, and one share for all")
            self.assertLess(cpu, 0.1)
        wanted = {client_id: size // len(frame) for client_id, size in written.items()}
        frames = {client_id: 0 for client_id in wanted}
        for _ in range(sum(wanted.values())):
            frames[stopped.expect(DATA).source] += 1
        self.assertEqual(frames, wanted, "last words are delivered")
        while len(left) < n:
            left.append(watcher.expect_presence(LEFT, reason=DIED).id)
        self.assertEqual(sorted(left), sorted(written))


class StoppedWatcher(ServiceTest):
    """A watcher that reads nothing is told less, not later and later: what is kept for it is bounded, and it can see that it has
    missed something, and find out what."""

    transport = "unix"

    def test_of_everyone(self):
        """Thousands come and go meanwhile. The epochs show the gap, and LIST what there is."""
        w, other = self.client("watcher"), self.client("other")
        first_epoch = w.watch(0)[0]
        before = self.service.rss()
        n = 1000 if direct1.SANITIZED else 8000
        for i in range(n):
            with self.client(f"{i:05}".ljust(63, "x")) as c:
                if i % 2:
                    c.goodbye()
                    c.expect_closed()
        stays = self.client("stays")
        grown = self.service.rss() - before
        say(f"{2 * n} events unread: RSS grown by {grown >> 10} KiB")
        if not direct1.SANITIZED:
            self.assertLess(grown, 4 * MEBIBYTE)

        last_epoch = first_epoch + 2 * n + 1
        self.assertEqual(other.list_page(0), (last_epoch, [(c.id, STATE_ALIVE, c.name) for c in (w, other, stays)]))
        epoch, n_events = first_epoch, 0
        while epoch < last_epoch:
            presence = direct1.Presence.parse(w.expect(direct1.PRESENCE).payload)
            self.assertGreaterEqual(presence.epoch, epoch)
            epoch = presence.epoch
            n_events += 1
        say(f"{n_events} of them told")
        w.expect_nothing()
        c = self.client()
        w.expect_presence(direct1.JOINED, c.id, epoch=last_epoch + 1)

    def test_of_some(self):
        """It has a lot of messages to read first. Then it knows for each client that it watches how it is now."""
        w, sender = self.client("watcher"), self.client("sender")
        watched = [self.client(name, address=self.service.tcp) for name in ("goes", "stays", "lost", "returns")]
        goes, stays, lost, returns = watched
        for c in watched:
            w.watch(c.id)
        n = 500
        sending = Sender(sender, w.id, n)
        observer = self.client()
        wait_until_paused([sending], observer.ping)
        for c in watched:
            observer.watch(c.id)
        goes.goodbye()
        observer.expect_presence(LEFT, goes.id)
        lost.reset()
        observer.expect_presence(WENT_AWAY, lost.id)
        observer.expect_presence(LEFT, lost.id)
        returns.reset()
        observer.expect_presence(WENT_AWAY, returns.id)
        self.client(address=self.service.tcp, resume=returns.welcome)
        observer.expect_presence(BACK, returns.id)

        events, tag = {}, 0
        while tag < n or events.keys() < {goes.id, lost.id, returns.id}:
            frame = w.receive()
            if frame.type == DATA:
                self.assertEqual((frame.source, frame.tag), (sender.id, tag))
                tag += 1
            else:
                presence = direct1.Presence.parse(frame.payload)
                events.setdefault(presence.id, []).append(presence)
        self.assertEqual((events[goes.id][-1].event, events[goes.id][-1].reason), (LEFT, direct1.LEAVING))
        self.assertEqual((events[lost.id][-1].event, events[lost.id][-1].reason), (LEFT, direct1.LINK_LOST))
        self.assertIn(BACK, [presence.event for presence in events[returns.id]], "who comes back is always told to be back")
        self.assertEqual([p.event for p in events.get(stays.id, []) if p.event in (LEFT, WENT_AWAY)], [])
        sending.thread.join()
        stays.goodbye()
        while (presence := direct1.Presence.parse(w.expect(direct1.PRESENCE).payload)).event != LEFT:
            pass
        self.assertEqual(presence.id, stays.id)


class SlowClient(ServiceTest):
    config = WATER | {"SlowClientTimeoutSec": "500ms"}

    def test_is_disconnected_when_the_service_is_told_to(self):
        """Only with SlowClientTimeoutSec=; it is said to be for that, and its senders go on."""
        stopped, client = self.client("stopped", socket_options={"receive_buffer": 16384}), self.client("sender")
        watcher = self.client("watcher")
        watcher.watch(stopped.id)
        sender = Sender(client, stopped.id, 1000)
        watcher.expect_presence(LEFT, stopped.id, reason=direct1.TOO_SLOW)
        sender.thread.join()
        watcher.expect_nothing()


class Broadcasts(ServiceTest):
    config = WATER | {"BroadcastWaitMSec": "300"}

    def test_one_that_stops_is_waited_for_and_then_skipped(self):
        sender = self.client("sender")
        others = [self.client(f"other{i}") for i in range(3)]
        stopped = self.client("stopped", socket_options={"receive_buffer": 16384})
        n = 300

        def send():
            for i in range(1, n + 1):
                sender.data(EVERYONE, bytes(65536), flags=WHOLE | RELIABLE, sequence=i)

        def read(client):
            gap, last = 0.0, None
            for i in range(1, n + 1):
                client.expect(DATA, source=sender.id, sequence=i)
                now = time.monotonic()
                if last is not None:
                    gap = max(gap, now - last)
                last = now
            return gap

        begin = time.monotonic()
        background = Background(send)
        readers = [Background(read, c) for c in others]
        gaps = [reader.join() for reader in readers]
        seconds = time.monotonic() - begin
        background.join()
        say(f"{n} broadcasts of 64 KiB in {seconds:.2f} s; longest gap {max(gaps):.3f} s with BroadcastWaitMSec=300")
        self.assertLess(max(gaps), 0.3 + PROMPT)
        self.assertLess(seconds, 0.3 * 4 + 4 * PROMPT, "the wait is not paid for every broadcast anew")

        # Now it reads: a beginning without a gap, perhaps more after gaps, and MARKs that make each gap visible.
        expected, told, skipped = 1, 0, False
        sender.ping()
        while max(expected - 1, told) < n:
            frame = stopped.receive()
            self.assertEqual(frame.source, sender.id)
            if frame.type == MARK:
                self.assertEqual(frame.flags & MARK_BASELINE, 0)
                told = max(told, frame.sequence)
                skipped = True
            else:
                self.assertEqual(frame.type, DATA)
                skipped |= frame.sequence != expected
                self.assertGreaterEqual(frame.sequence, expected)
                expected = frame.sequence + 1
        self.assertTrue(skipped, "a receiver that stopped was never skipped")
        load = sender.load()
        self.assertEqual(load["skipped_broadcasts"] + load["messages_out"], n * 4, "each was either forwarded or counted")

        sender.data(EVERYONE, b"after", flags=WHOLE | RELIABLE, sequence=n + 1)
        for c in (*others, stopped):
            c.wait_for(lambda f: f.type == DATA and f.sequence == n + 1)

    def test_targeted_messages_are_never_skipped(self):
        """What was skipped are broadcasts; messages to the same stopped receiver wait and arrive."""
        sender, talker = self.client("sender"), self.client("talker")
        stopped = self.client("stopped", socket_options={"receive_buffer": 16384})
        reading = Background(lambda: [talker.receive() for _ in range(200)])
        for i in range(1, 201):
            sender.data(EVERYONE, bytes(65536), flags=WHOLE | RELIABLE, sequence=i)
        reading.join()
        n = 50
        talking = Background(lambda: [talker.data(stopped.id, bytes(10000), tag=i) for i in range(n)])
        tags = []
        while len(tags) < n:
            frame = stopped.receive()
            if frame.source == talker.id:
                tags.append(frame.tag)
        self.assertEqual(tags, list(range(n)))
        talking.join()


if __name__ == "__main__":
    main()
