# SPDX-License-Identifier: LGPL-2.1-or-later
"""directclient against a real service: every verb, the exit statuses, and what it says when something is wrong."""

import hashlib
import os
import re
import select
import signal
import subprocess

import programs


class ClientTest(programs.ProgramTest):
    def client(self, *arguments, **options):
        return self.start("DIRECTCLIENT", f"--server={self.address}", *arguments, **options)

    def run_client(self, *arguments, status=0, **options):
        """To its end. Returns stdout as text."""
        return self.client(*arguments, **options).wait(status).decode()

    def listen(self, name, *arguments):
        listener = self.client("listen", f"--name={name}", *arguments)
        listener.wait_line("listening as " + name, "stderr")
        return listener

    def file(self, size, seed=1):
        path = os.path.join(self.directory, f"input-{size}-{seed}")
        block = hashlib.sha512(f"{seed}".encode()).digest() * 16384
        with open(path, "wb") as f:
            while size > 0:
                size -= f.write(block[:size])
        return path

    @staticmethod
    def sha256(path):
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()

    def id_of(self, name):
        return int(re.search(rf"^ *(\d+) +{re.escape(name)} ", self.run_client("list"), re.MULTILINE)[1])


class Messages(ClientTest):
    SIZES = (0, 1, 40, 65535, 65536, 65537, 131072, 1 << 20, (5 << 20) + 1)

    def test_sizes_into_files(self):
        out = os.path.join(self.directory, "out")
        listener = self.listen("store", f"--output={out}", f"--count={2 * len(self.SIZES)}")
        expected = []
        for size in self.SIZES:
            path = self.file(size)
            self.run_client("send", "store", path)
            with open(path, "rb") as f:
                self.run_client("send", "store", stdin=f.read())
            expected += [self.sha256(path)] * 2
        lines = listener.wait().decode().splitlines()
        received = [line.split(" ")[0] for line in lines]
        self.assertEqual([self.sha256(path) for path in received], expected)
        self.assertEqual(sorted(os.listdir(out)), sorted(os.path.basename(path) for path in received))
        for line, size in zip(lines, sorted(self.SIZES + self.SIZES)):
            self.assertRegex(line, rf"/\d{{6}}-\d+\.data \S+: {size} bytes$")

    def test_files_are_not_written_over(self):
        out = os.path.join(self.directory, "out")
        for text in (b"one", b"two"):
            listener = self.listen("store", f"--output={out}", "--count=1")
            self.run_client("--name=same", "send", "store", stdin=text)
            listener.wait()
        contents = set()
        for name in os.listdir(out):
            with open(os.path.join(out, name), "rb") as f:
                contents.add(f.read())
        self.assertEqual(contents, {b"one", b"two"})

    def test_to_an_id(self):
        listener = self.listen("alice", "--count=1")
        self.run_client("--name=bob", "send", str(self.id_of("alice")), stdin=b"by number")
        self.assertEqual(listener.wait(), b"bob: by number\n")

    def test_what_listen_shows(self):
        listener = self.listen("alice", "--count=6")
        bob = "--name=bob"
        self.run_client(bob, "send", "alice", stdin=b"plain\n")
        self.run_client(bob, "send", "alice", stdin="zwölf\nmallory: false".encode())
        self.run_client(bob, "send", "alice", "--kind=7", stdin=b"\x1b[2J")
        self.run_client(bob, "send", "alice", stdin=b"")
        self.run_client(bob, "broadcast", stdin=b"hello all")
        self.run_client(bob, "send", "alice", self.file(100000))
        self.assertEqual(listener.wait().decode().splitlines(), [
            "bob: plain", "bob: zwölf", "    mallory: false", "bob, kind 7: 4 bytes, 1b 5b 32 4a", "bob: 0 bytes",
            "bob, to all: hello all", "bob: 100000 bytes, not kept; --output=DIR or --raw keep them"])

    def test_raw(self):
        listener = self.listen("alice", "--raw", "--count=2")
        path = self.file(300000)
        self.run_client("send", "alice", path)
        self.run_client("send", "alice", stdin=b"\0end")
        with open(path, "rb") as f:
            self.assertEqual(listener.wait(), f.read() + b"\0end")

    def test_broadcast(self):
        listeners = [self.listen(f"l{i}", "--count=1", "--raw") for i in range(3)]
        path = self.file(200000)
        self.run_client("broadcast", path)
        for listener in listeners:
            self.assertEqual(hashlib.sha256(listener.wait()).hexdigest(), self.sha256(path))

    def test_signals_end_listen(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            listener = self.listen("alice")
            listener.stop(number)
        listener = self.listen("alice", "--count=1")
        listener.stop(signal.SIGINT, status=128 + signal.SIGINT)


class Middle(ClientTest):
    """One end of a large message is gone before it is over."""

    def start_send(self, name):
        """A send whose input does not end. Returns it and the descriptor to write to."""
        path = os.path.join(self.directory, "fifo")
        os.mkfifo(path)
        sender = self.client("--name=bob", "send", name, path)
        descriptor = os.open(path, os.O_WRONLY)
        self.addCleanup(os.close, descriptor)
        return sender, descriptor

    def test_sender_is_killed(self):
        out = os.path.join(self.directory, "out")
        listener = self.listen("alice", f"--output={out}")
        sender, descriptor = self.start_send("alice")
        os.write(descriptor, bytes(200000))
        while not os.listdir(out):
            self.assertIsNone(listener.process.poll())
        sender.kill()
        listener.wait_line("a message from bob ended in the middle", "stderr")
        listener.stop()
        self.assertEqual(os.listdir(out), [])

    def test_sender_is_interrupted(self):
        listener = self.listen("alice", "--raw")
        sender, descriptor = self.start_send("alice")
        os.write(descriptor, bytes(200000))
        while not listener.lines():
            self.assertIsNone(sender.process.poll())
        sender.stop(signal.SIGINT, status=128 + signal.SIGINT)
        listener.wait_line("ended in the middle", "stderr")

    def test_receiver_is_killed(self):
        listener = self.listen("alice", "--raw")
        sender, descriptor = self.start_send("alice")
        os.write(descriptor, bytes(200000))
        while not listener.lines():
            self.assertIsNone(sender.process.poll())
        listener.kill()
        with self.assertRaises(BrokenPipeError):  # the sender ends by itself, so the pipe breaks
            while True:
                os.write(descriptor, bytes(1000))
        sender.wait(1)

    def test_progress_bar(self):
        self.listen("alice", "--raw")
        terminal, other = os.openpty()
        self.addCleanup(os.close, terminal)
        command = [os.environ["DIRECTCLIENT_EXECUTABLE"], f"--server={self.address}", "send", "alice"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=other) as sender:
            os.close(other)
            seen = b""
            while not re.search(rb"\r\x1b\[Kstdin  [\d.]+ [KM]iB  [\d.]+ [KM]iB/s  0:0\d", seen):
                sender.stdin.write(bytes(65536))
                if select.select([terminal], [], [], 0.02)[0]:
                    seen += os.read(terminal, 4096)
            sender.stdin.close()
            self.assertEqual(sender.wait(programs.TIMEOUT), 0)
            while select.select([terminal], [], [], 0)[0]:
                try:
                    seen += os.read(terminal, 4096)
                except OSError:  # the other end is closed
                    break
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen)


