# SPDX-License-Identifier: LGPL-2.1-or-later
"""What breaks the protocol costs the offender its connection, and nobody else anything."""

import re
import time

import direct1
from direct1 import (ASK, DATA, EVERYONE, FIRST, HELLO, LEFT, PING, PONG, PROTOCOL, REFUSED_PROTOCOL, WHOLE, Closed, Frame, hello,
                     hello_payload, u64)
from service import Background, Bystanders, ServiceTest, main, say

UNKNOWN_TYPES = [0x00, *range(0x07, 0x10), *range(0x16, 0x20), *range(0x23, 0x100)]
TYPES_OF_THE_SERVICE = [direct1.WELCOME, direct1.REFUSED, direct1.BOUNCE, direct1.ANSWER, direct1.PRESENCE]
LENGTHS = [65537, 65536 + 40, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 40, (1 << 32) - 1]
# The flags that each type of a client defines
FLAGS = {direct1.GOODBYE: 0, PING: 0, PONG: 0, DATA: 127, direct1.ACK: 0, direct1.RESEND: 0, direct1.MARK: direct1.MARK_BASELINE,
         direct1.LOST: 0, ASK: 0}
MEBIBYTE = 1 << 20


def offences():
    """(name, bytes) of each way to break the protocol after WELCOME."""
    for value in UNKNOWN_TYPES:
        yield f"unknown type {value:#04x}", Frame(value).pack()
    for value in (0x00, 0x07, 0x30, 0xff):
        yield f"unknown type {value:#04x} with a payload", Frame(value, target=EVERYONE, payload=bytes(65536)).pack()
    for value in TYPES_OF_THE_SERVICE:
        yield f"type {value:#04x}, which only the service may send", Frame(value, payload=bytes(64)).pack()
    for length in LENGTHS:
        for value in (DATA, PING, ASK, direct1.ACK):
            frame = Frame(value, flags=WHOLE if value == DATA else 0)
            yield f"length {length} in a frame of type {value:#04x}", frame.pack(length=length)
        yield f"length {length}, and no more than that", direct1.u32(length)
    for flags in (128, 128 | WHOLE, 128 | FIRST, 255):
        yield f"DATA with flags {flags}", Frame(DATA, flags=flags, target=EVERYONE, payload=b"x").pack()
    for value, allowed in FLAGS.items():
        for flags in (1 << bit for bit in range(8) if not 1 << bit & allowed):
            yield f"flag {flags} in a frame of type {value:#04x}", Frame(value, flags=flags, target=EVERYONE).pack()
    yield "a second HELLO", hello().pack()
    yield "a second HELLO, which is no HELLO", Frame(HELLO).pack()
    for value in (PING, PONG):
        yield f"type {value:#04x} with 65 bytes", Frame(value, payload=bytes(65)).pack()


class ErrorTest(ServiceTest):
    def setUp(self):
        super().setUp()
        self.bystanders = Bystanders(self.address)
        self.addCleanup(self.bystanders.close)
        self.bystanders.exchange(10)

    def tearDown(self):
        self.bystanders.exchange(10)
        for c in (self.bystanders.a, self.bystanders.b):
            c.expect_nothing()


