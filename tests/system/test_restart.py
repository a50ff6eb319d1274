#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What programs notice when their service is restarted, reloaded, stopped or killed while they talk: at most a pause.

SYSTEM_SCALE=full: with 5,000 clients, 20,000 messages a second and 20 restarts, and the pauses that are promised. Else with a
fifth, and pauses that also a machine with much else to do stays under."""

import machine
from crowd import FULL, PAUSE_MS, RESUME_MS, Crowds

RESTARTS = 20 if FULL else 5
KILLS = 5 if FULL else 2


class Restart(machine.MachineTest):
    def setUp(self):
        self.machine = self.boot()
        self.crowds = Crowds(self.machine)
        self.pid = self.machine.show("MainPID")
        self.longest = self.crowds.wait_for_traffic(self)
        print(f"{self.crowds.clients} clients, longest delay {self.longest:.0f} ms before", flush=True)

    def another_process(self):
        before, self.pid = self.pid, self.machine.show("MainPID")
        self.assertNotIn(self.pid, ("0", before))
        return self.pid

    def assert_kept(self, restarts):
        """No connection was closed, and each start has taken over all of them."""
        counts = self.crowds.finish(self)
        print(f"{counts}", flush=True)
        self.assertEqual((counts["connected"], counts["disconnected"]), (self.crowds.clients, 0))
        messages = [entry["MESSAGE"] for entry in self.machine.journal("-u", machine.UNIT)]
        taken_over = [message for message in messages if f"Took over {self.crowds.clients} connections" in message]
        self.assertEqual(len(taken_over), restarts, messages[-20:])
        self.assertEqual(self.machine.show("NFileDescriptorStore"), "0")

    def test_restart(self):
        pauses = []
        for _ in range(RESTARTS):
            self.machine.systemctl("restart", machine.UNIT)
            self.another_process()
            pauses.append(self.crowds.wait_for_traffic(self))
        print("longest delays (ms):", *(f"{pause:.0f}" for pause in pauses), flush=True)
        self.assertLess(max(pauses), PAUSE_MS)
        self.assert_kept(RESTARTS)

    def test_reload(self):
        self.machine.put("/etc/directserver/directserver.conf.d/50-grace.conf", "[Server]\nGraceSec=7s\n")
        self.machine.systemctl("reload", machine.UNIT)
        self.crowds.wait_for_traffic(self)
        self.assertEqual(self.machine.show("MainPID"), self.pid)
        self.assert_kept(0)

    def test_killed(self):
        """Links are lost, sessions and messages are not."""
        pauses = []
        for _ in range(KILLS):
            self.machine.systemctl("kill", "--signal=KILL", machine.UNIT)
            pauses.append(self.crowds.wait_for_traffic(self))
            self.another_process()
        print("longest delays (ms):", *(f"{pause:.0f}" for pause in pauses), flush=True)
        self.assertLess(max(pauses), RESUME_MS)
        counts = self.crowds.finish(self)
        print(f"{counts}", flush=True)
        self.assertEqual(counts["connected"], self.crowds.clients + counts["disconnected"])
        self.assertGreaterEqual(counts["disconnected"], KILLS * self.crowds.clients)

    def test_stopped(self):
        """Clients are told, and go on when it is started."""
        self.machine.systemctl("stop", machine.UNIT, "directserver.socket")
        self.machine.wait_for(lambda: self.crowds.report()["disconnected"] == self.crowds.clients, "the end of all links")
        self.machine.systemctl("start", machine.UNIT)
        self.crowds.wait_for_traffic(self)
        counts = self.crowds.finish(self)
        self.assertEqual((counts["connected"], counts["disconnected"]), (2 * self.crowds.clients, self.crowds.clients))


if __name__ == "__main__":
    machine.main()
