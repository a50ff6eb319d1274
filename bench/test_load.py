#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server that alters or loses messages, or hangs up, does not get figures as if it had not.

    test_load.py BENCH_LOAD"""

import os
import socket
import subprocess
import sys
import threading
import unittest

LOAD = os.path.abspath(sys.argv.pop(1))
MESSAGE = 100  # payload bytes


class Broker:
    """Mosquitto, for one pair: the second connection receives what the first sends, but for what `meddle` does with it"""

    FRAME = 2 + 2 + 6 + MESSAGE

    def __init__(self, meddle):
        self.meddle = meddle
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with self.listener:
            sender, _ = self.listener.accept()
            sender.recv(20, socket.MSG_WAITALL)  # CONNECT
            sender.sendall(bytes([0x20, 2, 0, 0]))
            receiver, _ = self.listener.accept()
            receiver.recv(20, socket.MSG_WAITALL)
            receiver.sendall(bytes([0x20, 2, 0, 0]))
        receiver.recv(13, socket.MSG_WAITALL)  # SUBSCRIBE
        receiver.sendall(bytes([0x90, 3, 0, 1, 0]))
        with sender, receiver:
            n = 0
            while True:
                frame = sender.recv(self.FRAME, socket.MSG_WAITALL)
                if len(frame) < self.FRAME:
                    return
                frame = self.meddle(n, frame)
                if frame is None:
                    return
                receiver.sendall(frame)
                n += 1


def measure(meddle):
    """The lines that bench-load writes, split"""
    broker = Broker(meddle)
    out = subprocess.run([LOAD, "--pairs=1", f"--size={MESSAGE}", "--rounds=1", "--slice-ms=10",
                          f"mosquitto:{os.getpid()}:{broker.port}"], stdout=subprocess.PIPE, check=True, text=True).stdout
    broker.thread.join()
    return [line.split(",") for line in out.splitlines()]


class Load(unittest.TestCase):
    def test_all_arrives(self):
        (kind, name, _, messages, lost, *_), = measure(lambda n, frame: frame)
        self.assertEqual((kind, name, lost), ("slice", "mosquitto", "0"))
        self.assertGreater(int(messages), 0)

    def test_what_is_altered_is_seen(self):
        lines = measure(lambda n, frame: frame[:-1] + b"x")
        self.assertEqual(lines, [["failed", "mosquitto", "what arrived is not what was sent: Protocol error"]])

    def test_what_is_lost_is_counted(self):
        seen = []

        def lose_some(n, frame):
            seen.append(n)
            return b"" if n % 50 == 49 else frame

        (kind, _, _, messages, lost, *_), = measure(lose_some)
        self.assertEqual(kind, "slice")
        self.assertGreater(int(lost), 0)
        # The first is compared and not counted; a slice before the one that counts warms up
        self.assertLessEqual(int(messages) + int(lost), len(seen) - 1)
        self.assertAlmostEqual(int(lost) / (int(messages) + int(lost)), 1 / 50, delta=1 / 100)

    def test_who_hangs_up_fails(self):
        lines = measure(lambda n, frame: frame if n < 60 else None)
        self.assertEqual([line[:2] for line in lines], [["failed", "mosquitto"]])


if __name__ == "__main__":
    unittest.main()
