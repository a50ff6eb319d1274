#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Services beside the main one: instances of the system, and one that a user has for themselves."""

import os

import machine

CRASH_LOOP = "/etc/systemd/system/directserver@loop.service.d/50-false.conf"
DROP_INS = "/etc/directserver/directserver@alpha.conf.d"
PORT = "/etc/systemd/system/directserver@alpha.socket.d/50-port.conf"


def unit(name):
    return f"directserver@{name}.service" if name else machine.UNIT


def server(name):
    return "--server=unix:" + os.path.join("/run/directserver", name, "directserver.sock")


class InstancesTest(machine.SharedMachineTest):
    def start(self, *names):
        self.machine.systemctl("start", *[unit(name) for name in names])

    def stop(self, *names):
        services = [unit(name) for name in names]
        self.machine.systemctl("stop", *services, *[service.replace(".service", ".socket") for service in services])

    def send(self, client, name, text):
        self.machine.run("directclient", server(name), "send", client.name, stdin=text, user=machine.NOBODY)
        client.wait_for(f": {text}")

    def directctl(self, name, *arguments, **keywords):
        instance = [f"--instance={name}"] if name else []
        return self.machine.run("directctl", *instance, "--no-ask-password", *arguments, **keywords)


class Instances(InstancesTest):
    def test_beside_each_other(self):
        """None sees the others' clients; each has its own sockets, name, configuration and state."""
        self.machine.put(PORT, "[Socket]\nListenStream=127.0.0.1:20001\n")
        self.machine.put("/etc/directserver/directserver@alpha.conf", "[Server]\nMaxClients=5\n")
        self.machine.systemctl("daemon-reload")
        self.addCleanup(self.machine.shell, f"rm -r {PORT} /etc/directserver/directserver@alpha.*; systemctl daemon-reload")
        names = ("", "alpha", "be_t-a")
        self.start(*names)
        self.addCleanup(self.stop, *names[1:])
        clients = {name: self.listen(f"of-{name}", server(name)) for name in names}
        for name, client in clients.items():
            self.assertEqual(client.id, 1 if name else clients[""].id)
            self.send(client, name, f"to {name}")
            for user in (None, machine.NOBODY):
                listed = self.directctl(name, "--no-legend", "list", user=user)
                self.assertEqual([line.split()[0] for line in listed.splitlines()], [f"of-{name}"])
            state = f"/var/lib/directserver/instances/{name}" if name else "/var/lib/directserver"
            self.assertTrue(self.machine.exists(f"{state}/next-id"), state)
        self.machine.run("directclient", "--server=127.0.0.1:20001", "send", "of-alpha", stdin="by its port")
        clients["alpha"].wait_for("by its port")
        self.machine.run("directclient", "--server=127.0.0.1:20000", "send", "of-alpha", stdin="no", status=1)
        acquired = self.machine.busctl("list", "--acquired", "--no-legend").split()
        self.assertLessEqual({f"{machine.BUS}.alpha", f"{machine.BUS}.be_t-a", machine.BUS}, set(acquired))
        self.check_who_may(clients)

    def check_who_may(self, clients):
        manager = (f"{machine.BUS}.alpha", *machine.MANAGER[1:])
        self.assertEqual(self.machine.busctl("get-property", *manager, "Clients", user=machine.NOBODY), "t 1")
        for arguments in (("kick", "of-alpha"), ("reload",)):
            self.directctl("alpha", *arguments, user=machine.NOBODY, status=1)
            self.assertIn("authentication", self.machine.errors)
        self.machine.busctl("call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su",
                            f"{machine.BUS}.evil", "4", user=machine.NOBODY, status=1)
        self.assertEqual(self.machine.errors, "Call failed: Access denied\n")
        self.directctl("alpha", "kick", "of-alpha", "Time to go")
        clients["alpha"].wait_for("kicked by the administrator: Time to go")
        self.send(clients["be_t-a"], "be_t-a", "still here")
        for name in ("gamma", "9x"):
            self.directctl(name, "list", status=1)

    def test_reload(self):
        """Each has its own configuration, and systemctl and directctl say what is wrong with it."""
        self.start("alpha")
        self.addCleanup(self.stop, "alpha")
        self.machine.put(f"{DROP_INS}/50-mine.conf", "[Server]\nMaxClients=x\n")
        self.addCleanup(self.machine.run, "rm", "-r", DROP_INS)
        self.machine.systemctl("reload", unit("alpha"), status=1)
        last = self.machine.journal("-u", unit("alpha"), "_COMM=directserver")[-1]
        self.assertIn(f"{DROP_INS}/50-mine.conf:2: ", last["MESSAGE"])
        self.machine.systemctl("reload", machine.UNIT)
        self.machine.put(f"{DROP_INS}/50-mine.conf", "[Server]\nMaxClients=7\n")
        self.directctl("alpha", "reload")
        self.machine.systemctl("reload", unit("alpha"))
        shown = self.machine.run("systemd-analyze", "cat-config", "directserver/directserver@alpha.conf")
        self.assertIn("MaxClients=7", shown)

    def test_restarts(self):
        """20 in a row, of two at once, of which no client notices anything; and a crash is the instance's own."""
        self.start("", "alpha")
        self.addCleanup(self.stop, "alpha")
        clients = {name: self.listen("alice", server(name)) for name in ("", "alpha")}
        self.machine.shell(f"for i in {{1..20}}; do systemctl restart {machine.UNIT} {unit('alpha')}; done")
        for name, client in clients.items():
            self.send(client, name, "after")
            self.assertNotIn("lost", client.said)
            messages = [entry["MESSAGE"] for entry in self.machine.journal("-u", unit(name))]
            self.assertEqual(len([text for text in messages if "Took over 1 connections" in text]), 20)
        self.machine.systemctl("kill", "--signal=KILL", unit("alpha"))
        self.assertIn(f"as alice ({clients['alpha'].id})", clients["alpha"].wait_for("connected again"))
        self.send(clients[""], "", "nothing happened")
        self.assertNotIn("lost", clients[""].said)
        self.assertEqual((self.machine.show("NRestarts"), self.machine.show("NRestarts", unit("alpha"))), ("0", "1"))

    def test_names(self):
        """What can't be one is told, once, without further attempts; the longest, and one like a file of the state, can."""
        for bad in ("9bad", r"a\x20b", "a" * 64):
            self.machine.systemctl("start", unit(bad), status=1)
            self.assertEqual(self.machine.show("NRestarts", unit(bad)), "0")
            self.assertEqual(self.machine.show("ExecMainStatus", unit(bad)), "2")
            said = [entry["MESSAGE"] for entry in self.machine.journal("-u", unit(bad))]
            self.assertTrue([text for text in said if "--instance=" in text], said)
            self.stop(bad)
        for good in ("a" * 63, "resumable"):
            self.start(good)
            self.machine.run("directclient", server(good), "list", user=machine.NOBODY)
            self.directctl(good, "list", user=machine.NOBODY)
            self.machine.systemctl("restart", machine.UNIT)
            self.stop(good)
        self.machine.systemctl("reset-failed")

    def test_crash_loop(self):
        """It is given up, and does not disturb the others."""
        shipped = {"StartLimitIntervalUSec": "2min", "StartLimitBurst": "100", "RestartUSec": "100ms"}
        self.assertEqual({name: self.machine.show(name, unit("loop")) for name in shipped}, shipped)
        self.machine.put(CRASH_LOOP, "[Unit]\nStartLimitBurst=4\n[Service]\nExecStart=\nExecStart=/bin/false\n")
        self.machine.systemctl("daemon-reload")
        client = self.listen("alice")
        self.machine.systemctl("start", unit("loop"), status=1)
        self.machine.wait_for(lambda: self.machine.show("ActiveState", unit("loop")) == "failed", "the end of it")
        self.assertEqual(self.machine.show("NRestarts", unit("loop")), "4")
        self.assertTrue([entry for entry in self.machine.journal("_PID=1", f"UNIT={unit('loop')}")
                         if "Start request repeated too quickly" in entry["MESSAGE"]])
        self.send(client, "", "nothing happened")
        self.machine.run("rm", CRASH_LOOP)
        self.machine.systemctl("daemon-reload")
        self.stop("loop")
        self.machine.systemctl("reset-failed")
        self.start("loop")
        self.stop("loop")


