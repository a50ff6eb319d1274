#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What programs notice when the packages are upgraded while they talk: a pause."""

import os

import machine
from crowd import PAUSE_MS, Crowds


class Upgrade(machine.MachineTest):
    PACKAGES = ()

    def test_upgrade(self):
        """From the packages of the commit before, and back to them: the versions understand what the other has left."""
        self.machine.install(*machine.MachineTest.PACKAGES, directory="/before")
        crowds = Crowds(self.machine)
        pauses = []
        for directory in ("/packages", "/before", "/packages"):
            pid = self.machine.show("MainPID")
            self.machine.install(*machine.MachineTest.PACKAGES, directory=directory)
            self.assertNotIn(self.machine.show("MainPID"), ("0", pid))
            pauses.append(crowds.wait_for_traffic(self))
        print("longest delays (ms):", *(f"{pause:.0f}" for pause in pauses), flush=True)
        self.assertLess(max(pauses), PAUSE_MS)
        counts = crowds.finish(self)
        self.assertEqual((counts["connected"], counts["disconnected"]), (crowds.clients, 0))
        self.assertEqual(self.machine.show("NRestarts"), "0")


if __name__ == "__main__":
    machine.main((os.path.isdir(f"{machine.DIRECTORY}/before"), "this checkout has no commit before this one to upgrade from"))
