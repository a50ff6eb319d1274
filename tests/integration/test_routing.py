# SPDX-License-Identifier: LGPL-2.1-or-later
"""Section 5 of the protocol as far as it is the service's: what is forwarded, to whom, in what order, and what is bounced."""

import random

import direct1
from direct1 import (ACK, BACK, BOUNCE, BOUNCE_AWAY, BOUNCE_NO_CLIENT, BROADCAST, DATA, DIED, EVERYONE, GROUP, LEFT, LOST, MARK,
                     MARK_BASELINE, PING, PONG, PROTOCOL, RELIABLE, RESEND, SERVICE, STATE_AWAY, WENT_AWAY, WHOLE, Frame, u64)
from service import Background, ServiceTest, main

SIZES = [0, 1, 2, 3, 7, 8, 39, 40, 41, 255, 256, 1000, 1023, 1024, 4095, 4096, 4097, 32767, 32768, 65495, 65496, 65497,
         65534, 65535, 65536]


class Targeted(ServiceTest):
    def pair(self):
        return self.client("sender"), self.client("receiver")

    def assertSame(self, got, sent, source):
        """A forwarded frame is the one that was sent, but for its source."""
        sent.source = source
        self.assertEqual(got, sent)
        self.assertEqual(got.payload, sent.payload)

    def test_payload_sizes(self):
        a, b = self.pair()
        noise = random.Random(1).randbytes(65536)
        for size in SIZES:
            with self.subTest(size=size):
                a.data(b.id, noise[:size], tag=size)
                got = b.expect(DATA, source=a.id, target=b.id, tag=size)
                self.assertEqual(got.payload, noise[:size])

    def test_source_is_stamped(self):
        """Whatever a client writes there, the receiver reads the sender's id."""
        a, b = self.pair()
        c = self.client("third")
        forged = [0, 1, b.id, c.id, a.id, GROUP, EVERYONE, (1 << 63) - 1]
        for source in forged:
            for frame in (Frame(DATA, flags=WHOLE), Frame(ACK, payload=u64(1 << 20)), Frame(RESEND, payload=u64(1) + u64(0)),
                          Frame(LOST, payload=u64(1) + u64(2)), Frame(MARK, sequence=9)):
                frame.source, frame.target = source, b.id
                a.send_bytes(frame.pack())
                b.expect(frame.type, source=a.id)
            a.data(EVERYONE, b"x", source=source)
            b.expect(DATA, source=a.id)
            c.expect(DATA, source=a.id)

    def test_every_header_field_is_carried(self):
        a, b = self.pair()
        rng = random.Random(2)
        edges = {"kind": [0, 1, 255, 256, 0x7fff, 0x8000, 0xffff], "stream": [0, 1, 0x7fffffff, 0x80000000, 0xffffffff],
                 "tag": [0, 1, 0x7fffffff, 0x80000000, 0xffffffff], "sequence": [1, 2, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1]}
        for _ in range(300):
            fields = {name: rng.choice(values) for name, values in edges.items()}
            sent = Frame(DATA, flags=WHOLE | RELIABLE, target=b.id, payload=rng.randbytes(rng.choice((0, 8, 100))), **fields)
            a.send_bytes(sent.pack())
            self.assertSame(b.receive(), sent, a.id)

    def test_every_combination_of_flags(self):
        a, b = self.pair()
        for flags in range(128):
            sent = Frame(DATA, flags=flags, target=b.id, sequence=flags + 1 if flags & RELIABLE else 0, payload=u64(16) + u64(0))
            a.send_bytes(sent.pack())
            self.assertSame(b.receive(), sent, a.id)

    def test_delivery_frames_are_forwarded(self):
        """ACK, RESEND, MARK and LOST go from client to client like DATA; the service looks at none of them."""
        a, b = self.pair()
        for sent in (Frame(ACK, sequence=77, stream=5, tag=3, payload=u64(1 << 40)),
                     Frame(ACK, sequence=(1 << 64) - 1, payload=u64((1 << 64) - 1)),
                     Frame(ACK, sequence=1, payload=u64(1) + b"a field of a later version"),
                     Frame(RESEND, payload=u64(3) + u64(9), stream=1, tag=4), Frame(RESEND, payload=u64(1) + u64(0)),
                     Frame(LOST, payload=u64(3) + u64(9), tag=4), Frame(MARK, sequence=12)):
            sent.target = b.id
            a.send_bytes(sent.pack())
            self.assertSame(b.receive(), sent, a.id)

    def test_broadcast_that_is_resent(self):
        """It goes to its one receiver, with its own number."""
        a, b = self.pair()
        c = self.client()
        a.data(b.id, b"again", flags=WHOLE | RELIABLE | BROADCAST, sequence=3)
        b.expect(DATA, source=a.id, target=b.id, flags=WHOLE | RELIABLE | BROADCAST, sequence=3)
        a.ping()
        c.expect_nothing()

    def test_to_itself(self):
        a = self.client()
        for size in SIZES:
            a.data(a.id, bytes(size), kind=3)
            self.assertEqual(len(a.expect(DATA, source=a.id, target=a.id, kind=3).payload), size)

    def test_order_of_20000_frames_of_mixed_sizes(self):
        a, b = self.pair()
        n = 2000 if direct1.SANITIZED else 20000
        noise = random.Random(3).randbytes(2 * 65536)
        rng = random.Random(4)
        sizes = (0, 1, 10, 40, 100, 100, 500, 1000, 4000, 10000)
        plan = [(rng.choice(sizes) if rng.random() > 0.01 else 65536, rng.randrange(65536)) for _ in range(n)]

        def send():
            batch = bytearray()
            for i, (size, offset) in enumerate(plan):
                batch += Frame(DATA, flags=WHOLE, target=b.id, tag=i, payload=noise[offset:offset + size]).pack()
                if len(batch) > rng.randrange(200000):
                    a.send_bytes(batch)
                    batch.clear()
            a.send_bytes(batch)

        sender = Background(send)
        for i, (size, offset) in enumerate(plan):
            got = b.expect(DATA, source=a.id, tag=i)
            if got.payload != noise[offset:offset + size]:
                self.fail(f"frame {i} has other contents")
        sender.join()
        b.expect_nothing()

    def test_byte_by_byte(self):
        a, b = self.pair()
        c = self.client()
        for byte in Frame(DATA, flags=WHOLE, target=b.id, tag=5, payload=b"drop by drop").pack() * 2:
            a.send_bytes(bytes([byte]))
            c.ping()  # the service has had its turn
        for _ in range(2):
            b.expect(DATA, source=a.id, tag=5, payload=b"drop by drop")

    def test_cut_anywhere(self):
        """Two frames and a bit, cut at each byte of a frame's header and around its end."""
        a, b = self.pair()
        c = self.client()
        frame = Frame(DATA, flags=WHOLE, target=b.id, tag=6, payload=b"p" * 50).pack()
        for cut in range(len(frame) + 1):
            a.send_bytes(frame + frame[:cut])
            c.ping()
            a.send_bytes(frame[cut:] + frame)
            for _ in range(3):
                b.expect(DATA, tag=6, payload=b"p" * 50)

    def test_many_in_one_segment(self):
        a, b = self.pair()
        n = 5000
        a.send_bytes(b"".join(Frame(DATA, flags=WHOLE, target=b.id, tag=i).pack() for i in range(n)))
        for i in range(n):
            b.expect(DATA, source=a.id, tag=i)

    def test_small_ones_go_before_bulk(self):
        """Who has sent much at once comes last among those who have something."""
        a, b = self.pair()
        c = self.client("third")
        bulk = bytes(32 * 1024)
        with self.service.held():
            a.data(b.id, bulk)
        b.expect(DATA, source=a.id, payload=bulk)
        with self.service.held():
            a.data(b.id, bulk)
            c.data(b.id, b"small")
        b.expect(DATA, source=c.id)
        b.expect(DATA, source=a.id)

    def test_fan_in_and_fan_out(self):
        """Frames for many targets in one segment, and from many sources to one target, each in its own order."""
        a = self.client()
        others = [self.client() for _ in range(30)]
        a.send_bytes(b"".join(Frame(DATA, flags=WHOLE, target=c.id, tag=i).pack() for i in range(50) for c in others))
        for c in others:
            for i in range(50):
                c.expect(DATA, source=a.id, tag=i)
            c.send_bytes(b"".join(Frame(DATA, flags=WHOLE, target=a.id, tag=i).pack() for i in range(50)))
        seen = {c.id: 0 for c in others}
        for _ in range(50 * len(others)):
            frame = a.expect(DATA)
            self.assertEqual(frame.tag, seen[frame.source])
            seen[frame.source] += 1

    def test_both_ways_at_once(self):
        """Two that send much, and read only when they cannot send or have sent all: neither may be stuck."""
        n = 300

        def talk(me, other):
            for i in range(n):
                me.data(other.id, bytes(60000), tag=i)
            for i in range(n):
                me.expect(DATA, source=other.id, tag=i)

        a, b = self.pair()
        for thread in [Background(talk, a, b), Background(talk, b, a)]:
            thread.join()


