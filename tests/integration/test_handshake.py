# SPDX-License-Identifier: LGPL-2.1-or-later
"""Section 3 of the protocol: HELLO, WELCOME, REFUSED, and names."""

import os
import select
import socket
import subprocess
import time

import direct1
from direct1 import (DATA, DIED, LEFT, PING, PONG, PROTOCOL, REFUSED_FULL, REFUSED_NAME_INVALID, REFUSED_NAME_TAKEN,
                     REFUSED_PROTOCOL, REFUSED_VERSION, WENT_AWAY, Client, Frame, hello, hello_payload)
from service import Background, ServiceTest, main

NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


class Welcome(ServiceTest):
    config = {"PingIntervalSec": "7", "GraceSec": "11", "InitialCredit": "512K"}

    def test_fields(self):
        a = self.client("first")
        w = a.welcome
        self.assertEqual(w.version, 1)
        self.assertTrue(1 <= w.id < direct1.GROUP)
        self.assertNotEqual(w.resume_token, bytes(32))
        self.assertNotEqual(w.instance, bytes(16))
        self.assertEqual(w.max_payload, 65536)
        self.assertEqual(w.initial_credit, 512 * 1024)
        self.assertEqual(w.ping_interval_ms, 7000)
        self.assertEqual(w.grace_ms, 11000)
        self.assertEqual(w.name, "first")

        b = self.client("second")
        self.assertNotEqual(b.id, a.id)
        self.assertNotEqual(b.welcome.resume_token, w.resume_token)
        self.assertEqual(b.welcome.instance, w.instance)
        self.assertEqual(b.welcome.epoch, w.epoch + 1)

    def test_versions(self):
        for low, high in ((1, 1), (0, 1), (1, 2), (0, 65535)):
            with self.subTest(low=low, high=high):
                self.assertEqual(self.client(version_min=low, version_max=high).welcome.version, 1)
        for low, high in ((0, 0), (2, 2), (2, 65535), (65535, 65535)):
            with self.subTest(low=low, high=high):
                self.assertRefused(REFUSED_VERSION, version_min=low, version_max=high)

    def test_features_that_nobody_knows_are_not_agreed_to(self):
        self.assertEqual(self.client(features=0xffffffff).welcome.features, 0)

    def test_more_fields_at_the_end_are_ignored(self):
        link = self.link()
        link.send(direct1.HELLO, payload=hello_payload("later") + b"fields of a later version")
        self.assertEqual(direct1.Welcome.parse(link.expect(direct1.WELCOME).payload).name, "later")

    def test_header(self):
        """The service looks at no other field of a HELLO's header, and addresses WELCOME to the newcomer."""
        link = self.link()
        link.send(direct1.HELLO, 6, hello_payload(), kind=7, source=5, sequence=7, stream=8, tag=9)
        frame = link.expect(direct1.WELCOME, source=0, flags=0)
        self.assertEqual(frame.target, direct1.Welcome.parse(frame.payload).id)

    def test_program_and_credential(self):
        self.client(program="")
        self.client(program="mandelbrot[4711] on n\u00f6rdlich, \u8ba1\u7b97, 100 %n %s")
        self.client(credential="nobody has asked for it")

    def test_ipv6(self):
        if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
            self.skipTest("this machine has no IPv6")
        service = self.start_service(listen=("tcp6",))
        self.assertEqual(Client(service.tcp6, "six").name, "six")


class WelcomeUnix(Welcome):
    transport = "unix"


class Readiness(ServiceTest):
    def test_notification(self):
        directory = self.service.directory
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(directory + "/notify")
            s.settimeout(direct1.TIMEOUT)
            service = self.start_service(environment={"NOTIFY_SOCKET": directory + "/notify"})
            messages = b""
            while b"READY=1" not in messages.splitlines():
                messages += s.recv(4096) + b"\n"
            Client(service.tcp).close()


