#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The key of the resume tokens as a credential of the unit: there or not, another one than before, no key at all, sealed, and
that of an instance."""

import json

import machine

CREDENTIAL = "/etc/credstore/directserver.resume-key"
SEALED = "/etc/credstore.encrypted/directserver.resume-key"
STATE_KEY = "/var/lib/directserver/resume-key"
ADDRESS = "unix:/run/directserver/directserver.sock"
MAKE_KEY = 'mkdir -p /etc/credstore; umask 077; head -c 32 /dev/urandom >"$0"'
IN_USE = "The key of the resume tokens is the credential directserver.resume-key."
ANOTHER = ("Clients of the service that used /var/lib/directserver before can't resume: "
           "the key of its resume tokens was another one.")


class Crowd:
    """Clients that talk to each other all the time"""

    def __init__(self, machine_):
        self.program = machine_.start("/programs/crowd", f"--address={ADDRESS}", "--clients=8", "--rate=200")
        assert self.program.stdout.readline() == "ready\n"

    def ask(self):
        self.program.stdin.write("\n")
        self.program.stdin.flush()
        return json.loads(self.program.stdout.readline())

    def end(self):
        """All has arrived, once, and everybody came back as who they were. Returns the last counts."""
        self.program.stdin.close()
        counts = json.loads(self.program.stdout.read().splitlines()[-1])
        assert self.program.wait(machine.SECONDS) == 0, counts
        assert counts["sent"] == counts["received"] > 0, counts
        return counts


class Credentials(machine.MachineTest):
    def said(self, unit=machine.UNIT):
        """By the service, since it was started last"""
        entries = self.machine.journal(f"_SYSTEMD_INVOCATION_ID={self.machine.show('InvocationID', unit)}")
        return [entry["MESSAGE"] for entry in entries]

    def restart_well(self, unit=machine.UNIT):
        self.machine.systemctl("restart", unit)
        self.assertEqual(self.machine.systemctl("is-active", unit), "active")
        return self.said(unit)

    def test_given_later(self):
        """That of the state directory goes on as a credential, and clients with it; with another one they come anew."""
        self.assertNotIn(IN_USE, self.said())
        self.assertTrue(self.machine.exists(STATE_KEY))
        crowd = Crowd(self.machine)
        self.machine.shell(f"mkdir -p /etc/credstore && mv {STATE_KEY} {CREDENTIAL}")
        said = self.restart_well()
        self.assertIn(IN_USE, said)
        self.assertNotIn(ANOTHER, said)
        self.assertEqual(crowd.ask()["disconnected"], 0)
        self.machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", machine.UNIT)
        self.machine.wait_for(lambda: crowd.ask()["connected"] == 16, "the clients, with their tokens")
        self.assertEqual(crowd.end()["disconnected"], 8)
        self.assertFalse(self.machine.exists(STATE_KEY))

        self.machine.run("sh", "-euc", MAKE_KEY, CREDENTIAL)
        said = self.restart_well()
        self.assertIn(IN_USE, said)
        self.assertIn(ANOTHER, said)
        self.assertNotIn(ANOTHER, self.restart_well())
        self.machine.shell(f"rm {CREDENTIAL}")
        said = self.restart_well()
        self.assertNotIn(IN_USE, said)
        self.assertIn(ANOTHER, said)
        self.assertTrue(self.machine.exists(STATE_KEY))

    def test_no_key(self):
        """A start fails, and says what is wrong and how to mend it, which works."""
        self.machine.systemctl("stop", machine.UNIT, "directserver.socket")
        self.machine.shell(f"mkdir -p /etc/credstore; umask 077; echo short >{CREDENTIAL}")
        self.machine.systemctl("start", machine.UNIT, status=1)
        self.machine.systemctl("stop", machine.UNIT, "directserver.socket")  # it would be tried again
        said = [entry["MESSAGE"] for entry in self.machine.journal("-p", "err", "_COMM=directserver")]
        for line in set(said):
            self.assertRegex(line, r"^/run/credentials/directserver\.service/directserver\.resume-key does not have 32 bytes, "
                                   r".* head -c 32 /dev/urandom >FILE; chmod 600 FILE$")
        self.assertTrue(said)
        self.machine.shell(f"head -c 32 /dev/urandom >{CREDENTIAL}; chmod 600 {CREDENTIAL}")
        self.machine.systemctl("reset-failed", "directserver*")
        self.assertIn(IN_USE, self.restart_well())

    def test_sealed(self):
        """As directserver(8) says. With the key of the host, as there may be no TPM."""
        alpha = "directserver@alpha.service"
        for unit, credential in ((machine.UNIT, "directserver.resume-key"),
                                 (alpha, "directserver.resume-key:directserver@alpha.resume-key")):
            self.machine.put(f"/etc/systemd/system/{unit}.d/50-key.conf", f"[Service]\nLoadCredentialEncrypted={credential}\n")
        self.machine.systemctl("daemon-reload")
        for unit, key, sealed in ((machine.UNIT, STATE_KEY, SEALED),
                                  (alpha, "/var/lib/directserver/instances/alpha/resume-key",
                                   "/etc/credstore.encrypted/directserver@alpha.resume-key")):
            self.assertNotIn(IN_USE, self.restart_well(unit))  # there is none yet
            self.machine.shell(f"mkdir -p /etc/credstore.encrypted; systemd-creds encrypt --with-key=host "
                               f"--name=directserver.resume-key {key} {sealed}; rm {key}")
            said = self.restart_well(unit)
            self.assertIn(IN_USE, said)
            self.assertNotIn(ANOTHER, said)
            self.assertFalse(self.machine.exists(key))

    def test_instance(self):
        """It has its own, and not that of the main service."""
        self.machine.run("sh", "-euc", MAKE_KEY, CREDENTIAL)
        alpha, beta = "directserver@alpha.service", "directserver@beta.service"
        self.machine.run("sh", "-euc", MAKE_KEY, "/etc/credstore/directserver@alpha.resume-key")
        self.assertIn(IN_USE, self.restart_well(alpha))
        self.assertNotIn(IN_USE, self.restart_well(beta))
        self.assertFalse(self.machine.exists("/var/lib/directserver/instances/alpha/resume-key"))
        self.assertTrue(self.machine.exists("/var/lib/directserver/instances/beta/resume-key"))


if __name__ == "__main__":
    machine.main()
