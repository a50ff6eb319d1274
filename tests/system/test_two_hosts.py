#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two machines with a network between them: a service on one, opened to that network as directserver(8) says, and a client on
each."""

import os
import subprocess

import machine

ADDRESS = "10.77.0.1"
PORT = 20000
FAR = f"{ADDRESS}:{PORT}"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, timeout=machine.SECONDS)


class TwoHosts(machine.MachineTest):
    def setUp(self):
        spaces = [f"ds-{os.getpid()}-{i}" for i in (1, 2)]
        for i, space in enumerate(spaces):
            ip("netns", "add", space)
            self.addCleanup(ip, "netns", "del", space)
            if i == 0:
                ip("-n", space, "link", "add", "lan", "type", "veth", "peer", "name", "other")
            else:
                ip("-n", spaces[0], "link", "set", "other", "netns", space, "name", "lan")
        for i, space in enumerate(spaces):
            ip("-n", space, "address", "add", f"10.77.0.{i + 1}/24", "dev", "lan")
            ip("-n", space, "link", "set", "lan", "up")
            ip("-n", space, "link", "set", "lo", "up")
        self.near = self.machine = self.boot("near", network=spaces[0])
        self.far = machine.Machine("far", network=spaces[1])
        self.addCleanup(self.far.close)
        self.far.install("directserver-tools", "libdirectclient0")
        self.far_space = spaces[1]

    def open(self):
        self.near.put("/etc/systemd/system/directserver.socket.d/network.conf", f"[Socket]\nListenStream={FAR}\n")
        self.near.put("/etc/directserver/directserver.conf.d/network.conf", "[Server]\nGraceSec=10s\nKernelTimeoutSec=2s\n")
        self.near.systemctl("daemon-reload")
        self.near.systemctl("restart", "directserver.socket", machine.UNIT)

    def listen(self, host, name, *options):
        listener = host.start("directclient", *options, f"--name={name}", "listen", "--raw")
        self.near.wait_for_client(name)
        return listener

    def state(self, name):
        clients = self.near.call("ListClients").split()
        return clients[clients.index(f'"{name}"') + 1].strip('"') if f'"{name}"' in clients else "gone"

    def wait_for_state(self, name, *states):
        self.near.wait_for(lambda: self.state(name) in states, f"{name} {states}")

    def send(self, host, name, text, *options):
        host.run("directclient", *options, "send", name, stdin=text)

    def heard(self, listener, text):
        self.assertEqual(listener.stdout.read(len(text)), text)

    def test_closed_until_opened(self):
        """Nobody else reaches it until the administrator has said so."""
        self.far.run("directclient", f"--server={FAR}", "list", status=3)
        self.assertIn("Connection refused", self.far.errors)
        self.open()
        self.assertIn("0 clients", self.far.run("directclient", f"--server={FAR}", "list"))

    def test_messages_both_ways(self):
        self.open()
        near, far = self.listen(self.near, "near"), self.listen(self.far, "far", f"--server={FAR}")
        self.send(self.near, "far", "to the other machine\n")
        self.heard(far, "to the other machine\n")
        self.send(self.far, "near", "and back\n", f"--server={FAR}")
        self.heard(near, "and back\n")
        self.assertIn("10.77.0.2:", self.near.run("directctl", "list"))

        # A restart is not noticed across the network either
        self.near.systemctl("restart", machine.UNIT)
        self.send(self.near, "far", "after a restart\n")
        self.heard(far, "after a restart\n")
        self.assertTrue(any("Took over" in entry["MESSAGE"] for entry in self.near.journal("-u", machine.UNIT)))

        # Nor is a link that is lost lost for the program
        ip("-n", self.far_space, "link", "set", "lan", "down")
        self.wait_for_state("far", "away")
        ip("-n", self.far_space, "link", "set", "lan", "up")
        self.wait_for_state("far", "alive")
        self.send(self.near, "far", "after the network was down\n")
        self.heard(far, "after the network was down\n")

        # And a machine that is switched off is told from a program that is busy
        ip("-n", self.far_space, "link", "set", "lan", "down")
        self.far.close()
        self.wait_for_state("far", "away")
        self.wait_for_state("far", "gone")
        self.near.run("directclient", "send", "far", stdin="to nobody", status=1)
        self.send(self.near, "near", "still here\n")
        self.heard(near, "still here\n")


if __name__ == "__main__":
    machine.main()