class TargetedUnix(Targeted):
    transport = "unix"


class AcrossTransports(ServiceTest):
    def test_tcp_and_local(self):
        tcp, local = self.client(), self.client(address=self.service.unix)
        for a, b in ((tcp, local), (local, tcp)):
            a.data(b.id, b"x" * 65536)
            b.expect(DATA, source=a.id, payload=b"x" * 65536)


class Broadcasts(ServiceTest):
    def test_to_all_others(self):
        clients = [self.client(address=self.service.unix if i % 3 else None) for i in range(25)]
        sender = clients[7]
        for size in (0, 1, 1000, 65536):
            sender.data(EVERYONE, bytes(size), kind=4, tag=size, stream=0)
            for c in clients:
                if c is not sender:
                    got = c.expect(DATA, source=sender.id, target=EVERYONE, kind=4, tag=size)
                    self.assertEqual(len(got.payload), size)
            sender.expect_nothing()

    def test_alone(self):
        c = self.client()
        c.data(EVERYONE, b"is there anybody?")
        c.expect_nothing()

    def test_not_to_who_has_not_said_hello(self):
        c, link = self.client(), self.link()
        c.data(EVERYONE, b"hello")
        c.ping()
        link.send_bytes(direct1.hello("new").pack())
        link.expect(direct1.WELCOME)

    def test_order_among_broadcasts_and_messages(self):
        """One sender's frames reach each receiver in the order in which they were sent, small and large."""
        sender, *others = [self.client() for _ in range(4)]
        n = 400
        rng = random.Random(5)

        def send():
            for i in range(n):
                sender.data(EVERYONE, bytes(rng.choice((0, 100, 65536))), tag=i)

        background = Background(send)
        readers = [Background(lambda c: [c.expect(DATA, source=sender.id).tag for _ in range(n)], c) for c in others]
        for reader in readers:
            self.assertEqual(reader.join(), list(range(n)))
        background.join()

    def test_mark_is_forwarded(self):
        sender, *others = [self.client() for _ in range(3)]
        sender.send(MARK, EVERYONE, sequence=4)
        for c in others:
            c.expect(MARK, source=sender.id, sequence=4)
        sender.expect_nothing()


