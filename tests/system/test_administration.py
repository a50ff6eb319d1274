#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an administrator does with busctl, systemctl and journalctl, what others may do, and that polkit's rules decide about
them."""

import machine

BUS_ERROR = "org.freedesktop.DBus.Error."
CLIENT = "/org/directserver/DirectServer1/client/"
DROP_INS = "/etc/directserver/directserver.conf.d"
RULES = "/etc/polkit-1/rules.d/10-mine.rules"
RULE = """polkit.addRule(function (action, subject) {
        if (action.id == "org.directserver.DirectServer1.%s" && subject.user == "nobody")
                return polkit.Result.%s;
});
"""

# Fields of the journal and what they say, as service/log-messages.h has them
STARTED = "05b5688574a84a29b50a6c4b4f867bc5"
KICKED = "98472ea7d9d24296a160a864fcebf165"
LOST = "54e8f21edb684dd0993669d3b16167c0"
PROTOCOL_ERROR = "f988556adb16467aa88bd0aa3bdc1d35"
REFUSED = "627cc17bc6924539b9da9e31f2b56cd5"
CONFIG_INVALID = "b7f16bd9ccf344a3ac4a7056db63c73a"
RELOADED = "def2fcbed6f44135bbcfb666c33f49f0"


class AdministrationTest(machine.SharedMachineTest):
    def dbus_send(self, method, *arguments, user=None):
        """Says the name of an error, which busctl does not, and does not want anybody to be asked for a password."""
        name, path, interface = machine.MANAGER
        done = self.machine.run("dbus-send", "--system", "--print-reply", f"--dest={name}", path, f"{interface}.{method}",
                                *arguments, user=user, status=None)
        return done + self.machine.errors

    def entries(self, message_id, *matches):
        return self.machine.journal("-u", machine.UNIT, f"MESSAGE_ID={message_id}", *matches)

    def kick(self, client, user=None):
        return self.dbus_send("KickClient", f"uint64:{client.id}", "string:Time to go", user=user)

    def assert_kicked(self, client, who):
        client.wait_for("kicked by the administrator: Time to go")
        self.assertEqual(client.program.wait(machine.SECONDS), 3)
        entry, = self.entries(KICKED, f"CLIENT_ID={client.id}")
        self.assertEqual(entry["MESSAGE"], f"Client {client.name} was kicked by {who}: Time to go.")

    def assert_stays(self, client):
        self.assertIsNone(client.program.poll())
        self.assertIn(f'{client.id} "{client.name}" "alive"', self.machine.call("ListClients"))
        self.assertEqual(client.said.count("\n"), 1)


class Bus(AdministrationTest):
    def test_everybody_may_look(self):
        alice = self.listen("alice")
        name, path, manager = machine.MANAGER
        for user in (None, machine.NOBODY):
            self.assertEqual(self.machine.call("ListClients", user=user),
                             f'a(tsso) 1 {alice.id} "alice" "alive" "{CLIENT}{alice.id}"')
            self.assertEqual(self.machine.call("GetClient", "s", "alice", user=user), f'o "{CLIENT}{alice.id}"')
            self.assertEqual(self.machine.busctl("get-property", *machine.MANAGER, "Clients", user=user), "t 1")
            self.assertIn(f"{CLIENT}{alice.id}\n", self.machine.busctl("tree", name, user=user) + "\n")
            shown = self.machine.busctl("introspect", name, path, manager, user=user)
            self.assertRegex(shown, r"(?m)^\.KickClient +method +ts +- +-$")
            shown = self.machine.busctl("introspect", name, f"{CLIENT}{alice.id}", user=user)
            self.assertRegex(shown, r'(?m)^\.Name +property +s +"alice" +const$')
            self.assertRegex(shown, rf'(?m)^\.Address +property +s +"unix:pid=\d+,uid={machine.NOBODY}" +-$')

    def test_directctl_monitor(self):
        monitor = self.machine.start("directctl", "--json=short", "monitor", user=machine.NOBODY)
        self.addCleanup(machine.end_program, monitor)
        self.machine.wait_for(lambda: "directctl" in self.machine.busctl("list", "--unique"), "the monitor")
        alice = self.listen("alice")
        self.machine.run("directctl", "kick", "alice", "Time to go")
        lines = [monitor.stdout.readline() for _ in range(2)]
        self.assertIn('"alice"', lines[0])
        self.assertIn("kicked", lines[1])
        self.assert_kicked(alice, "uid 0")

    def test_others_are_asked_for_a_password(self):
        """As polkit's defaults want it, and who can't give one is told so, and nothing happens."""
        alice = self.listen("alice")
        needed = f"Error {BUS_ERROR}InteractiveAuthorizationRequired: This needs authentication, which the caller did not allow"
        for said in (self.kick(alice, user=machine.NOBODY), self.dbus_send("Reload", user=machine.NOBODY)):
            self.assertEqual(said.strip(), needed)
        self.machine.call("Reload", user=machine.NOBODY, status=1)  # somebody may be asked, and there is nobody
        self.assertEqual(self.machine.errors, "Call failed: Access denied\n")
        self.machine.run("directctl", "--no-ask-password", "kick", "alice", user=machine.NOBODY, status=1)
        self.assertIn("authentication", self.machine.errors)
        self.assert_stays(alice)
        self.assertEqual(self.machine.systemctl("is-active", "polkit.service"), "active")

    def test_root_may(self):
        alice, bob = self.listen("alice"), self.listen("bob")
        self.assertIn("method return", self.kick(alice))
        self.assert_kicked(alice, "uid 0")
        self.assertIn(f"Error {machine.BUS}.Error.NoSuchClient: There is no such client", self.kick(alice))
        self.assertIn("method return", self.dbus_send("Reload"))
        self.assert_stays(bob)

    def test_rules(self):
        """A file of rules lets somebody in, to what it names, or keeps them out of all."""
        def rule(text):
            self.machine.put(RULES, text)
            self.machine.systemctl("restart", "polkit.service")

        self.addCleanup(self.machine.run, "rm", "-f", RULES)
        alice, bob = self.listen("alice"), self.listen("bob")
        rule(RULE % ("kick-client", "YES"))
        self.assertIn("method return", self.kick(alice, user=machine.NOBODY))
        self.assert_kicked(alice, f"uid {machine.NOBODY}")
        self.assertIn("InteractiveAuthorizationRequired", self.dbus_send("Reload", user=machine.NOBODY))

        rule(RULE % ("kick-client", "NO") + RULE % ("reload", "YES"))
        self.assertEqual(self.kick(bob, user=machine.NOBODY).strip(), f"Error {BUS_ERROR}AccessDenied: This is not allowed")
        self.assertIn("method return", self.dbus_send("Reload", user=machine.NOBODY))
        self.assert_stays(bob)
        self.assertIn("method return", self.kick(bob))  # root is asked for nothing
        self.assert_kicked(bob, "uid 0")

    def test_fields(self):
        """Who looks for one thing, or one client, finds it by its fields; and below it what it means, with -x."""
        victim, dying, left = self.listen("victim"), self.listen("dying", "--server=127.0.0.1:20000"), self.listen("left")
        self.kick(victim)
        self.assert_kicked(victim, "uid 0")
        self.machine.run("kill", "-KILL", str(dying.pid))
        self.machine.run("kill", "-TERM", str(left.pid))
        self.machine.shell("exec 3<>/dev/tcp/127.0.0.1/20000; echo 'GET / HTTP/1.0' >&3; cat <&3")
        self.machine.wait_for(lambda: self.machine.call("ListClients") == "a(tsso) 0", "the end of all")
        self.assertEqual(self.entries(LOST, f"CLIENT_ID={left.id}"), [])

        entry, = self.entries(KICKED, "CLIENT_NAME=victim")
        self.assert_fields(entry, PRIORITY="5", CLIENT_NAME="victim", CLIENT_ID=str(victim.id), REASON="Time to go",
                           CLIENT_ADDRESS=f"unix:pid={victim.pid},uid={machine.NOBODY}", SYSLOG_IDENTIFIER="directserver")
        entry, = self.entries(LOST, f"CLIENT_ID={dying.id}")
        self.assert_fields(entry, CLIENT_NAME="dying", CLIENT_ID=str(dying.id), REASON="died")
        entry, = self.entries(PROTOCOL_ERROR)
        self.assertRegex(entry["CLIENT_ADDRESS"], r"^127\.0\.0\.1:\d+$")
        self.assert_fields(entry, PRIORITY="4")
        entry, = self.entries(STARTED)
        self.assert_fields(entry, PRIORITY="6", MESSAGE="Ready.", _UID=self.machine.run("id", "-u", "directserver").strip())
        self.assertEqual([entry["CLIENT_NAME"] for entry in self.machine.journal("CLIENT_NAME=victim")], ["victim"])

        explained = self.machine.run("journalctl", "-x", "--no-hostname", "-u", machine.UNIT)
        for text in ("Subject: Client victim was ended by an administrator", f"(id\n░░ {victim.id})",
                     "Subject: Client dying was lost", "Subject: DirectServer is ready",
                     "does not speak the protocol", "Documentation: man:directctl(1)"):
            self.assertIn(text, explained)
        self.assertNotIn("@CLIENT", explained)

    def assert_fields(self, entry, **fields):
        self.assertEqual({name: entry.get(name) for name in fields}, fields, entry)


class Configuration(AdministrationTest):
    def test_reload(self):
        """What is wrong is named, and all of the old configuration stays. What is right is in force, and nobody loses a link."""
        self.addCleanup(self.machine.shell, f"rm -r {DROP_INS}; systemctl reload {machine.UNIT}")
        alice, bob = self.listen("alice"), self.listen("bob")
        self.machine.put(f"{DROP_INS}/50-mine.conf", "[Server]\nMaxClients=2\n")
        self.machine.systemctl("reload", machine.UNIT)
        uid = self.machine.run("id", "-u", "directserver").strip()  # whom systemd has ask for it: see ExecReload=
        said = self.entries(RELOADED)[-1]["MESSAGE"]
        self.assertEqual(said, f"Configuration reloaded, as uid {uid} asked; changed: MaxClients.")
        self.assert_full()

        self.machine.put(f"{DROP_INS}/50-mine.conf", "[Server]\nMaxClients=100\n")
        self.machine.put(f"{DROP_INS}/60-bad.conf", "[Server]\n\nPingIntervalSec=often\n")
        wrong = f"{DROP_INS}/60-bad.conf:3: PingIntervalSec=often "
        self.machine.systemctl("reload", machine.UNIT, status=1)
        self.assertIn("journalctl", self.machine.errors)
        self.assertIn(f"The configuration stays as it was: {wrong}", self.entries(CONFIG_INVALID)[-1]["MESSAGE"])
        self.assertIn(f"Call failed: {wrong}", self.machine.run("journalctl", "-u", machine.UNIT, "-o", "cat"))
        self.machine.run("directctl", "reload", status=1)
        self.assertIn(wrong, self.machine.errors)
        self.assertIn(f"Error {machine.BUS}.Error.InvalidConfiguration: {wrong}", self.dbus_send("Reload"))
        self.assert_full()
        self.assertEqual(self.machine.systemctl("is-active", machine.UNIT), "active")

        self.machine.put(f"{DROP_INS}/60-bad.conf", "[Server]\nPingIntervalSec=20\n")
        self.machine.systemctl("reload", machine.UNIT)
        for key in ("MaxClients", "PingIntervalSec"):
            self.assertIn(key, self.entries(RELOADED)[-1]["MESSAGE"])
        self.machine.run("directclient", "list", user=machine.NOBODY)
        self.assert_stays(alice)
        self.assert_stays(bob)
        shown = self.machine.run("systemd-analyze", "cat-config", "directserver/directserver.conf")
        self.assertRegex(shown, r"(?s)# /etc/directserver/directserver\.conf\n.*#MaxClients=16384\n"
                                rf".*# {DROP_INS}/50-mine\.conf\n.*MaxClients=100\n.*# {DROP_INS}/60-bad\.conf\n")

    def assert_full(self):
        self.machine.run("directclient", "list", user=machine.NOBODY, status=3)
        self.assertIn("as many clients as it is allowed (MaxClients=)", self.machine.errors)
        self.assertEqual(self.entries(REFUSED)[-1]["REASON"], "full")

    def test_wrong_at_start(self):
        """It does not run before that is mended, and then does by itself, at the next attempt. Who connects meanwhile waits."""
        self.addCleanup(self.machine.shell, f"rm -fr {DROP_INS}; systemctl restart {machine.UNIT}")
        alice = self.listen("alice")
        self.machine.put(f"{DROP_INS}/60-bad.conf", "[Server]\nPingInterval=20\n")
        before = len(self.entries(CONFIG_INVALID))
        self.machine.systemctl("restart", machine.UNIT, status=1)
        self.assertIn(f"{DROP_INS}/60-bad.conf:2: ", self.entries(CONFIG_INVALID)[before]["MESSAGE"])
        self.machine.run("rm", f"{DROP_INS}/60-bad.conf")
        self.machine.run("directclient", "send", "alice", stdin="so it is", user=machine.NOBODY)
        alice.wait_for("so it is")
        self.assertNotIn("lost", alice.said)


if __name__ == "__main__":
    machine.main()
