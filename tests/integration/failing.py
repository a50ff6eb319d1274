# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service whose allocations fail, and what that cost. fail-alloc.c is the other side of Failing.

The tests take some allocations of each scenario; all by hand, which takes some 20 minutes each:

    meson test -C build --test-args=--all --timeout-multiplier=20 integration-memory integration-memory-bus

A Case is one run of a scenario with one failure in it: a generator in three parts, what goes before, what is done while
allocations fail, what must hold when they do no more. Its peers and calls may be lost; it counts them and goes on.
"""

import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from collections import Counter

import direct1
from busclient import CALL, DESTINATION, INTERFACE, MEMBER, PATH, REPLY_SERIAL, RETURN, SENDER, Connection, PrivateBus
from direct1 import DATA, TIMEOUT, Closed, Refused
import service
from service import Service, ServiceFailure, say

NAME = "org.directserver.DirectServer1"
MANAGER_PATH = "/org/directserver/DirectServer1"
MANAGER = NAME + ".Manager"
CLIENT = NAME + ".Client"
POLKIT = "org.freedesktop.PolicyKit1"
PEER = "org.freedesktop.DBus.Peer"
NOBODY = 65534
NEVER = LASTING = (1 << 64) - 1

ALL = "--all" in sys.argv
BURST = 12  # fail in a row: more than any one thing that the service does can do without
# Cases of each scenario, where not all are run
FEW = 4
FEW_BURSTS = 2
ONE_LOSS = {"nothing", "one link", "a D-Bus call", "the bus connection", "the start", "the bus, for a moment"}
# What the bus says for a service that has gone, or goes with calls unanswered
GONE = {f"org.freedesktop.DBus.Error.{name}" for name in ("NoReply", "NameHasNoOwner", "ServiceUnknown", "Disconnected")}


class Failing:
    """Which allocations of the service fail."""

    FIELDS = struct.Struct("<QQQQQ")  # struct Control

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="directserver-failing-")
        self.file.truncate(mmap.PAGESIZE)
        self.memory = mmap.mmap(self.file.fileno(), mmap.PAGESIZE)

    @property
    def environment(self):
        asan = os.environ.get("ASAN_OPTIONS", "")
        return {"FAIL_ALLOC_CONTROL": self.file.name, "LD_PRELOAD": os.environ["FAIL_ALLOC_LIBRARY"],
                "FAIL_ALLOC_SPARE": "libeconf",  # it can't do without, and reserve_memory() in config.c sees to that
                "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0"}

    def begin(self, first=NEVER, n=1):
        """The n allocations from the one with number `first` on; without it, they are only counted."""
        self.FIELDS.pack_into(self.memory, 0, 0, first, min(first + n, NEVER), 0, 0)
        self.memory[0] = 1

    def end(self):
        """Returns how many there were, and how many of these failed."""
        self.memory[0] = 0
        return self.FIELDS.unpack_from(self.memory)[3:]

    def close(self):
        self.memory.close()
        self.file.close()


class Peer:
    """A client that may be lost without an error."""

    def __init__(self, case, name="", address=None, resume=None):
        self.case = case
        self.client = None
        self.may_leave = False
        case.peers.append(self)
        try:
            self.client = direct1.Client(address or case.rig.service.tcp, name, resume=resume)
            self.client.may_be_cut = True  # when there is no memory for the rest of what a write has begun
        except (Closed, Refused) as error:
            case.lost.append(error)

    @property
    def id(self):
        return self.client.id if self.client else 1 << 62

    def do(self, method, *args, **fields):
        """Calls this method of the client, if there is one still."""
        if not self.client:
            return None
        try:
            return getattr(self.client, method)(*args, **fields)
        except Closed as end:
            self.client.close()
            self.client = None
            if not self.may_leave:
                self.case.lost.append(end)
            return None

    def leave(self, how="close"):
        if self.client:
            if how == "close":
                self.case.gone.add(self.client.id)
            getattr(self.client, how)()
            self.client = None

    def heard(self, *types):
        """The frames of these types that have come; what was sent to this client before has come then."""
        if not self.client:
            return []
        tag = self.client.new_tag()
        self.do("data", self.id, b"barrier", tag=tag)
        self.do("wait_for", lambda f: f.type == DATA and f.source == self.id and f.tag == tag)
        return [f for f in self.client.pending if f.type in types] if self.client else []


class Rig:
    """One service on a private bus, which stays through many cases."""

    def __init__(self, config=None):
        self.failing = Failing()
        self.bus = PrivateBus()
        self.connection = self.polkit = self.service = None
        self.announced = set()  # ids
        self.n_owners = 0  # of the service's name that we have heard of
        try:
            self.service = Service(config, environment=self.failing.environment | self.bus.environment, bus="system")
            self.connect()
            # It says who comes once it has heard itself that it has its name
            self.connection.wait_reply(self.connection.call(NAME, MANAGER_PATH, MANAGER, "ListClients"))
            self.n_descriptors = self.service.n_descriptors()
        except BaseException:
            self.finish()
            raise

    def connect(self):
        """To the bus, which is new"""
        if self.connection:
            self.connection.close()
        self.connection = Connection(self.bus)
        self.connection.on_signal = self.on_signal
        self.connection.driver("AddMatch", "s", f"type='signal',interface='{MANAGER}'")
        self.owner = self.connection.wait_owner(NAME)

    def on_signal(self, message):
        if message.fields[MEMBER] == "NameOwnerChanged":
            self.n_owners += 1
        elif message.fields[MEMBER] == "ClientNew":
            self.announced.add(message.number())
        elif message.fields[MEMBER] == "ClientRemoved":
            self.announced.discard(message.number())

    def be_polkit(self):
        self.polkit = Connection(self.bus)
        self.polkit.driver("RequestName", "su", POLKIT, 0)

    def answer_as_polkit(self):
        """Yes, to whoever has asked"""
        self.polkit.driver("GetId")
        for m in self.polkit.messages:
            if m.type == CALL and m.fields[MEMBER] == "CheckAuthorization":
                self.polkit.send(RETURN, {REPLY_SERIAL: m.serial, DESTINATION: m.fields[SENDER]}, "(bba{ss})",
                                 body=struct.pack("<IIII", 1, 0, 0, 0))
        self.polkit.messages.clear()
        self.polkit.driver("GetId")

    def restart(self):
        self.stop()
        self.service.start()
        self.owner = self.connection.wait_owner(NAME)

    def check(self):
        """It serves as before."""
        for address in (self.service.tcp, self.service.unix):
            with direct1.Client(address) as first, direct1.Client(address, resume=first.welcome) as c:
                c.data(c.id, b"to myself")
                c.expect(DATA, payload=b"to myself")
                c.goodbye()
                c.expect_closed()
        reply = None
        while not reply or reply.error in GONE:  # the connection may be about to be made anew
            self.owner = self.connection.wait_owner(NAME)
            reply = self.connection.wait_reply(self.connection.call(NAME, MANAGER_PATH, MANAGER, "ListClients"))
        if reply.error:
            raise ServiceFailure(f"ListClients() fails with {reply.error}")
        deadline = time.monotonic() + TIMEOUT
        while (n := self.service.n_descriptors()) != self.n_descriptors:  # of links that have been closed a moment ago
            if time.monotonic() > deadline:
                raise ServiceFailure(f"{n} descriptors, and {self.n_descriptors} at the start")
            time.sleep(0.001)

    def stop(self):
        self.service.stop()

    def explain(self, error):
        """Why there is no answer"""
        try:
            what = f"the service ended with status {self.service.process.wait(0.2)}"
            self.service.reader.join()
        except subprocess.TimeoutExpired:
            what = "the service is there, but"
        raise ServiceFailure(f"{what}: {error}\n" + self.service._tail()) from error

    def abandon(self):
        """After a failure that has been told of"""
        if self.service and self.service.process.poll() is None:
            self.service.kill()
        self.finish()

    def finish(self):
        for thing in (self.connection, self.polkit):
            if thing:
                thing.close()
        try:
            if self.service:
                self.service.finish()
        finally:
            self.bus.finish()
            self.failing.close()


class Case:
    """`must_answer`: a call that fails has an answer that says so. Where that takes memory as well and there is none, sd-bus
    does not look whether it could answer."""

    def __init__(self, rig, must_answer):
        self.rig = rig
        self.must_answer = must_answer
        self.peers = []
        self.gone = set()  # ids of those who have left in the right way
        self.lost = []  # links
        self.calls = []  # of D-Bus that failed or have no answer
        self.owner = rig.owner

    def client(self, name="", address=None, resume=None):
        return Peer(self, name, address, resume)

    def settle(self, but=None):
        """The service has handled what all peers have sent, but for one who is in the middle of a frame, or does not read."""
        for peer in self.peers:
            if peer is not but:
                peer.do("ping")

    def call(self, path, interface, member, signature="", *arguments, n_rounds=2, expected=None, connection=None):
        """Nobody has to wait for a time: each PING of ours, on the same connection, comes to the service after the call and after
        what the bus has answered to a question of the service before."""
        c = connection or self.rig.connection
        serial = c.call(self.owner, path, interface, member, signature, *arguments)
        for _ in range(n_rounds):
            c.wait_reply(c.call(self.owner, MANAGER_PATH, PEER, "Ping"))
            if self.rig.polkit:
                self.rig.answer_as_polkit()
        c.wait_reply(c.call(self.owner, MANAGER_PATH, PEER, "Ping"))
        reply = c.replies.pop(serial, None)
        if not reply and self.must_answer:
            reply = c.wait_reply(serial)
        if not reply or reply.error != expected:
            self.calls.append((member, reply.error if reply else "no answer"))
        return reply is not None and reply.error == expected

    def manage(self, member, signature="", *arguments, **options):
        return self.call(MANAGER_PATH, MANAGER, member, signature, *arguments, **options)

    def wait_announced(self):
        """Who has come and who has gone is said on the bus, or the service leaves the bus."""
        n = self.rig.n_owners
        here = {peer.id for peer in self.peers if peer.client}
        while self.rig.n_owners == n and not (here <= self.rig.announced and not self.gone & self.rig.announced):
            self.rig.connection.receive()

    def outcome(self):
        """What it cost"""
        if self.rig.owner != self.owner:
            costs = ["the bus connection"]
        elif any(error == "no answer" for _, error in self.calls):
            costs = ["calls without an answer"]
        else:
            costs = ["a D-Bus call"] if self.calls else []
        if len(self.lost) > 1:
            costs.append(f"{len(self.lost)} links")
        elif self.lost:
            costs.append("one link")
        return " and ".join(costs) or "nothing"


def run(rig, scenario, first=NEVER, n=1):
    """One case. Returns its outcome, how many allocations there were, and how many of these failed."""
    case = Case(rig, must_answer=n == 1)
    steps = scenario(case)
    try:
        next(steps)
        case.wait_announced()
        rig.failing.begin(first, n)
        try:
            next(steps)
            case.wait_announced()
        finally:
            n_allocations, n_failed = rig.failing.end()
        for _ in steps:
            raise AssertionError("a scenario has three parts")
        for peer in case.peers:
            peer.leave()
        rig.check()
    except (ServiceFailure, TimeoutError, ConnectionError) as error:
        rig.explain(error)
    finally:
        for peer in case.peers:
            peer.leave()
    return case.outcome(), n_allocations, n_failed


def choose(n, burst, every=1):
    """Numbers of allocations, out of n"""
    few = FEW if burst == 1 else FEW_BURSTS
    return range(1, n + 1, every) if ALL else sorted({1 + (n - 1) * (2 * i + 1) // (2 * few) for i in range(few)})


def show(what, n, burst, table):
    failures = "1 fails" if burst == 1 else "all further ones fail" if burst == LASTING else f"{burst} fail"
    say(f"{what}: {n} allocations, {failures}: " + ", ".join(f"{outcome} {count}" for outcome, count in sorted(table.items())))


class MemoryTest(unittest.TestCase):
    def setUp(self):
        self.rig = self.make_rig()

    def tearDown(self):
        self.rig.finish()

    @staticmethod
    def make_rig():
        return Rig({"GraceSec": "20"})

    def attempt(self, table, what, function):
        """One case, which begins its result with what it cost. After one that fails, the next has a service of its own."""
        with self.subTest(what):
            try:
                outcome = function()[0]
                table[outcome] += 1
                if what.endswith(", 1") and outcome not in ONE_LOSS:
                    raise AssertionError(f"one failure cost {outcome}:\n" + self.rig.service._tail())
            except BaseException:
                self.rig.abandon()
                self.rig = self.make_rig()
                raise

    def sweep(self, *scenarios, bursts=(1, BURST), every=1):
        for scenario in scenarios:
            run(self.rig, scenario)  # what is done once
            outcome, n, _ = run(self.rig, scenario)
            self.assertEqual(outcome, "nothing")
            for burst in bursts:
                table = Counter()
                for i in choose(n, burst, every):
                    self.attempt(table, f"{scenario.__name__}, {i}, {burst}", lambda: run(self.rig, scenario, i, burst))
                show(scenario.__name__, n, burst, table)
        self.rig.stop()


def main():
    if not shutil.which("dbus-daemon"):
        print("SKIP: there is no dbus-daemon")
        sys.exit(service.SKIP_STATUS)
    if ALL:
        sys.argv.remove("--all")
    service.main()