class Calls(ClientTest):
    def test_call(self):
        listener = self.listen("alice", "--echo", "--count=3")
        self.assertEqual(self.run_client("call", "alice", "a word"), "a word")
        self.assertEqual(self.run_client("call", "alice", stdin=b"from stdin"), "from stdin")
        path = self.file(1 << 20)
        reply = self.client("call", "alice", "@" + path, "--kind=9").wait()
        self.assertEqual(hashlib.sha256(reply).hexdigest(), self.sha256(path))
        self.assertRegex(listener.wait().decode(), r"(?m)^\S+, a call: a word$")

    def test_death_ends_a_call(self):
        listener = self.listen("alice")
        call = self.client("call", "alice", "never answered")
        listener.wait_line("never answered")
        listener.kill()
        call.wait(1)
        self.assertIn("left or died in the middle", call.lines("stderr")[-1])

    def test_timeout(self):
        self.listen("alice")
        call = self.client("call", "alice", "x", "--timeout=0.2")
        call.wait(1)
        self.assertIn("no reply in time", call.lines("stderr")[-1])


class Looking(ClientTest):
    def test_alive(self):
        listener = self.listen("alice")
        number = self.id_of("alice")
        for who in ("alice", str(number)):
            self.assertRegex(self.run_client("alive", who), rf"^alice \({number}\): alive, heard of .* ago")
        self.assertEqual(self.run_client("alive", "nobody", status=1), "nobody: not connected\n")
        listener.stop()
        self.assertEqual(self.run_client("alive", str(number), status=1), f"{number}: not connected\n")

    def test_list(self):
        self.listen("alice")
        self.listen("bob")
        lines = self.run_client("list").splitlines()
        self.assertRegex(lines[0], r"^ +ID NAME +STATE$")
        self.assertEqual([line.split()[1:] for line in lines[1:3]], [["alice", "alive"], ["bob", "alive"]])
        self.assertEqual(lines[-1], "2 clients.")
        self.assertEqual(len(self.run_client("list", "--no-legend").splitlines()), 2)

    def test_ping(self):
        self.listen("alice")
        lines = self.run_client("ping", "alice", "--count=4", "--interval=0.01").splitlines()
        self.assertRegex(lines[0], r"^PING alice \(\d+\): ")
        for i in range(1, 5):
            self.assertRegex(lines[i], rf"^alice \(\d+\): seq={i} alive time=[\d.]+ ms silence=[\d.]+ s")
        self.assertRegex(lines[-2], r"^4 questions, 4 answers, 0% loss, time \d+ ms$")
        figures = re.fullmatch(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms", lines[-1])
        low, average, high, _ = (float(x) for x in figures.groups())
        self.assertLessEqual(low, average)
        self.assertLessEqual(average, high)

    def test_ping_until_interrupted(self):
        listener = self.listen("alice")
        ping = self.client("ping", "alice", "--interval=0.01")
        ping.wait_line("seq=3 alive")
        listener.kill()
        ping.wait_line("seq=.* gone")
        ping.stop(signal.SIGINT, status=1)
        self.assertIn("ping statistics", "".join(ping.lines()))

    def test_watch(self):
        everyone = self.client("watch")
        everyone.wait_line("watching", "stderr")
        some = self.client("watch", "alice", "nobody")
        some.wait_line("watching", "stderr")
        listener = self.listen("alice")
        everyone.wait_line(r"^\d\d:\d\d:\d\d joined \d+ alice$")
        some.wait_line("joined .* alice$")
        named = self.client("watch", "alice")
        named.wait_line("alive .* alice$")
        self.listen("bob").stop()
        everyone.wait_line("left   .* bob leaving$")
        listener.kill()
        some.wait_line("left   .* alice died$")
        for watch in (everyone, some, named):
            watch.stop(signal.SIGINT)
        self.assertNotIn("bob", "".join(some.lines()))


class Busy(ClientTest):
    config = "PingIntervalSec=1\n"

    def test_busy(self):
        listener = self.listen("alice")
        watch = self.client("watch")
        watch.wait_line("watching", "stderr")
        os.kill(listener.process.pid, signal.SIGSTOP)
        watch.wait_line("busy .* alice$")
        self.assertRegex(self.run_client("alive", "alice", status=2), r"^alice \(\d+\): busy, heard of ")
        self.assertIn(" busy ", self.run_client("ping", "alice", "--count=1", status=2))
        os.kill(listener.process.pid, signal.SIGCONT)
        watch.wait_line("alive .* alice$")
        self.assertIn("alive", self.run_client("alive", "alice"))


class Trouble(ClientTest):
    def failure(self, status, *arguments, **options):
        program = self.start("DIRECTCLIENT", *arguments, **options)
        program.wait(status)
        return " ".join(program.lines("stderr"))

    def test_usage(self):
        for arguments in ((), ("frobnicate",), ("send",), ("listen", "x"), ("--count=0", "listen"), ("--kind=65536", "list"),
                          ("--timeout=soon", "list"), ("--nonsense", "list"), ("--name=a b", f"--server={self.address}", "list")):
            with self.subTest(arguments):
                self.assertNotEqual(self.failure(64, *arguments), "")
        self.assertIn("Exit status:", self.start("DIRECTCLIENT", "--help").wait().decode())
        self.assertRegex(self.start("DIRECTCLIENT", "--version").wait().decode(), r"^directclient \d")

    def test_no_service(self):
        text = self.failure(3, f"--server=unix:{self.directory}/nothing", "list")
        self.assertIn("is it running?", text)
        self.assertIn(f"unix:{self.directory}/nothing", text)

    def test_no_such_client(self):
        server = f"--server={self.address}"
        for arguments in (("send", "nobody"), ("send", "4711"), ("call", "nobody", "x"), ("ping", "nobody"),
                          ("send", "no such name")):
            with self.subTest(arguments):
                self.assertIn("no such client is connected", self.failure(1, server, *arguments))

    def test_files(self):
        server = f"--server={self.address}"
        self.listen("alice")
        self.assertIn("No such file", self.failure(4, server, "send", "alice", "/nonexistent/file"))
        self.assertIn("Is a directory", self.failure(4, server, "send", "alice", self.directory))
        self.assertIn("Not a directory", self.failure(4, server, "listen", f"--output={self.file(1)}"))

    def test_name_taken(self):
        self.listen("alice")
        self.assertIn("another client has the name", self.failure(3, f"--server={self.address}", "--name=alice", "list"))

    def test_service_goes_and_comes_back(self):
        listener, watch = self.listen("alice"), self.client("watch")
        watch.wait_line("watching", "stderr")
        call = self.client("call", "alice", "never answered")
        listener.wait_line("never answered")
        self.service.stop()
        call.wait(3)
        for program in (listener, watch):
            program.wait_line("the connection to the service is lost", "stderr")
        self.start_service(self.address)
        for program in (listener, watch):
            program.wait_line("connected again", "stderr")
        self.run_client("--name=bob", "send", "alice", stdin=b"again")
        listener.wait_line("^bob: again$")
        watch.wait_line("joined .* bob$")


if __name__ == "__main__":
    programs.main()