class Names(ServiceTest):
    def test_lengths(self):
        for n in (1, 2, 62, 63):
            with self.subTest(n=n):
                self.assertEqual(self.client("n" * n).name, "n" * n)
        for n in (64, 65, 128, 255):
            with self.subTest(n=n):
                self.assertRefused(REFUSED_NAME_INVALID, "n" * n)

    def test_characters(self):
        for c in NAME_CHARACTERS:
            self.assertEqual(self.client(c + "x").name, c + "x")
        self.assertEqual(self.client(NAME_CHARACTERS[:63]).name, NAME_CHARACTERS[:63])
        for name in (".", "..", "-", "_", "--help", "...", "0"):
            with self.subTest(name=name):
                self.assertEqual(self.client(name).name, name)

    def test_bad_characters(self):
        """Each other printable character, anywhere, and UTF-8, is an invalid name."""
        for code in range(0x20, 0x7f):
            if chr(code) not in NAME_CHARACTERS:
                for name in (chr(code), f"a{chr(code)}", f"{chr(code)}a", f"a{chr(code)}a"):
                    with self.subTest(name=name):
                        self.assertRefused(REFUSED_NAME_INVALID, name)
        for name in ("n\u00e4me", "\u8ba1\u7b97", "\U0001f600", "worker\u200b", "\uff41"):
            with self.subTest(name=name):
                self.assertRefused(REFUSED_NAME_INVALID, name)

    def test_names_that_are_no_text(self):
        """Control characters and broken UTF-8 are not text at all: the HELLO may be called wrong as a whole."""
        bad = [bytes([c]) for c in (*range(0x20), 0x7f)]
        bad += [b"\xc2\x80", b"\xc2\x9f", b"\x80", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82",
                b"\xf8\x88\x80\x80\x80"]
        for name in bad:
            for name in (name, b"worker" + name, name + b"worker", b"work" + name + b"er"):
                with self.subTest(name=name):
                    link = self.link()
                    link.send_bytes(hello(name).pack())
                    link.expect_refused((REFUSED_NAME_INVALID, REFUSED_PROTOCOL))

    def test_generated(self):
        names = {self.client().name for _ in range(100)}
        self.assertEqual(len(names), 100)
        for name in names:
            self.assertTrue(1 <= len(name) <= 63 and set(name) <= set(NAME_CHARACTERS), name)

    def test_generated_name_avoids_one_that_is_taken(self):
        """Somebody has taken the names that the service would give next, whatever its scheme."""
        given = self.client().name
        stem = given.rstrip("0123456789")
        digits = given[len(stem):]
        if digits:
            for i in range(1, 20):
                self.client(f"{stem}{int(digits) + i}")
        self.assertEqual(len({self.client().name for _ in range(30)}), 30)

    def test_unique(self):
        first = self.client("same")
        self.assertRefused(REFUSED_NAME_TAKEN, "same")
        self.client("Same")
        first.goodbye()
        first.expect_closed()
        second = self.client("same")
        self.assertNotEqual(second.id, first.id)

    def test_free_again_after_end_of_file(self):
        watcher = self.client()
        for _ in range(20):
            c = self.client("again")
            watcher.watch(c.id)
            c.close()
            watcher.expect_presence(LEFT, c.id, reason=DIED)

    def test_colliding_names_at_one_time(self):
        """Of many that ask for one name at the same time, exactly one gets it."""
        links = [self.link() for _ in range(20)]
        for link in links:
            link.send_bytes(hello("wanted").pack())
        answers = [Background(link.receive) for link in links]
        types = [answer.join().type for answer in answers]
        self.assertEqual(types.count(direct1.WELCOME), 1)
        self.assertEqual(types.count(direct1.REFUSED), 19)


class Refusals(ServiceTest):
    def test_magic(self):
        for magic in (0, 0x44495231, direct1.MAGIC + 1, 0xffffffff):
            with self.subTest(magic=magic):
                link = self.link()
                link.send_bytes(hello(magic=magic).pack())
                link.expect_refused(REFUSED_PROTOCOL)

    def test_truncated_hello(self):
        whole = hello_payload("name", program="program", credential="credential")
        for n in range(len(whole)):
            link = self.link()
            link.send(direct1.HELLO, payload=whole[:n])
            link.expect_refused(REFUSED_PROTOCOL)

    def test_texts_that_are_no_text(self):
        for program in (b"\n", b"a\0b", b"\x1b[2J", b"\xff", b"\xc2\x85", b"50 \x80", b"\xed\xa0\x80"):
            for field in ("program", "credential"):
                with self.subTest(program=program, field=field):
                    link = self.link()
                    link.send_bytes(hello(**{field: program}).pack())
                    link.expect_refused(REFUSED_PROTOCOL)

    def test_frame_limit(self):
        room = direct1.HELLO_FRAME_MAX - len(hello(program="").pack())
        self.client(program="p" * room)
        for n in (room + 1, room + 2, 65000 - len(hello_payload(program=""))):
            with self.subTest(n=n):
                link = self.link()
                link.send_bytes(hello(program="p" * n).pack())
                link.expect_refused(REFUSED_PROTOCOL)

    def test_frame_limit_is_judged_by_the_header(self):
        """1 KiB is all that the service keeps: it does not wait for what it would not keep."""
        for length in (direct1.HELLO_FRAME_MAX - 40 + 1, 65536, 65537, 1 << 31, (1 << 32) - 1):
            with self.subTest(length=length):
                link = self.link()
                link.send_bytes(Frame(direct1.HELLO).pack(length=length))
                link.expect_refused(REFUSED_PROTOCOL)

    def test_first_frame_is_not_a_hello(self):
        for frame_type in (t for t in range(256) if t != direct1.HELLO):
            link = self.link()
            link.send(frame_type, payload=hello_payload())
            link.expect_refused(REFUSED_PROTOCOL)

    def test_another_protocol(self):
        for request in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(40),
                        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
                        b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n" + bytes(40)):
            link = self.link()
            link.send_bytes(request)
            link.expect_refused(REFUSED_PROTOCOL)

    def test_full(self):
        service = self.start_service(config={"MaxClients": "3"})
        clients = [self.client(address=service.tcp) for _ in range(3)]
        for _ in range(3):
            self.assertRefused(REFUSED_FULL, address=service.tcp)
        clients[0].expect_nothing()
        clients[0].goodbye()
        clients[0].expect_closed()
        self.client(address=service.tcp)
        self.assertRefused(REFUSED_FULL, address=service.tcp)

    def test_places_are_for_clients(self):
        """Connections that have not said HELLO take none of them."""
        service = self.start_service(config={"MaxClients": "2"})
        silent = [direct1.Link(service.tcp) for _ in range(50)]
        for _ in range(2):
            self.client(address=service.tcp)
        self.assertRefused(REFUSED_FULL, address=service.tcp)
        for link in silent:
            link.close()

    def test_resume_of_a_full_service(self):
        """An away session still has its place."""
        service = self.start_service(config={"MaxClients": "2"})
        watcher = self.client(address=service.tcp)
        c = self.client(address=service.tcp)
        watcher.watch(c.id)
        c.reset()
        watcher.expect_presence(WENT_AWAY, c.id)
        self.client(address=service.tcp, resume=c.welcome)