class Bounces(ServiceTest):
    def bounced(self, client, sent, reason):
        """The BOUNCE says what it is about, in the words of its sender."""
        client.send_bytes(sent.pack())
        client.expect(BOUNCE, source=0, target=sent.target, sequence=sent.sequence, stream=sent.stream, tag=sent.tag, kind=reason)

    def variants(self, target):
        yield Frame(DATA, flags=WHOLE, target=target, kind=9, tag=1)
        yield Frame(DATA, flags=WHOLE | RELIABLE, target=target, sequence=(1 << 64) - 1, stream=0xffffffff, tag=0xffffffff,
                    payload=bytes(65536))
        yield Frame(DATA, flags=RELIABLE, target=target, sequence=5, stream=3, tag=2, payload=b"fragment")
        yield Frame(ACK, target=target, sequence=6, stream=4, tag=0, payload=u64(1 << 30))

    def test_no_such_client(self):
        c = self.client()
        gone = self.client()
        gone.goodbye()
        gone.expect_closed()
        for target in (gone.id, c.id + 1000000, (1 << 63) - 1, GROUP, GROUP | 1, EVERYONE - 1, SERVICE):
            for frame in self.variants(target):
                with self.subTest(target=target, frame=frame.type):
                    self.bounced(c, frame, BOUNCE_NO_CLIENT)
        c.expect_nothing()

    def test_other_frames_for_nobody(self):
        """RESEND, MARK and LOST for a client that is not there vanish: only DATA and ACK bounce."""
        c = self.client()
        for frame in (Frame(RESEND, payload=u64(1) + u64(0)), Frame(LOST, payload=u64(1) + u64(1)), Frame(MARK, sequence=1)):
            for target in (c.id + 1000000, GROUP | 5):
                frame.target = target
                c.send_bytes(frame.pack())
        c.expect_nothing()

    def test_away(self):
        c = self.client()
        away = self.client("worker")
        c.watch(away.id)
        away.reset()
        c.expect_presence(WENT_AWAY, away.id)
        for frame in self.variants(away.id):
            self.bounced(c, frame, BOUNCE_AWAY)
        c.expect_presence(LEFT, away.id)
        for frame in self.variants(away.id):
            self.bounced(c, frame, BOUNCE_NO_CLIENT)

    def test_broadcast_is_not_bounced(self):
        c = self.client()
        away = self.client()
        c.watch(away.id)
        away.reset()
        c.expect_presence(WENT_AWAY, away.id)
        c.data(EVERYONE, b"x")
        c.ping()
        self.assertEqual([f for f in c.pending if f.type == BOUNCE], [])

    def test_ids_from_before_a_restart(self):
        """Within GraceSec= of a start they count as away, then as gone. An id that nobody can have is unknown at once."""
        for crash in (True, False):
            with self.subTest(crash=crash):
                old, back = self.client(f"old-{crash}"), self.client(f"back-{crash}")
                if crash:
                    self.service.kill()
                else:
                    self.service.stop()
                self.service.start(GraceSec="1500ms")
                c = self.client()
                for frame in self.variants(old.id):
                    self.bounced(c, frame, BOUNCE_AWAY)
                self.bounced(c, Frame(DATA, flags=WHOLE, target=1 << 62), BOUNCE_NO_CLIENT)
                self.assertEqual(c.watch(old.id)[1], STATE_AWAY)
                self.assertEqual(c.watch(back.id)[1], STATE_AWAY)
                back = self.client(resume=back.welcome)
                c.expect_presence(BACK, back.id)
                c.data(back.id, b"again")
                back.expect(DATA, source=c.id)
                c.expect_presence(LEFT, old.id)
                for frame in self.variants(old.id):
                    self.bounced(c, frame, BOUNCE_NO_CLIENT)
                self.assertRefused(direct1.REFUSED_RESUME, resume=old.welcome)

    def test_never_to_a_successor(self):
        """A message for a client that has gone reaches nobody, also when another has its name by then."""
        sender = self.client("sender")
        n = 30 if direct1.SANITIZED else 300
        for i in range(n):
            old = self.client("worker", address=self.service.unix)
            sender.data(old.id, b"for this one only", tag=1)
            old.close()
            sender.data(old.id, b"for this one only", tag=2)
            new = self.client("worker", address=self.service.unix)
            sender.data(old.id, b"for this one only", tag=3)
            sender.wait_for(lambda f: f.type == BOUNCE and f.tag == 3 and f.target == old.id)
            new.expect_nothing()
            new.goodbye()
            new.expect_closed()


