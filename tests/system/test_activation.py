#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who starts the service, what it does where there is no bus, and what systemd does for it when it hangs or dies."""

import re
import resource

import machine
from crowd import Crowd, LOCAL, TCP

SOCKET = LOCAL.removeprefix("unix:")
BUS_UNITS = ("dbus.socket", "dbus.service")
BUS_LOST = "MESSAGE_ID=054cd695963d480bade496d33ad2fd29"


class Activation(machine.SharedMachineTest):
    def stop(self):
        self.machine.systemctl("stop", machine.UNIT)
        self.assertEqual(self.machine.systemctl("is-active", machine.UNIT, status=3), "inactive")

    def assert_running(self):
        self.assertEqual(self.machine.systemctl("is-active", machine.UNIT, "directserver.socket"), "active\nactive")
        self.assertEqual(self.machine.show("NRestarts"), "0")

    def test_by_connections(self):
        """By the first that comes, on each of its sockets, and none of many is turned away."""
        for server in (LOCAL, TCP):
            self.stop()
            self.machine.run("directclient", f"--server={server}", "list", user=machine.NOBODY)
            self.assert_running()
        self.stop()
        crowd = Crowd(self.machine, LOCAL, 1000, 500).wait()
        self.assert_running()
        self.assertEqual(crowd.finish()["connected"], 1000)

    def test_by_a_client_that_was_there(self):
        """Who is told that the service stops comes back, and so starts it. For good, the socket has to be stopped as well."""
        client = self.listen("alice")
        self.machine.systemctl("stop", machine.UNIT)
        client.wait_for("is stopping")
        self.assertIn(f"as alice ({client.id})", client.wait_for("connected again"))
        self.assert_running()

        self.machine.systemctl("stop", machine.UNIT, "directserver.socket")
        client.wait_for("is stopping")
        for path in (SOCKET, f"{SOCKET}.lock"):
            self.assertFalse(self.machine.exists(path), path)
        self.machine.run("directclient", "list", user=machine.NOBODY, status=3)
        self.assertEqual(self.machine.systemctl("is-active", machine.UNIT, "directserver.socket", status=3), "inactive\ninactive")
        self.machine.systemctl("start", machine.UNIT)
        self.assertIn(f"as alice ({client.id})", client.wait_for("connected again"))

    def test_by_the_bus(self):
        for user in (None, machine.NOBODY):
            self.stop()
            self.assertIn(machine.BUS, self.machine.busctl("list", "--activatable"))
            self.machine.busctl("call", machine.BUS, "/", "org.freedesktop.DBus.Peer", "Ping", user=user)
            self.assert_running()
        self.stop()
        self.machine.run("directctl", "status", user=machine.NOBODY, status=1)  # who only looks finds it as it is
        self.assertIn("does not run", self.machine.errors)
        self.assertEqual(self.machine.systemctl("is-active", machine.UNIT, status=3), "inactive")


class WithoutBus(machine.SharedMachineTest):
    def send(self, client, text):
        self.machine.run("directclient", "send", client.name, stdin=text, user=machine.NOBODY)
        client.wait_for(f": {text}")

    def wait_for_name(self):
        self.machine.wait_for(lambda: machine.BUS in self.machine.busctl("list", "--acquired", "--no-legend"), "its name")

    def test_bus_goes_and_comes(self):
        """It serves all the while, says once that there is no bus, and has its name again when there is one."""
        client = self.listen("alice")
        self.machine.systemctl("stop", *BUS_UNITS)
        self.machine.wait_for(lambda: self.machine.journal("-u", machine.UNIT, BUS_LOST), "news of the bus")
        self.machine.busctl("list", status=1)
        self.send(client, "without")
        self.machine.systemctl("start", "dbus.socket")
        self.wait_for_name()
        self.assertIn(f'{client.id} "alice"', self.machine.call("ListClients"))
        self.send(client, "with")
        self.assertNotIn("lost", client.said)
        self.assertEqual(len(self.machine.journal("-u", machine.UNIT, BUS_LOST)), 1)
        self.assertEqual(self.machine.show("NRestarts"), "0")

    def test_started_without(self):
        client = self.listen("alice")
        self.machine.systemctl("mask", "--runtime", "--now", *BUS_UNITS)
        before = self.machine.show("MainPID")
        self.machine.systemctl("restart", machine.UNIT)
        self.assertNotEqual(self.machine.show("MainPID"), before)
        self.send(client, "restarted")
        self.assertNotIn("lost", client.said)  # nobody could say that it was a restart, and it was one

        self.machine.systemctl("stop", machine.UNIT)
        self.assertIn(f"as alice ({client.id})", client.wait_for("connected again"))
        self.send(client, "started")
        self.machine.systemctl("unmask", "--runtime", *BUS_UNITS)
        self.machine.systemctl("start", "dbus.socket")
        self.wait_for_name()
        self.assertIn(f'{client.id} "alice"', self.machine.call("ListClients"))