class SlowHello(ServiceTest):
    def test_byte_by_byte(self):
        other = self.client()
        link = self.link()
        for byte in hello("slow", program="").pack():
            link.send_bytes(bytes([byte]))
            other.ping()  # the service has had its turn
        self.assertEqual(direct1.Welcome.parse(link.expect(direct1.WELCOME).payload).name, "slow")

    def test_hello_and_more_in_one_segment(self):
        """A client need not wait for WELCOME: what follows HELLO is handled after it."""
        other = self.client()
        link = self.link()
        link.send_bytes(hello("hasty").pack() + Frame(DATA, flags=direct1.WHOLE, target=other.id, payload=b"x" * 60000).pack()
                        + Frame(PING, payload=b"?", tag=7).pack())
        me = direct1.Welcome.parse(link.expect(direct1.WELCOME).payload)
        link.expect(PONG, tag=7, payload=b"?")
        other.expect(DATA, source=me.id, payload=b"x" * 60000)

    def test_more_after_a_hello_that_is_refused(self):
        bystander = self.client()
        link = self.link()
        link.send_bytes(hello("in valid").pack()
                        + Frame(DATA, flags=direct1.WHOLE, target=direct1.EVERYONE, payload=b"x").pack() * 10)
        link.expect_refused(REFUSED_NAME_INVALID)
        bystander.expect_nothing()

    def test_closed_after_five_seconds(self):
        """However little of a HELLO has come, and however steadily it drips."""
        whole = hello("never", program="p" * 900).pack()
        sent = {"nothing": b"", "one byte": whole[:1], "header": whole[:40], "all but one": whole[:-1], "drips": whole[:1]}
        begin = time.monotonic()
        links = {}
        for name, data in sent.items():
            links[name] = self.link()
            links[name].send_bytes(data)
        member = self.client()
        links |= {"unix": self.link_unix()}

        poll = select.poll()
        names = {}
        for name, link in links.items():
            poll.register(link.socket, select.POLLIN)
            names[link.socket.fileno()] = name
        closed = {}
        n_dripped = 1
        while len(closed) < len(links):
            for fd, _ in poll.poll(200):
                poll.unregister(fd)
                closed[names[fd]] = time.monotonic() - begin
            if "drips" not in closed:
                try:
                    links["drips"].send_bytes(whole[n_dripped:n_dripped + 1])
                except direct1.Closed:
                    pass
                n_dripped += 1
            self.assertLess(time.monotonic() - begin, 10, f"still open: {set(links) - set(closed)}")
        for name, seconds in closed.items():
            self.assertTrue(4.5 <= seconds <= 7, f"{name}: closed after {seconds:.3f} s")
            if name != "drips":
                links[name].expect_closed()
        member.expect_nothing()

    def link_unix(self):
        link = direct1.Link(self.service.unix)
        self.addCleanup(link.close)
        return link


class SecondHello(ServiceTest):
    def test_is_a_protocol_error(self):
        for payload in (hello_payload(), hello_payload("other"), b""):
            c = self.client()
            c.send(direct1.HELLO, payload=payload)
            c.expect_goodbye(PROTOCOL)


class LocalSocket(ServiceTest):
    def test_replaces_what_a_crash_left(self):
        self.service.kill()
        self.assertTrue(os.path.exists(self.service.unix.removeprefix("unix:")))
        self.service.start()
        Client(self.service.unix).close()

    def test_a_second_service_does_not_take_it(self):
        """A socket somebody listens at is in use, whoever it is."""
        command = [os.environ["DIRECTSERVER_EXECUTABLE"], "--bus=none", f"--listen={self.service.unix}",
                   f"--state-directory={self.service.directory}/second"]
        second = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=direct1.TIMEOUT)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn(self.service.unix.removeprefix("unix:").encode(), second.stderr)
        self.assertIn(b"it is in use; is another service running?", second.stderr)
        Client(self.service.unix).close()

    def test_the_end_leaves_nothing(self):
        self.service.kill()
        self.service.start()
        self.service.stop()
        self.assertEqual([name for name in os.listdir(self.service.directory) if name.startswith("socket")], [])


if __name__ == "__main__":
    main()