class Pings(ServiceTest):
    def test_of_the_client(self):
        c = self.client()
        for size in range(direct1.PING_MAX + 1):
            payload = random.Random(size).randbytes(size)
            c.send(PING, SERVICE, payload, tag=0xffffff00 | size)
            c.expect(PONG, payload=payload, tag=0xffffff00 | size)

    def test_too_long(self):
        for frame_type in (PING, PONG):
            for size in (65, 66, 1000, 65536):
                with self.subTest(type=frame_type, size=size):
                    c = self.client()
                    c.send(frame_type, SERVICE, bytes(size))
                    c.expect_goodbye(PROTOCOL)

    def test_pong_that_nobody_asked_for(self):
        c = self.client()
        for size in (0, 1, 64):
            c.send(PONG, SERVICE, bytes(size), tag=99)
        c.expect_nothing()

    def test_of_the_service(self):
        """It pings a client that is silent; never twice without an answer."""
        service = self.start_service(config={"PingIntervalSec": "200ms"})
        c = self.client(address=service.tcp)
        c.answer_pings = False
        for _ in range(3):
            ping = c.expect(PING)
            self.assertLessEqual(len(ping.payload), direct1.PING_MAX)
            c.send(PONG, SERVICE, ping.payload, tag=ping.tag)
        c.expect(PING)
        with self.assertRaises(TimeoutError):
            c.receive(timeout=1)


