#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the packages make of a machine that has never seen them, what a user meets there who does as README says, and that nothing
is left when they are purged."""

import os
import re

import machine

ALL = ("directserver", "directserver-tools", "libdirectclient0", "libdirectclient-dev")
README = os.path.join(os.environ.get("SYSTEM_SOURCE", ""), "README.md")


def installing():
    """The commands of README's section, as they stand there, from the packages on: these are built"""
    with open(README, encoding="utf-8") as f:
        section = re.search(r"^## Installing\n(.*?)^## ", f.read(), re.M | re.S).group(1)
    commands = re.search(r"^```sh\n(.*?)^```", section, re.M | re.S).group(1).splitlines()
    return commands[commands.index("make deb") + 1:]


def first_program():
    with open(README, encoding="utf-8") as f:
        return re.search(r"^```c\n(.*?)^```", f.read(), re.M | re.S).group(1)


class Install(machine.MachineTest):
    PACKAGES = ()

    def files(self):
        """All that is there, but for what dpkg, apt, systemd and the kernel keep for themselves"""
        own = r"^/(var/lib/(dpkg|apt|systemd)|var/cache|var/log|proc|sys|dev|run|tmp|var/tmp|packages|before|programs)(/|$)"
        return {line for line in self.machine.run("find", "/", "-xdev", "-print").splitlines() if not re.match(own, line)}

    def test_first_install(self):
        """It runs at the first attempt, with what it needs, and what is in the packages' own tests holds."""
        self.machine.install(*ALL)
        self.assertEqual(self.machine.systemctl("is-active", machine.UNIT, "directserver.socket"), "active\nactive")
        self.assertEqual(self.machine.systemctl("is-enabled", machine.UNIT, "directserver.socket"), "enabled\nenabled")
        self.assertEqual(self.machine.show("NRestarts"), "0")
        self.assertEqual(self.machine.systemctl("is-system-running"), "running")
        # The bus reads the policy as soon as it is unpacked, which is before a package can make the user; and again afterwards
        bad = {entry["MESSAGE"] for entry in self.machine.journal("-p", "warning", "--boot")
               if re.search("directserver|directclient", str(entry))}
        self.assertLessEqual(bad, {'Unknown username "directserver" in message bus configuration file'})
        for name in ("smoke", "build-client"):
            with open(os.path.join(os.path.dirname(README), "packaging/debian/tests", name), encoding="utf-8") as f:
                self.machine.run("sh", "-c", 'export AUTOPKGTEST_TMP="$(mktemp -d)"; exec sh -s', stdin=f.read())

    def test_as_in_readme(self):
        """A user's first ten minutes, typed as they stand there"""
        self.machine.shell("mkdir -p /root/build && ln -s /packages /root/build/deb")
        self.machine.put("/root/first.c", first_program())
        commands = installing()
        for command in ("apt install", "systemctl start", "busctl", "cc ", "./first", "directctl list"):
            self.assertTrue(any(command in line for line in commands), command)
        self.user = self.machine.start("env", "--chdir=/root", f"PROMPT_COMMAND=echo '{self.PROMPT}'$?", "PS1=", "script", "-qec",
                                       "stty rows 40 cols 130; exec bash --norc", "/dev/null")
        self.wait_for_prompt()
        for command in commands:
            self.type(command)
            if command.endswith("&"):  # a person takes longer than a program that connects
                self.machine.wait_for_client(command.split()[1])
        self.assertIn("How are you?", self.said)
        self.assertRegex(self.said, r"(?m)^alice +1 alive ")

    PROMPT = "= status "
    said = ""  # by the terminal

    def wait_for_prompt(self):
        for line in self.user.stdout:
            self.said += line
            if self.PROMPT in line:  # behind what apt's progress bar leaves
                self.assertEqual(line.rpartition(self.PROMPT)[2].strip(), "0", self.said)
                return
        self.fail(self.said)

    def type(self, command):
        """At the prompt, not before: apt throws away what was typed while it worked."""
        self.user.stdin.write(f"{command}\n")
        self.user.stdin.flush()
        self.wait_for_prompt()

    def test_purge(self):
        """Nothing stays but the user, whose number must not be given to another."""
        before = self.files()
        users = {line.split(":")[0] for line in self.machine.run("getent", "passwd").splitlines()}
        self.machine.install(*ALL)
        self.machine.run("directclient", "list")
        self.machine.put("/etc/directserver/directserver.conf.d/50-mine.conf", "[Server]\nMaxClients=10\n")
        self.machine.systemctl("reload", machine.UNIT)
        self.assertGreater(len(self.files() - before), 50)

        self.machine.run("apt-get", "purge", "-qy", *ALL)
        self.assertEqual(self.files() ^ before, set())
        for path in ("/run/directserver", "/var/lib/directserver",
                     "/etc/systemd/system/multi-user.target.wants/directserver.service"):
            self.assertFalse(self.machine.exists(path), path)
        self.assertEqual(self.machine.run("systemctl", "list-unit-files", "--no-legend", "directserver*", status=None), "")
        self.assertEqual(self.machine.systemctl("is-system-running"), "running")
        self.assertNotIn(machine.BUS, self.machine.busctl("list", "--acquired"))
        self.assertNotIn(machine.BUS, self.machine.busctl("list", "--activatable"))
        after = {line.split(":")[0] for line in self.machine.run("getent", "passwd").splitlines()}
        self.assertEqual(after - users, {"directserver"})

        self.machine.install(*ALL)  # and once more
        self.assertEqual(self.machine.systemctl("is-active", machine.UNIT), "active")
        self.assertEqual(self.machine.show("NRestarts"), "0")


if __name__ == "__main__":
    machine.main()