class AfterWelcome(ErrorTest):
    def test_each(self):
        for name, data in offences():
            with self.subTest(name):
                c = self.client()
                self.bystanders.exchange()
                c.send_bytes(data)
                goodbye = c.expect_goodbye(PROTOCOL)
                self.assertTrue(goodbye.reason, "the offender is told what was wrong")
                self.bystanders.exchange()

    def test_what_came_before_counts(self):
        """Good frames in front of the bad one, in the same segment, are handled; what is behind it is not."""
        victim = self.bystanders.a
        for name, data in [o for o in offences() if "and no more" not in o[0]][::7]:
            with self.subTest(name):
                c = self.client()
                good = Frame(DATA, flags=WHOLE, target=victim.id, tag=1, payload=b"before").pack()
                c.send_bytes(good * 3 + data + Frame(DATA, flags=WHOLE, target=victim.id, payload=b"after").pack() * 3)
                for _ in range(3):
                    victim.expect(DATA, source=c.id, tag=1, payload=b"before")
                c.expect_goodbye(PROTOCOL)
                victim.expect_nothing()

    def test_watchers_are_told(self):
        w = self.client()
        for name, data in list(offences())[::29]:
            c = self.client()
            w.watch(c.id)
            c.send_bytes(data)
            w.expect_presence(LEFT, c.id, reason=PROTOCOL)

    def test_offender_that_does_not_read(self):
        """Its GOODBYE finds no room; it is gone all the same, and those who wait for it go on."""
        w = self.client()
        sender = self.client()
        c = self.client(socket_options={"receive_buffer": 4096})
        w.watch(c.id)
        sent = Background(lambda: [sender.data(c.id, bytes(65536), tag=i) for i in range(1000)])
        c.expect(DATA, tag=0)
        c.send_bytes(Frame(0x77).pack())
        begin = time.monotonic()
        w.expect_presence(LEFT, c.id, reason=PROTOCOL)
        self.assertLess(time.monotonic() - begin, 1)
        sent.join()

    def test_offence_while_it_is_paused(self):
        """It sends to somebody who does not read, and what is behind that is garbage: it is told when it is read."""
        stopped = self.client(socket_options={"receive_buffer": 4096})
        c = self.client()
        n = 600
        frame = Frame(DATA, flags=WHOLE, target=stopped.id, payload=bytes(65536)).pack()
        sent = Background(c.send_only, frame * n + Frame(0x77).pack())
        self.bystanders.exchange(200)
        for _ in range(n):
            stopped.expect(DATA, source=c.id)
        sent.join()
        c.expect_goodbye(PROTOCOL)

    def test_broadcast_storm_with_resets(self):
        """Those who send, and those who receive, vanish in the middle of it."""
        for _ in range(3 if direct1.SANITIZED else 10):
            clients = [self.client() for _ in range(20)]
            storm = Frame(DATA, flags=WHOLE, target=EVERYONE, payload=bytes(500)).pack() * 10
            for i, c in enumerate(clients):
                c.send_bytes(storm)
                if i % 2:
                    c.send_bytes(Frame(0x77).pack())
                c.reset()
        watcher = self.client()
        watcher.ping()
        for c in (self.bystanders.a, self.bystanders.b):
            c.ping()
            c.pending.clear()


class AfterWelcomeUnix(AfterWelcome):
    transport = "unix"

    # A local socket knows no reset.
    test_broadcast_storm_with_resets = None


class BeforeWelcome(ErrorTest):
    def test_each(self):
        for name, data in offences():
            if name.startswith("a second HELLO, which"):
                continue
            if name == "a second HELLO":
                data = Frame(HELLO, payload=hello_payload()[:-1]).pack()
            with self.subTest(name):
                link = self.link()
                link.send_bytes(data)
                link.expect_refused(REFUSED_PROTOCOL)
                self.bystanders.exchange()

    def test_nobody_hears_of_it(self):
        w = self.client()
        epoch = w.watch(0)[0]
        for frame in (Frame(DATA, flags=WHOLE, target=EVERYONE, payload=b"x"),
                      Frame(DATA, flags=WHOLE, target=w.id, payload=b"x"), Frame(PING),
                      Frame(ASK, kind=direct1.ASK_LIST, payload=u64(0))):
            link = self.link()
            link.send_bytes(frame.pack())
            link.expect_refused(REFUSED_PROTOCOL)
        w.expect_nothing()
        self.assertEqual(w.list_page(0)[0], epoch)