class Marks(ServiceTest):
    def broadcast(self, client, sequence, *receivers):
        client.data(EVERYONE, b"news", flags=WHOLE | RELIABLE, sequence=sequence)
        client.ping()
        for c in receivers:
            c.wait_for(lambda f: f.type == DATA and f.source == client.id and f.sequence == sequence)

    def marks(self, client):
        """source -> (sequence, flags) of the MARKs that have come."""
        client.ping()
        marks = [f for f in client.pending if f.type == MARK]
        client.pending.clear()
        self.assertEqual(len({m.source for m in marks}), len(marks), "one MARK for each source")
        self.assertEqual({m.target for m in marks} - {client.id}, set())
        return {m.source: (m.sequence, m.flags) for m in marks}

    def test_baseline_after_welcome(self):
        a, b, quiet, unreliable = self.client("a"), self.client("b"), self.client("quiet"), self.client("unreliable")
        self.assertEqual(self.marks(self.client()), {})
        for i in range(1, 6):
            self.broadcast(a, i)
        self.broadcast(b, 1)
        unreliable.data(EVERYONE, b"x")
        unreliable.ping()
        quiet.data(a.id, b"x", flags=WHOLE | RELIABLE, sequence=1)
        quiet.ping()
        self.assertEqual(self.marks(self.client()), {a.id: (5, MARK_BASELINE), b.id: (1, MARK_BASELINE)})
        self.broadcast(a, 6)
        self.assertEqual(self.marks(self.client()), {a.id: (6, MARK_BASELINE), b.id: (1, MARK_BASELINE)})

    def test_baseline_comes_before_what_follows(self):
        """A newcomer that gets broadcast n + 1 has been told n before."""
        a = self.client("a")
        n = 300

        def send():
            for i in range(2, n + 1):
                a.data(EVERYONE, b"x", flags=WHOLE | RELIABLE, sequence=i)
                a.ping()

        self.broadcast(a, 1)
        sender = Background(send)
        for _ in range(20):
            c = self.client()
            mark = c.expect(MARK, source=a.id, flags=MARK_BASELINE)
            if mark.sequence < n:
                c.expect(DATA, source=a.id, sequence=mark.sequence + 1)
            c.close()
        sender.join()

    def test_after_a_resume(self):
        watcher, a, b = self.client("watcher"), self.client("a"), self.client("b")
        self.broadcast(a, 1)
        watcher.watch(b.id)
        b.reset()
        watcher.expect(DATA, source=a.id)
        watcher.expect_presence(WENT_AWAY, b.id)
        self.broadcast(a, 2, watcher)
        self.broadcast(a, 3, watcher)
        r = self.client(resume=b.welcome)
        self.assertEqual(self.marks(r), {a.id: (3, 0)})
        self.broadcast(a, 4)
        r.expect(DATA, source=a.id, sequence=4)

    def test_resent_broadcasts_do_not_count(self):
        """Only what goes to everyone moves the sender's last number."""
        a, b = self.client("a"), self.client("b")
        self.broadcast(a, 1)
        self.broadcast(a, 2)
        a.data(b.id, b"news", flags=WHOLE | RELIABLE | BROADCAST, sequence=1)
        a.ping()
        self.assertEqual(self.marks(self.client()), {a.id: (2, MARK_BASELINE)})

    def test_those_who_have_left(self):
        watcher, a = self.client("watcher"), self.client("a")
        watcher.watch(a.id)
        self.broadcast(a, 1)
        a.close()
        watcher.expect(DATA, source=a.id)
        watcher.expect_presence(LEFT, a.id, reason=DIED)
        self.assertEqual(self.marks(self.client()), {})


if __name__ == "__main__":
    main()
