# SPDX-License-Identifier: LGPL-2.1-or-later
"""Section 5 of the protocol from end to end: two implementations of it, or one and itself, through a service that is killed."""

import random
import signal
import time

import direct1
import reliable
from direct1 import LEFT, PONG, STOPPING, WELCOME, Client, Frame, hello
from reliable import DELIVERED, ENDED, GONE, Peer
from service import ServiceTest, main, say

SIZES = (0, 1, 100, 100, 5000, 65535, 65536, 65537, 300000)
WATER = {"OutboxHighWater": "128K", "OutboxLowWater": "32K", "BroadcastWaitMSec": "20"}


class DeliveryTest(ServiceTest):
    def peers(self, *names, **options):
        peers = [self.new_peer(name, **options) for name in names]
        self.run_until(peers, lambda: all(p.up for p in peers))
        return peers

    def new_peer(self, name, **options):
        peer = Peer(lambda: self.address, name, **({"seed": len(name)} | options))
        self.addCleanup(lambda: peer.link and peer.link.close())
        return peer

    def run_until(self, peers, until):
        reliable.run(peers, until, timeout=direct1.TIMEOUT * 3)

    def restart(self, peers, how):
        """Ends the service and starts it again: at once, or when all have noticed, and have found nobody there."""
        if how == "stopped":
            self.service.stop()
        else:
            self.service.kill()
        if how == "killed for a while":
            self.run_until(peers, lambda: all(p.attempt > 1 for p in peers if not p.up) and not any(p.up for p in peers))
        self.service.start()


class Messages(DeliveryTest):
    """What two send each other arrives once, whole, and in order, however often the links break."""

    def exchange(self, n, trouble, every):
        """`trouble(i, peers)` is made each time that `every` more messages were taken."""
        a, b = peers = self.peers("a", "b", window=256 << 10)
        rng = random.Random(n)
        plan = {p: [i.to_bytes(4, "little") + rng.randbytes(rng.choice(SIZES)) for i in range(n)] for p in peers}
        sent = [me.send(you.id, payload) for me, you in ((a, b), (b, a)) for payload in plan[me]]
        taken = {p: [] for p in peers}
        n_troubles = 0

        def done():
            nonlocal n_troubles
            for p in peers:
                if p.inbox:
                    taken[p].append(p.take().payload)
            if sum(map(len, taken.values())) >= (n_troubles + 1) * every:
                n_troubles += 1
                trouble(n_troubles, peers)
            return all(s.result for s in sent)

        self.run_until(peers, done)
        self.assertEqual({s.result for s in sent}, {DELIVERED})
        for me, you in ((a, b), (b, a)):
            self.assertEqual(sorted(taken[you]), sorted(plan[me]), "each once")
            small = [p for p in plan[me] if len(p) <= direct1.PAYLOAD_MAX]
            self.assertEqual([p for p in taken[you] if len(p) <= direct1.PAYLOAD_MAX], small, "in order")
        say(f"{self.transport}: {2 * n} messages, {n_troubles} troubles, {a.n_links + b.n_links} links, "
            f"{a.n_duplicates + b.n_duplicates} frames came twice, {a.n_bounced + b.n_bounced} bounced")
        self.assertGreaterEqual(n_troubles, 5)
        return peers

    def test_nothing_happens(self):
        a, b = self.exchange(60, lambda i, peers: None, 20)
        self.assertEqual((a.n_links, a.n_duplicates, b.n_duplicates), (1, 0, 0))

    def test_the_service_is_killed(self):
        self.exchange(120, lambda i, peers: self.restart(peers, ("killed", "killed for a while", "stopped")[i % 3]), 40)

    def test_links_are_lost(self):
        rng = random.Random(1)
        self.exchange(120, lambda i, peers: rng.choice(peers).lose_link(), 15)

    def test_all_of_it_at_once(self):
        rng = random.Random(2)

        def trouble(i, peers):
            if i % 4 == 0:
                self.restart(peers, "killed")
            rng.choice(peers).lose_link()

        self.exchange(120, trouble, 20)


class MessagesUnix(Messages):
    """The address is the same after each start. A link that is reset here means that its program has died, so none is."""

    transport = "unix"
    test_links_are_lost = test_all_of_it_at_once = None


class MessagesHeld(Messages):
    """The manager holds the socket: who connects to a killed service waits for the next."""

    transport = "held"

    def setUp(self):
        self.service = self.start_service(listen=("held",))

    def restart(self, peers, how):
        super().restart(peers, "killed" if how == "killed for a while" else how)

    def test_who_comes_while_it_stops(self):
        """Nobody accepts them; the next service does, and this one ends in order."""
        slow = self.client()  # does not read its GOODBYE yet, so the service waits for it
        self.service.send_signal(signal.SIGTERM)
        self.service.wait_line("Stopping")
        links = [self.link() for _ in range(20)]
        for link in links:
            link.send_bytes(hello().pack())
        slow.expect_goodbye(STOPPING)
        self.service.wait()
        self.service.start()
        for link in links:
            link.expect(WELCOME)


