# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that die, services that stop, descriptors that run out."""

import dataclasses
import os
import select
import signal
import socket
import time

import direct1
from direct1 import DATA, DIED, GOODBYE, JOINED, LEAVING, LEFT, STOPPING, WHOLE, Client, Closed, Frame
from service import PROMPT, Background, Bystanders, Sender, ServiceTest, main, say, wait_until_paused


class LastWords(ServiceTest):
    """What a client has sent before its end is delivered, however it ends in order, and before its end is told."""

    def test_before_the_end(self):
        receiver = self.client("receiver")
        receiver.watch(0)
        n = 200
        for end in ("goodbye", "close", "half close"):
            for size in (10, 20000):
                c = self.client()
                receiver.expect_presence(JOINED, c.id)
                frame = Frame(DATA, flags=WHOLE, target=receiver.id, payload=bytes(size))
                words = b"".join(dataclasses.replace(frame, tag=i).pack() for i in range(n))
                if end == "goodbye":
                    words += Frame(GOODBYE, kind=LEAVING, payload=direct1.u32(0) + direct1.text16("")).pack()
                    words += frame.pack()  # nobody is there any more who could say it
                sent = Background(c.send_only, words)
                if size == 10:
                    sent.join()
                    self.end(c, end)
                for i in range(n):
                    receiver.expect(DATA, source=c.id, tag=i)
                sent.join()
                if size != 10:
                    self.end(c, end)
                receiver.expect_presence(LEFT, c.id, reason=LEAVING if end == "goodbye" else DIED)
        receiver.expect_nothing()

    def end(self, client, how):
        if how == "close":
            client.close()
        elif how == "half close":
            client.socket.shutdown(socket.SHUT_WR)

    def test_to_a_receiver_that_lags(self):
        """The sender is gone before the receiver reads at all: whatever the service has taken arrives."""
        receiver = self.client("receiver", socket_options={"receive_buffer": 16384})
        watcher = self.client("watcher")
        c = self.client()
        watcher.watch(c.id)
        n = 40
        c.send_bytes(b"".join(Frame(DATA, flags=WHOLE, target=receiver.id, tag=i, payload=bytes(10000)).pack() for i in range(n)))
        c.close()
        watcher.expect_presence(LEFT, c.id, reason=DIED)
        for i in range(n):
            receiver.expect(DATA, source=c.id, tag=i)
        receiver.expect_nothing()

    def test_goodbye_is_answered_by_the_end(self):
        """Whatever code a client gives, also one that only a service would, and whatever else is in the frame."""
        for code in (0, 1, 2, 3, 5, 10, 11, 0xffff):
            c = self.client("leaver")
            c.goodbye(code, "work is done")
            c.expect_closed()
        self.client("leaver")


class LastWordsUnix(LastWords):
    transport = "unix"


class Death(ServiceTest):
    def fork_client(self, name):
        """A client in a process of its own. Returns (pid, id)."""
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                c = Client(self.address, name)
                os.write(writable, direct1.u64(c.id))
                while True:
                    c.receive(3600)
            finally:
                os._exit(1)
        os.close(writable)
        client_id = int.from_bytes(os.read(readable, 8), "little")
        os.close(readable)
        return pid, client_id

    def test_killed_client_is_gone_at_once(self):
        everyone, one = self.client("everyone"), self.client("one")
        epoch = everyone.watch(0)[0]
        for _ in range(5):
            pid, client_id = self.fork_client("worker")
            everyone.expect_presence(direct1.JOINED, client_id, epoch=epoch + 1)
            one.watch(client_id)
            os.kill(pid, signal.SIGKILL)
            begin = time.monotonic()
            for w in (one, everyone):
                w.expect_presence(LEFT, client_id, reason=DIED, epoch=epoch + 2, name="worker")
            self.assertLess(time.monotonic() - begin, PROMPT)
            os.waitpid(pid, 0)
            epoch += 2

    def test_stopped_client_is_not_gone(self):
        """SIGSTOP is not death: its kernel goes on answering."""
        self.service.stop()
        self.service.start(PingIntervalSec="200ms", KernelTimeoutSec="1")
        w = self.client("watcher")
        pid, client_id = self.fork_client("worker")
        try:
            w.watch(client_id)
            os.kill(pid, signal.SIGSTOP)
            w.expect_presence(direct1.WENT_BUSY, client_id)
            with self.assertRaises(TimeoutError):
                w.receive(timeout=2)
            os.kill(pid, signal.SIGCONT)
            w.expect_presence(direct1.CAME_ALIVE, client_id)
            w.watch(client_id)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        w.expect_presence(LEFT, client_id, reason=DIED)


class DeathUnix(Death):
    transport = "unix"