class Packages(InstancesTest):
    def test_upgrade_and_purge(self):
        """An upgrade restarts those that run, which keeps their connections; a removal stops them, and a purge leaves nothing."""
        names = ("", "alpha", "beta")
        self.machine.systemctl("enable", "--now", unit("alpha"))
        self.machine.systemctl("enable", unit("idle"))
        self.start("beta")
        clients = {name: self.listen("alice", server(name)) for name in names}
        before = {name: self.machine.show("MainPID", unit(name)) for name in names}
        self.machine.install("directserver")
        for name, client in clients.items():
            self.assertNotIn(self.machine.show("MainPID", unit(name)), ("0", before[name]))
            self.send(client, name, "after the upgrade")
            self.assertNotIn("lost", client.said)
        self.assertEqual(self.machine.systemctl("is-active", unit("idle"), status=3), "inactive")

        self.machine.run("apt-get", "remove", "-qy", "directserver")
        for client in clients.values():
            client.wait_for("is stopping")
        self.assertEqual(self.machine.systemctl("list-units", "--no-legend", "--state=loaded,active,failed", "directserver*"), "")
        self.machine.install("directserver")
        self.assertEqual(self.machine.systemctl("is-enabled", unit("alpha"), unit("idle")), "enabled\nenabled")
        self.start("alpha")

        self.machine.run("apt-get", "purge", "-qy", "directserver")
        self.assertEqual(self.machine.run("find", "/etc", "/run", "/var/lib/systemd", "-xdev", "-name", "*directserver*"), "")
        self.assertFalse(self.machine.exists("/var/lib/directserver"))
        self.assertEqual(self.machine.systemctl("list-units", "--all", "--no-legend", "directserver*"), "")
        self.assertNotIn(machine.BUS, self.machine.busctl("list"))


