# SPDX-License-Identifier: LGPL-2.1-or-later
"""Codes that clients must understand and this service does not send, or seldom: the client of reliable.py and a service that is
driven by hand. What the C library makes of them is tested in tests/client, in the same way."""

import socket
import unittest

import reliable
from direct1 import (ACK, ANSWER, ASK, BOUNCE, BOUNCE_OVERLOADED, BOUNCE_POLICY, DATA, HELLO, MARK, PAYLOAD_MAX, REFUSED,
                     REFUSED_FULL, REFUSED_NAME_INVALID, REFUSED_NAME_TAKEN, REFUSED_NOT_AUTHORISED, REFUSED_PROTOCOL,
                     REFUSED_RESUME, REFUSED_VERSION, RELIABLE, RESEND, STATE_ALIVE, WELCOME, WHOLE, Frame, Link, text8, text16,
                     u8, u16, u32, u64)
from reliable import DELIVERED, DENIED, ENDED, Peer

OTHER = 7


class Fake:
    """The service's end of a Peer's connection."""

    def __init__(self, test):
        self.listener = socket.create_server(("127.0.0.1", 0))
        test.addCleanup(self.listener.close)
        self.link = None
        self.test = test
        self.peer = Peer(lambda: "127.0.0.1:%d" % self.listener.getsockname()[1], "me")
        test.addCleanup(lambda: self.peer.link and self.peer.link.close())

    def accept(self):
        """The Peer has connected, and says HELLO."""
        self.step_until(lambda: self.peer.link)
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        self.link = Link(connection)
        self.test.addCleanup(self.link.close)
        return self.expect(HELLO)

    def step_until(self, condition):
        reliable.run([self.peer], condition)

    def expect(self, type):
        frames = []

        def arrived():
            try:
                frames.append(self.link.receive(0))
            except TimeoutError:
                return False
            return True

        self.step_until(arrived)
        self.test.assertEqual(frames[0].type, type, frames[0])
        return frames[0]

    def send(self, type, **fields):
        self.link.send_bytes(Frame(type, **fields).pack())

    def welcome(self, id=1):
        payload = (u16(1) + u16(0) + u32(0) + u64(id) + bytes(32) + bytes(16) + u32(PAYLOAD_MAX) + u32(1 << 20) + u32(10000)
                   + u32(30000) + u64(1) + text8("me"))
        self.send(WELCOME, target=id, payload=payload)
        self.step_until(lambda: self.peer.up)

    def answer_watch(self):
        question = self.expect(ASK)
        self.send(ANSWER, kind=question.kind, tag=question.tag, payload=u64(1) + u8(STATE_ALIVE))

    def bounce(self, frame, reason):
        self.send(BOUNCE, kind=reason, target=frame.target, sequence=frame.sequence, stream=frame.stream, tag=frame.tag)

    def refuse(self, code):
        self.send(REFUSED, kind=code, payload=text16("because"))
        self.step_until(lambda: not self.peer.link)


class Codes(unittest.TestCase):
    def connected(self):
        fake = Fake(self)
        fake.accept()
        fake.welcome()
        return fake

    def test_refused_for_good(self):
        for code in (REFUSED_VERSION, REFUSED_NAME_INVALID, REFUSED_NOT_AUTHORISED, REFUSED_PROTOCOL):
            with self.subTest(code=code):
                fake = self.connected()
                sent = fake.peer.send(OTHER, b"never")
                fake.link.close()
                fake.step_until(lambda: not fake.peer.link)
                fake.accept()
                fake.refuse(code)
                self.assertEqual((fake.peer.refused, fake.peer.retry_at, sent.result), (code, float("inf"), ENDED))

    def test_refused_for_now(self):
        for code in (REFUSED_NAME_TAKEN, REFUSED_FULL, REFUSED_RESUME):
            with self.subTest(code=code):
                fake = self.connected()
                fake.link.close()
                fake.step_until(lambda: not fake.peer.link)
                fake.accept()
                fake.refuse(code)
                fake.accept()
                fake.welcome(id=2)
                self.assertEqual(fake.peer.refused, 0)

    def test_policy(self):
        fake = self.connected()
        sent = [fake.peer.send(OTHER, payload) for payload in (b"one", b"two", bytes(PAYLOAD_MAX + 1))]
        fake.answer_watch()
        fake.bounce(fake.expect(DATA), BOUNCE_POLICY)
        fake.step_until(lambda: all(s.result for s in sent))
        self.assertEqual({s.result for s in sent}, {DENIED})
        self.assertEqual(fake.peer.send(OTHER, b"three").result, DENIED)
        self.assertEqual(fake.peer.send(OTHER + 1, b"to another").result, None)

    def test_overloaded(self):
        """What has bounced comes again: a message, an ACK, and a question for broadcasts."""
        fake = self.connected()
        sent = fake.peer.send(OTHER, b"one")
        fake.answer_watch()
        data = fake.expect(DATA)
        fake.bounce(data, BOUNCE_OVERLOADED)
        fake.answer_watch()
        self.assertEqual(fake.expect(DATA), data)
        fake.send(ACK, source=OTHER, target=1, sequence=1, payload=u64(1 << 20))
        fake.step_until(lambda: sent.result == DELIVERED)

        fake.send(DATA, flags=WHOLE | RELIABLE, source=OTHER, target=1, sequence=1, payload=b"two")
        fake.step_until(lambda: fake.peer.inbox)
        fake.peer.take()
        ack = fake.expect(ACK)
        self.assertNotEqual(ack.tag, data.tag)
        fake.bounce(ack, BOUNCE_OVERLOADED)
        fake.answer_watch()
        self.assertEqual(fake.expect(ACK), ack)

        fake.send(MARK, source=OTHER, target=1, sequence=3)
        resend = fake.expect(RESEND)
        self.assertNotEqual(resend.tag, data.tag)
        fake.bounce(resend, BOUNCE_OVERLOADED)
        fake.answer_watch()
        self.assertEqual(fake.expect(RESEND), resend)


if __name__ == "__main__":
    unittest.main(verbosity=2)