class Floods(ErrorTest):
    """Much of what is allowed, from one that never reads: it is paused or closed, memory stays bounded, others go on."""

    def flood(self, link, data, limit=64 * MEBIBYTE):
        """Writes until nothing moves for a second, or the service closes. Returns (bytes written, closed)."""
        data *= max(1, 65536 // len(data))
        written = 0
        try:
            while written < limit:
                n = link.send_only(data, patience=1)
                written += n
                if n < len(data):
                    break
        except Closed:
            return written, True
        return written, False

    def assertBounded(self, what, link, data, limit):
        self.bystanders.exchange(50)
        before = self.service.rss()
        flooding = Background(self.flood, link, data)
        while flooding.is_alive():
            self.bystanders.exchange(10)
        written, closed = flooding.join()
        grown = self.service.rss() - before
        say(f"{what}: {written >> 10} KiB written, {'closed' if closed else 'open'}, RSS grown by {grown >> 10} KiB")
        if not direct1.SANITIZED:
            self.assertLess(grown, limit)
        self.bystanders.exchange(50)
        return closed

    def test_before_welcome(self):
        """Nothing is answered but the first frame."""
        for data in (Frame(PING, payload=bytes(64)).pack(), Frame(0x77).pack(), Frame(HELLO).pack(), bytes(40), b"\xff" * 40):
            self.assertTrue(self.assertBounded("garbage before WELCOME", self.link(), data, 2 * MEBIBYTE))

    def test_after_welcome(self):
        unknown = Frame(ASK, kind=999, tag=1).pack()
        listing = Frame(ASK, kind=direct1.ASK_LIST, payload=u64(0)).pack()
        c = self.client()

        def watch(client_id, on):
            return Frame(ASK, kind=direct1.ASK_WATCH, payload=u64(client_id) + direct1.u8(on)).pack()

        cases = {"PING": Frame(PING, payload=bytes(64)).pack(), "PONG": Frame(PONG).pack(), "unknown questions": unknown,
                 "LIST": listing,
                 "bounces": Frame(DATA, flags=WHOLE, target=c.id + 1000000).pack(),
                 "empty DATA to one that reads nothing": Frame(DATA, flags=WHOLE, target=c.id).pack(),
                 "WATCH on and off": watch(c.id, 1) + watch(c.id, 0),
                 "WATCH of ever new ids": b"".join(watch((1 << 40) + i, 1) for i in range(20000))}
        for name, data in cases.items():
            with self.subTest(name):
                flooder = self.client()
                self.assertBounded(name, flooder, data, 16 * MEBIBYTE)
                flooder.close()

    def test_floods_end(self):
        """What was asked for is answered in full once it is read."""
        c = self.client()
        n = 50000
        sent = Background(c.send_only, Frame(PING, payload=bytes(64)).pack() * n)
        self.bystanders.exchange(50)
        for _ in range(n):
            c.expect(PONG)
        sent.join()

    def test_pipelined_garbage(self):
        c = self.client()
        self.assertTrue(self.assertBounded("garbage after WELCOME", c, Frame(0x77, payload=b"x" * 100).pack(), 2 * MEBIBYTE))


class TheLog(ServiceTest):
    """The administrator finds one line for each offender, and few lines for very many."""

    def test_line_after_welcome(self):
        c = self.client("offender")
        address = c.local_address
        c.send_bytes(Frame(DATA, flags=255).pack())
        c.expect_goodbye(PROTOCOL)
        line = self.service.wait_line(re.escape(address))
        self.assertIn("offender", line)
        self.assertEqual([other for other in self.service.log() if address in other], [line])

    def test_line_before_welcome(self):
        link = self.link()
        address = link.local_address
        link.send_bytes(b"GET / HTTP/1.1\r\n\r\n" + bytes(40))
        link.expect_refused(REFUSED_PROTOCOL)
        line = self.service.wait_line(re.escape(address))
        self.assertGreater(len(line), len(address) + 10, "it gives a reason")
        self.assertEqual([other for other in self.service.log() if address in other], [line])

    def test_line_for_a_refused_name(self):
        link = self.link()
        link.send_bytes(hello("not valid").pack())
        link.expect_refused(direct1.REFUSED_NAME_INVALID)
        self.service.wait_line(re.escape(link.local_address))

    def test_line_for_a_local_offender(self):
        link = direct1.Link(self.service.unix)
        link.send_bytes(Frame(0x77).pack())
        link.expect_refused(REFUSED_PROTOCOL)
        self.service.wait_line(r"unix:.*pid=")
        link.close()

    def test_hostile_texts_stay_out_of_the_log(self):
        """No line holds what could steer a terminal or look like a line of its own."""
        texts = [b"\x1b[2J\x1b]0;gotcha\x07", b"a\r\nListening on 6.6.6.6:1", b"x\nERROR: fake", b"%n%n%s%s%d",
                 b"\xff\xfe\x80", b"\xc2\x9b31m"]
        for text in texts:
            for fields in ({"name": text}, {"name": "ok", "program": text}, {"name": "ok", "credential": text}):
                link = self.link()
                link.send_bytes(hello(**fields).pack())
                link.receive()
                link.close()
        c = self.client("offender", program="%n%n%s%s%d")
        c.send_bytes(Frame(0x77, payload=b"\x1b[2J\r\n%n%n").pack())
        c.expect_goodbye(PROTOCOL)
        c = self.client()
        c.send(direct1.GOODBYE, payload=direct1.u32(0) + direct1.text16(b"\x1b[2J\nERROR: fake %n%s"), kind=1)
        self.service.stop()
        for line in self.service.log():
            self.assertNotRegex(line, r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
            self.assertNotRegex(line, r"^(ERROR: fake|Listening on 6)")

    def test_flood(self):
        n = 200 if direct1.SANITIZED else 1000
        for i in range(n):
            link = direct1.Link(self.service.tcp if i % 2 else self.service.unix)
            link.send_bytes(Frame(0x77).pack())
            link.receive()
            link.close()
        n_lines = len(self.service.log())
        say(f"{n} offenders: {n_lines} lines")
        self.assertLess(n_lines, 100)


if __name__ == "__main__":
    main()