class User(InstancesTest):
    """The unit for a user, who needs nobody for it but once for lingering"""

    def joe(self, *arguments, **keywords):
        return self.machine.run("setpriv", "--reuid=joe", "--regid=joe", "--init-groups", "env", "--chdir=/home/joe",
                                "HOME=/home/joe", "USER=joe", f"XDG_RUNTIME_DIR=/run/user/{self.uid}", *arguments,
                                **keywords).strip()

    def setUp(self):
        self.machine.run("useradd", "--create-home", "joe")
        self.uid = self.machine.run("id", "-u", "joe").strip()
        self.machine.run("loginctl", "enable-linger", "joe")
        self.machine.wait_for(lambda: self.machine.exists(f"/run/user/{self.uid}/bus"), "the bus of joe")
        self.socket = f"/run/user/{self.uid}/directserver.sock"

    def test_user(self):
        status = self.joe("systemctl", "--user", "is-enabled", "directserver.socket", status=1)
        self.assertEqual(status, "disabled")
        self.joe("systemctl", "--user", "enable", "--now", "directserver.socket")
        self.assert_active("inactive", 3)
        self.assertIn("0 clients", self.joe("directclient", "list"))
        self.assert_active("active")
        self.assertIn("Ready.", self.joe("journalctl", "--user", "-u", "directserver", "-o", "cat"))
        owners = self.machine.run("stat", "-c", "%U %a", self.socket, "/home/joe/.local/state/directserver")
        self.assertEqual(owners, "joe 600\njoe 700\n")

        alice = self.listen("alice", f"--server=unix:{self.socket}", user=int(self.uid))
        self.machine.run("directclient", f"--server=unix:{self.socket}", "list", user=machine.NOBODY, status=3)
        self.joe("systemctl", "--user", "reload", "directserver")
        for _ in range(20):
            self.joe("systemctl", "--user", "restart", "directserver")
        self.joe("directclient", "send", "alice", stdin="after")
        alice.wait_for("after")
        self.assertNotIn("lost", alice.said)
        self.assertRegex(self.joe("directctl", "--user", "--no-legend", "list"), r"^alice ")
        self.assertEqual(self.joe("directctl", "--no-legend", "list"), "")  # that of the system, beside it
        self.joe("directctl", "--user", "kick", "alice", "Time to go")
        alice.wait_for("Time to go")

        self.joe("systemctl", "--user", "stop", "directserver.service")
        self.joe("busctl", "--user", "call", machine.BUS, "/", "org.freedesktop.DBus.Peer", "Ping")
        self.assert_active("active")
        status = self.joe("sh", "-c", "cat /proc/$(systemctl --user show -P MainPID directserver)/status")
        self.assertRegex(status, r"(?s)NoNewPrivs:\t1\n.*Seccomp:\t2\n")

        bob = self.listen("bob", f"--server=unix:{self.socket}", user=int(self.uid))
        self.joe("systemctl", "--user", "stop", "directserver.service", "directserver.socket")
        bob.wait_for("is stopping")
        self.assertFalse(self.machine.exists(self.socket))
        self.joe("systemctl", "--user", "enable", "--now", "directserver.service")
        self.assertIn(f"as bob ({bob.id})", bob.wait_for("connected again"))
        self.assertEqual(self.machine.systemctl("is-active", machine.UNIT), "active")

    def assert_active(self, state, status=0):
        self.assertEqual(self.joe("systemctl", "--user", "is-active", "directserver.service", status=status), state)


if __name__ == "__main__":
    machine.main()