class Care(machine.SharedMachineTest):
    def test_watchdog(self):
        """One that hangs is ended and started anew, and nobody loses a message by that."""
        self.assertEqual(self.machine.show("WatchdogUSec"), "30s")
        self.machine.put("/etc/systemd/system/directserver.service.d/50-soon.conf", "[Service]\nWatchdogSec=2s\n")
        self.addCleanup(self.machine.shell, "rm -r /etc/systemd/system/directserver.service.d && systemctl daemon-reload")
        self.machine.systemctl("daemon-reload")
        self.machine.systemctl("restart", machine.UNIT)
        crowd = Crowd(self.machine, LOCAL, 100, 500).wait()
        self.machine.run("kill", "-STOP", self.machine.show("MainPID"))
        self.machine.wait_for(lambda: crowd.report()["connected"] == 2 * crowd.clients, "the crowd")
        self.assertEqual(self.machine.show("NRestarts"), "1")
        crowd.finish()
        messages = [entry["MESSAGE"] for entry in self.machine.journal("_PID=1", f"UNIT={machine.UNIT}")]
        self.assertTrue([text for text in messages if re.search(r"Watchdog timeout \(limit 2s\)", text)], messages)
        self.assertTrue([text for text in messages if "Failed with result 'watchdog'" in text], messages)

    def test_crash(self):
        """The same for one that is killed"""
        crowd = Crowd(self.machine, LOCAL, 100, 500).wait()
        before = self.machine.show("MainPID")
        self.machine.systemctl("kill", "--signal=KILL", machine.UNIT)
        self.machine.wait_for(lambda: crowd.report()["connected"] == 2 * crowd.clients, "the crowd")
        self.assertNotIn(self.machine.show("MainPID"), ("0", before))
        self.assertEqual(self.machine.show("NRestarts"), "1")
        last = crowd.finish()
        self.assertEqual((last["received"], last["delivered"]), (last["sent"], last["sent"]))
        self.assertEqual(self.machine.systemctl("is-system-running"), "running")

    def test_limits(self):
        """What the unit asks for is what the process has."""
        pid = self.machine.show("MainPID")
        shown = {name: self.machine.show(name) for name in ("OOMPolicy", "Restart", "LimitNOFILE", "TasksMax", "User", "Group")}
        self.assertEqual(shown, {"OOMPolicy": "stop", "Restart": "on-failure", "LimitNOFILE": "65536", "TasksMax": "64",
                                 "User": "directserver", "Group": "directserver"})
        _, most = resource.prlimit(self.machine.leader, resource.RLIMIT_NOFILE)  # a container may not have as many
        limits = self.machine.run("cat", f"/proc/{pid}/limits")
        self.assertRegex(limits, rf"(?m)^Max open files +{min(65536, most)} +{min(65536, most)} +files")
        status = dict(re.findall(r"(?m)^(\w+):\s*(.*)$", self.machine.run("cat", f"/proc/{pid}/status")))
        user = self.machine.run("id", "-u", "directserver").strip()
        self.assertEqual(status["Uid"].split(), [user] * 4)
        self.assertEqual(status["Umask"], "0077")
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)


if __name__ == "__main__":
    machine.main()