class Stop(ServiceTest):
    def test_everybody_is_told(self):
        """GOODBYE 2 with a delay that differs, so that they do not all come back in one moment."""
        for number in (signal.SIGTERM, signal.SIGINT):
            clients = [self.client(address=self.service.unix if i % 2 else None) for i in range(60)]
            self.service.stop(number)
            delays = [c.expect_goodbye(STOPPING).retry_after_ms for c in clients]
            say(f"delays from {min(delays)} to {max(delays)} ms")
            self.assertGreater(len(set(delays)), 20)
            self.assertGreater(min(delays), 0)
            self.assertLessEqual(max(delays), 60000)
            self.service.start()

    def test_after_silence(self):
        """A service that has slept for longer than a link may linger says GOODBYE all the same."""
        time.sleep(1.5)  # it has looked at its load once, and does so again with the first message
        clients = [self.client(address=address) for address in (None, self.service.unix)]
        time.sleep(2)  # the silence itself; half a second after a WELCOME over TCP it looks whether that has arrived
        self.service.stop()
        for c in clients:
            c.expect_goodbye(STOPPING)

    def test_what_is_queued_is_flushed(self):
        """A receiver that lags a little gets all that the service has taken, and then the GOODBYE."""
        for number in (signal.SIGTERM, signal.SIGINT):
            sender, receiver = self.client(), self.client(socket_options={"receive_buffer": 16384})
            n = 10
            for i in range(n):
                sender.data(receiver.id, bytes(65536), tag=i)
            sender.ping()
            self.service.send_signal(number)
            for i in range(n):
                receiver.expect(DATA, source=sender.id, tag=i)
            receiver.expect_goodbye(STOPPING)
            sender.expect_goodbye(STOPPING)
            self.service.wait()
            self.service.start()

    def test_does_not_wait_for_ever(self):
        """A receiver that never reads, one in the middle of HELLO and one that is probed do not keep the service."""
        sender, stopped = self.client(), self.client("stopped", socket_options={"receive_buffer": 4096})
        stopped.answer_pings = False
        half = self.link()
        half.send_bytes(direct1.hello("half").pack()[:50])
        probing = self.link()
        probing.send_bytes(direct1.hello("stopped").pack())
        sending = Sender(sender, stopped.id, 10000)
        wait_until_paused([sending], self.client().ping)
        begin = time.monotonic()
        self.service.stop()
        say(f"stopped after {time.monotonic() - begin:.2f} s")
        self.assertLess(time.monotonic() - begin, 10)
        with self.assertRaises(Closed):
            sending.thread.join()

    def test_twice(self):
        """A second signal during the stop is no failure."""
        self.client()
        self.service.send_signal(signal.SIGTERM)
        self.service.send_signal(signal.SIGTERM)
        self.service.wait()


class Descriptors(ServiceTest):
    """The service has only 64 descriptors, and many more come."""

    def setUp(self):
        self.service = self.start_service(nofile=64)

    def test_flood_of_connects(self):
        bystanders = Bystanders(self.address)
        self.addCleanup(bystanders.close)
        baseline = self.service.n_descriptors()
        flood = [self.link() for _ in range(200)]
        for link in flood:
            link.send_bytes(direct1.hello().pack())
        self.service.wait_line("(?i)descriptor|too many open files")
        begin, cpu = time.monotonic(), self.service.cpu_seconds()
        while time.monotonic() - begin < 1.5:
            bystanders.exchange()
            select.select([], [], [], 0.05)
        cpu = self.service.cpu_seconds() - cpu
        say(f"{cpu:.2f} s of CPU in 1.5 s without a free descriptor")
        if not direct1.SANITIZED:
            self.assertLess(cpu, 0.2, "accept must not spin")
        lines = [line for line in self.service.log() if "descriptor" in line.lower() or "too many open files" in line.lower()]
        self.assertTrue(1 <= len(lines) <= 5, lines)

        for link in flood:
            link.close()
        for _ in range(5):
            with Client(self.address) as c:
                c.alive(bystanders.a.id)
        bystanders.exchange()
        self.eventually(lambda: self.service.n_descriptors() <= baseline,
                        lambda: f"{self.service.n_descriptors()} descriptors instead of {baseline}")

    def test_places_are_given_one_by_one(self):
        """Those who wait in the queue get in as others leave, without a new connection."""
        flood = [self.link() for _ in range(100)]
        for link in flood:
            link.send_bytes(direct1.hello().pack())
        welcomed = 0
        for link in flood:
            self.assertEqual(link.receive().type, direct1.WELCOME)
            link.close()
            welcomed += 1
        self.assertEqual(welcomed, 100)


if __name__ == "__main__":
    main()
