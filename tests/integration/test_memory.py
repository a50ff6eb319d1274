# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each allocation of the service fails in turn, also those of its libraries, alone or with those that follow. That may cost the
link that it is about, and at the start the start. Nothing else: the service goes on, and answers. What D-Bus takes is in
test_memory_bus.py."""

import shutil
import signal
from collections import Counter

import direct1
from direct1 import ACK, ASK, ASK_WATCH, BOUNCE, DATA, EVERYONE, GOODBYE, PRESENCE, RELIABLE, WHOLE, text8, u8, u64
from failing import BURST, LASTING, NAME, Case, MemoryTest, choose, main, run, show
from service import TIMEOUT, ServiceFailure


# Scenarios: before, while allocations fail, after

def connect(case):
    yield
    case.client("by-tcp")
    case.client("by-socket", case.rig.service.unix)
    case.client()
    case.settle()
    yield


def leave(case):
    peers = [case.client(f"worker-{i}", address) for i, address in enumerate([case.rig.service.tcp, case.rig.service.unix] * 2)]
    watcher = case.client("watcher")
    watcher.do("ask", ASK_WATCH, u64(0) + u8(1))
    yield
    for peer, how in zip(peers, ("close", "close", "reset", "goodbye")):
        peer.may_leave = True
        if how == "goodbye":
            peer.do(how)
        else:
            peer.leave(how)
    case.settle()
    yield
    for peer in peers:
        peer.leave()


def resume(case):
    watcher, peer, other = case.client("watcher"), case.client("worker"), case.client("other")
    watcher.do("ask", ASK_WATCH, u64(0) + u8(1))
    welcome = peer.client.welcome
    yield
    peer.leave("reset")
    case.settle()
    case.client(resume=welcome)
    case.client(resume=other.client.welcome)  # the newest link wins
    other.may_leave = True
    case.settle()
    yield


def talk(case):
    a, b, c = (case.client(name) for name in "abc")
    yield
    for n, size in enumerate((0, 100, 65536, 65536)):
        a.do("data", b.id, bytes(size), WHOLE | RELIABLE, sequence=n + 1)
        b.do("data", a.id, bytes(size))
        c.do("send", ACK, b.id, u64(1 << 20), sequence=n)
        c.do("data", EVERYONE, b"all", WHOLE | RELIABLE, sequence=n + 1)
    a.do("data", 1 << 50, b"nobody")
    frame = direct1.Frame(DATA, flags=WHOLE, target=b.id, payload=bytes(3000)).pack()
    a.do("send_bytes", frame[:1000])
    case.settle(but=a)
    a.do("send_bytes", frame[1000:])
    case.settle()
    yield
    if not case.lost:
        heard = [sum(f.type in (DATA, BOUNCE) for f in peer.heard(DATA, BOUNCE)) for peer in (a, b, c)]
        assert heard[0] + heard[1] + heard[2] == 4 + 4 + 8 + 1 + 1, heard


def slow(case):
    """More than the buffers of the kernel take is kept for one who does not read."""
    reader = case.client("reader", case.rig.service.unix)
    a, b = case.client("a"), case.client("b", case.rig.service.unix)
    yield
    for _ in range(16):
        a.do("data", reader.id, bytes(65536))
        b.do("data", EVERYONE, bytes(1000))
    case.settle(but=reader)
    case.settle()
    yield
    if not case.lost:
        n = len(reader.heard(DATA)) + len(a.heard(BOUNCE))
        assert n == 32, n


def ask(case):
    a, b = case.client("a"), case.client("b")
    yield
    for kind, payload in ((1, u64(b.id)), (1, u64(0) + text8("b")), (2, text8("b")), (3, u64(0)), (4, u64(b.id) + u8(1)),
                          (4, u64(0) + u8(1)), (4, u64(1 << 40) + u8(1)), (5, b"")):
        a.do("send", ASK, payload=payload, kind=kind, tag=1000 + kind)
    case.settle()
    newcomer = case.client("newcomer")
    newcomer.may_leave = True
    newcomer.leave()
    case.settle()
    yield
    a.heard(PRESENCE)


def hang_up(case):
    service = case.rig.service
    yield
    n_before = len(service.log())
    service.send_signal(signal.SIGHUP)
    service.wait_line("Configuration reloaded|configuration stays", skip=n_before)
    yield


class Running(MemoryTest):
    def test_each(self):
        self.sweep(connect, leave, resume, talk, slow, ask, hang_up)


class First(MemoryTest):
    """What is done once in the life of a service is done while an allocation fails."""

    @staticmethod
    def everything(case):
        yield
        for scenario in (connect, talk):
            steps = scenario(case)
            next(steps)
            next(steps)
            for peer in case.peers:
                peer.leave()
        case.manage("ListClients")
        yield

    def first(self, *failing):
        self.rig.restart()
        return run(self.rig, self.everything, *failing)

    def test_first(self):
        _, n, _ = self.first()
        table = Counter()
        for i in choose(n, 1, every=2):
            self.attempt(table, f"first, {i}, 1", lambda: self.first(i, 1))
        show("everything for the first time", n, 1, table)


class Start(MemoryTest):
    """The first start, with nothing in the state directory"""

    def start(self, first, n):
        """Returns what it cost and the number of allocations."""
        rig, service = self.rig, self.rig.service
        if service.process.poll() is None:
            service.stop()
        shutil.rmtree(service.state, ignore_errors=True)
        rig.failing.begin(first, n)
        try:
            service.start()
            service.wait_line("Ready")
            if n != LASTING:
                rig.connection.wait_owner(NAME)
        except ServiceFailure:
            status = service.process.wait(TIMEOUT)
            service.reader.join()
            lines = service.log()
            if status != 1 or not any("directserver: " in line and "memory" in line.lower() for line in lines):
                raise AssertionError(f"status {status}, and {lines}") from None
            return "the start", rig.failing.end()[0]
        finally:
            n_allocations, _ = rig.failing.end()
        rig.check()
        return "the bus, for a moment" if any("tries again" in line for line in service.log()) else "nothing", n_allocations

    def test_start(self):
        _, n = self.start(1 << 62, 1)
        for burst in (1, LASTING):
            table = Counter()
            for i in choose(n, burst):
                self.attempt(table, f"start, {i}, {burst}", lambda: self.start(i, burst))
            show("start", n, burst, table)


class Stop(MemoryTest):
    def stop(self, first, n):
        service = self.rig.service
        if service.process.poll() is not None:
            service.start()
            self.rig.check()
        case = Case(self.rig, must_answer=False)
        peers = [case.client("by-tcp"), case.client("by-socket", service.unix)]
        case.wait_announced()
        self.rig.failing.begin(first, n)
        service.send_signal(signal.SIGTERM)
        n_told = sum(peer.do("wait_for", lambda f: f.type == GOODBYE) is not None for peer in peers)
        for peer in peers:
            peer.leave()
        service.wait()
        n_allocations, _ = self.rig.failing.end()
        return ("nothing", "one link", "2 links")[2 - n_told], n_allocations

    def test_stop(self):
        _, n = self.stop(1 << 62, 1)
        for burst in (1, BURST):
            table = Counter()
            for i in choose(n, burst):
                self.attempt(table, f"stop, {i}, {burst}", lambda: self.stop(i, burst))
            show("stop", n, burst, table)


if __name__ == "__main__":
    main()