class Outcomes(DeliveryTest):
    config = {"GraceSec": "500ms"}

    def test_a_program_that_takes_nothing(self):
        """It gets no more than a window, while others get all."""
        a, stopped, other = peers = self.peers("a", "stopped", "other", window=100000)
        waiting = [a.send(stopped.id, bytes(10000)) for _ in range(100)]
        others = [a.send(other.id, bytes(10000)) for _ in range(100)]

        def take(p):
            while p.take():
                pass

        self.run_until(peers, lambda: take(other) or all(s.result for s in others))
        credit = a.welcome.initial_credit
        self.assertEqual(credit, 128 << 10)
        self.assertEqual(len(stopped.inbox), credit // (10000 + direct1.HEADER.size))
        self.assertEqual({s.result for s in waiting}, {None}, "read, but not taken")
        self.service.kill()
        self.service.start()
        self.run_until(peers, lambda: take(stopped) or all(s.result for s in waiting))
        self.assertEqual({s.result for s in (*waiting, *others)}, {DELIVERED})

    def test_the_receiver_dies(self):
        a, b = peers = self.peers("a", "b")
        first = a.send(b.id, b"taken")
        self.run_until(peers, lambda: b.take() or first.result)
        sent = [a.send(b.id, bytes(size)) for size in SIZES]
        self.run_until(peers, lambda: b.inbox)
        b.link.close()
        self.run_until([a], lambda: all(s.result for s in sent))
        self.assertEqual({s.result for s in sent}, {GONE})
        self.assertEqual(first.result, DELIVERED)
        late = a.send(b.id, b"late")
        self.run_until([a], lambda: late.result)
        self.assertEqual(late.result, GONE)

    def test_the_receiver_dies_with_the_service(self):
        """A client of the time before is away for as long as it may come back, and then it has left."""
        a, b = self.peers("a", "b")
        sent = a.send(b.id, b"x")
        self.service.kill()
        self.service.start()
        self.run_until([a], lambda: a.targets.get(b.id) == "away")
        self.assertIsNone(sent.result)
        self.run_until([a], lambda: sent.result)
        self.assertEqual(sent.result, GONE)

    def test_the_sender_comes_too_late(self):
        """Its session has ended: nothing goes on, and it is told so."""
        a, b = peers = self.peers("a", "b")
        first_id = a.id
        b.link.close()
        self.service.kill()
        self.run_until([a], lambda: not a.up)
        a.retry_at = float("inf")
        sent = a.send(b.id, b"x")
        self.service.start()
        watcher = self.client()
        watcher.watch(first_id)
        watcher.expect_presence(LEFT, first_id)
        a.retry_at = 0
        self.run_until([a], lambda: a.up)
        self.assertEqual(sent.result, ENDED)
        self.assertGreater(a.id, first_id)


class Broadcasts(DeliveryTest):
    config = WATER

    def listen(self, peers, receivers, n, between=lambda n_taken: None):
        """Until each of `receivers` has taken the broadcast `n` - 1, in order."""
        taken = {p: [] for p in receivers}

        def done():
            for p in receivers:
                while message := p.take():
                    self.assertTrue(message.is_broadcast)
                    taken[p].append(int.from_bytes(message.payload[:4], "little"))
                    between(sum(map(len, taken.values())))
            return all(t[-1:] == [n - 1] for t in taken.values())

        self.run_until(peers, done)
        return list(taken.values())

    def broadcast(self, peer, first, n, size):
        for i in range(first, n):
            peer.broadcast(i.to_bytes(4, "little") + bytes(size() if callable(size) else size))

    def test_links_and_services_are_lost(self):
        """Each receiver gets all, once and in order, however often it or the sender loses what was under way."""
        a, b, c = peers = self.peers("a", "b", "c", keep=64 << 20)
        n, rng, next_trouble = 200, random.Random(3), 40

        def trouble(n_taken):
            nonlocal next_trouble
            if n_taken >= next_trouble:
                next_trouble += 40
                if rng.random() < 0.3:
                    self.service.kill()
                    self.service.start()
                else:
                    rng.choice(peers).lose_link()
                self.broadcast(a, *progress(), lambda: rng.choice(SIZES))

        sent = 0

        def progress():
            nonlocal sent
            first, sent = sent, min(n, sent + 25)
            return first, sent

        self.broadcast(a, *progress(), lambda: rng.choice(SIZES))
        self.broadcast(a, *progress(), lambda: rng.choice(SIZES))
        taken = self.listen(peers, (b, c), n, trouble)
        say(f"{a.n_links + b.n_links + c.n_links} links, {b.n_asked + c.n_asked} times asked again, "
            f"{b.n_duplicates + c.n_duplicates} frames came twice")
        self.assertEqual(taken, [list(range(n))] * 2)
        self.assertGreater(b.n_asked + c.n_asked, 0)
        self.assertEqual(b.n_lost + c.n_lost, 0)

    def slow_receiver(self, keep):
        """One stops while 20 MiB are broadcast. The other gets on meanwhile, though it may be skipped as well, on
        a slow machine."""
        slow = self.new_peer("slow", socket_options={"receive_buffer": 16384})
        self.run_until([slow], lambda: slow.up)
        a, b = self.peers("a", "b", keep=keep)
        peers, n = [a, b, slow], 320
        self.broadcast(a, 0, n, 65532)
        self.assertEqual(len(self.listen([a, b], [b], n)[0]) + b.n_lost, n)
        self.assertGreater(self.client().load()["skipped_broadcasts"], 0)
        taken, = self.listen(peers, [slow], n)
        say(f"{len(taken)} taken, {slow.n_lost} lost, asked {slow.n_asked} times")
        return slow, n, taken

    def test_who_was_skipped_asks(self):
        slow, n, taken = self.slow_receiver(keep=64 << 20)
        self.assertEqual(taken, list(range(n)))
        self.assertGreater(slow.n_asked, 10, "each answer is bounded")

    def test_who_was_skipped_is_told_what_is_lost(self):
        slow, n, taken = self.slow_receiver(keep=1 << 20)
        self.assertGreater(slow.n_lost, 0)
        self.assertEqual(len(taken) + slow.n_lost, n)
        gaps = [second - first - 1 for first, second in zip(taken, taken[1:])]
        self.assertEqual(sum(gaps), slow.n_lost, "what is missing is what was said to be lost")
        self.assertEqual(len([gap for gap in gaps if gap]), 1)

    def test_newcomers_after_a_restart(self):
        """They get what is broadcast from then on, and ask for nothing older, whether they come before or after the sender."""
        a, old = self.peers("a", "old")
        self.broadcast(a, 0, 5, 10)
        self.listen([a, old], [old], 5)
        self.service.kill()
        self.run_until([a, old], lambda: not a.up)
        a.retry_at = float("inf")
        self.service.start()
        early, = self.peers("early")
        self.broadcast(a, 5, 6, 10)  # while the link is down
        a.retry_at = 0
        self.assertEqual(self.listen([a, old, early], [old, early], 6)[0], [5])
        late, = self.peers("late")
        self.broadcast(a, 6, 8, 10)
        everyone = [a, old, early, late]
        self.assertEqual(self.listen(everyone, [old, early, late], 8), [[6, 7]] * 3)
        self.assertEqual((early.n_lost, late.n_lost, late.n_asked), (0, 0, 0))


class Herd(ServiceTest):
    """All clients of a service that is gone come back at once."""

    N = 300

    def setUp(self):
        self.need_descriptors(4 * self.N)
        super().setUp()
        self.clients = [self.client() for _ in range(self.N)]

    def test_after_a_crash(self):
        """Each gets its session, WELCOME before anything else, and then the numbers of all who have broadcast."""
        self.service.kill()
        self.service.start()
        begin = time.monotonic()
        links = [self.link() for _ in self.clients]
        for link, c in zip(links, self.clients):
            resume = hello(c.name, resume_id=c.id, resume_token=c.welcome.resume_token)
            mark = Frame(direct1.MARK, target=direct1.EVERYONE, sequence=7, payload=direct1.u64(7))
            link.send_bytes(resume.pack() + mark.pack() + Frame(direct1.PING, tag=9).pack())
        for link, c in zip(links, self.clients):
            self.assertEqual(direct1.Welcome.parse(link.expect(WELCOME).payload).id, c.id)
            marks = set()
            others = {other.id for other in self.clients} - {c.id}
            ponged = False
            while marks < others or not ponged:
                frame = link.receive()
                if frame.type == PONG:
                    ponged = True
                else:
                    self.assertEqual((frame.type, frame.sequence), (direct1.MARK, 7))
                    marks.add(frame.source)
        say(f"{self.N} sessions resumed, and {self.N} MARKs each, in {time.monotonic() - begin:.2f} s")
        watcher = self.client()
        self.assertEqual(watcher.load()["clients"], self.N + 1)

    def test_after_a_stop(self):
        """Each is told when to come back, and those times are spread."""
        self.service.stop()
        delays = [c.expect_goodbye(STOPPING).retry_after_ms for c in self.clients]
        say(f"told to come back after {min(delays)} to {max(delays)} ms")
        self.assertGreaterEqual(min(delays), 100)
        tenths = {(delay - 100) * 10 // (max(delays) - 99) for delay in delays}
        self.assertEqual(tenths, set(range(10)), "in each tenth of the span there are some")
        self.service.start()
        for c in self.clients:
            with Client(self.address, resume=c.welcome) as r:
                self.assertEqual(r.id, c.id)


if __name__ == "__main__":
    main()
