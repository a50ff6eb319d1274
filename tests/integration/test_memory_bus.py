# SPDX-License-Identifier: LGPL-2.1-or-later
"""As test_memory.py, for what is done over D-Bus. sd-bus allocates in the service, too: a failure may cost the call, or the
connection to the bus, which is made again."""

import os

from direct1 import ASK_WATCH, u8, u64
from busclient import Connection
from failing import CLIENT, MANAGER, MANAGER_PATH, NAME, NOBODY, MemoryTest, main


def list_clients(case):
    a = case.client("a")
    case.client("b", case.rig.service.unix)
    yield
    case.manage("ListClients")
    case.manage("GetClient", "s", "a")
    case.manage("GetClient", "s", "nobody", expected=NAME + ".Error.NoSuchClient")
    case.manage("Describe")
    case.call(MANAGER_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    case.call(f"{MANAGER_PATH}/client/{a.id}", "org.freedesktop.DBus.Properties", "GetAll", "s", CLIENT)
    yield


def introspect(case):
    case.client("a")
    yield
    case.call(MANAGER_PATH, "org.freedesktop.DBus.Properties", "GetAll", "s", MANAGER)
    case.call(f"{MANAGER_PATH}/client", "org.freedesktop.DBus.Introspectable", "Introspect")
    yield


def kick(case):
    a, b, c = case.client("a"), case.client("b"), case.client("c")
    a.may_leave = b.may_leave = True
    c.do("ask", ASK_WATCH, u64(0) + u8(1))
    yield
    kicked = [case.manage("KickClient", "ts", a.id, "out"),
              case.call(f"{MANAGER_PATH}/client/{b.id}", CLIENT, "Kick", "s", "out")]
    case.manage("KickClient", "ts", 1 << 50, "", expected=NAME + ".Error.NoSuchClient")
    case.settle()
    yield
    for peer, done in zip((a, b), kicked):
        assert not done or not peer.client, "a kicked client is there"


def kick_by_another(case):
    """A user who needs polkit's permission"""
    a = case.client("a")
    a.may_leave = True
    nobody = Connection(case.rig.bus, NOBODY)
    case.rig.be_polkit()
    yield
    case.manage("KickClient", "ts", a.id, "out", connection=nobody, n_rounds=6)
    yield
    nobody.close()
    case.rig.polkit.close()
    case.rig.polkit = None


def reload(case):
    service = case.rig.service

    def write(text):
        with open(f"{service.directory}/directserver.conf", "w", encoding="utf-8") as f:
            f.write(text)

    write("# A comment\n\n[Server]\nPingIntervalSec=60\nGraceSec=20s\nListen=127.0.0.1:0 unix:/nowhere\n")
    yield
    case.manage("Reload")
    write("[Server]\nPingIntervalSec=61\nGraceSec=never\n")
    case.manage("Reload", expected=NAME + ".Error.InvalidConfiguration")
    write("[Server]\nPingIntervalSec=60\n")
    yield


def lose_bus(case):
    n_before = len(case.rig.service.log())
    case.rig.bus.stop()
    case.rig.service.wait_line("was lost", skip=n_before)
    yield
    case.rig.bus.start()
    case.rig.connect()
    yield


class Bus(MemoryTest):
    def test_calls(self):
        self.sweep(list_clients, introspect, kick, reload)

    def test_polkit(self):
        if os.geteuid() != 0:
            self.skipTest("only root can call as another user")
        self.sweep(kick_by_another)

    def test_connection(self):
        """One failure only: from attempt to attempt it waits for twice as long."""
        self.sweep(lose_bus, bursts=(1,), every=5)


if __name__ == "__main__":
    main()
