#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether the manager stops the service for good or starts it again: what the service asks, and what it does then."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'integration'))
import direct1
from busharness import BUILD, BusTest, Program, main
from manager import ManagedService


class RestartTest(BusTest):
    def setUp(self):
        super().setUp()
        self.start_bus()
        self.systemd = Program(self, [f'{BUILD}/test-bus-systemd'], self.environment, ends_with_input=True)
        self.assertEqual(self.systemd.line(self.systemd.process.stdout), 'ready')
        self.service = ManagedService(bus='user', environment={'DBUS_SESSION_BUS_ADDRESS': self.address})
        self.addCleanup(self.service.finish)
        self.client = direct1.Client(self.service.held, 'worker')
        self.addCleanup(self.client.close)

    def job(self, text):
        self.assertEqual(self.systemd.command(text), 'ok')

    def stays(self):
        """The client has noticed nothing, and is on the bus of the next service."""
        self.service.restart()
        self.client.ping()
        self.service.wait_removed()
        self.service.wait_line('is available')
        self.assertEqual(self.n_clients(), 1)

    def is_told(self):
        self.service.send_signal(15)
        goodbye = self.client.wait_for(lambda frame: frame.type == direct1.GOODBYE)
        self.assertEqual(goodbye.kind, direct1.STOPPING)
        self.service.wait()
        self.assertEqual(self.service.stored, [])
        self.service.start()

    def test_restart(self):
        for _ in range(3):
            self.job('restart')
            self.stays()

    def test_stop(self):
        self.job('stop')
        self.is_told()

    def test_signal_by_hand(self):
        self.job('none')
        self.is_told()

    def test_unit_unknown(self):
        self.job('error')
        self.stays()

    def test_no_answer(self):
        self.job('silent')
        self.stays()

    def test_bus_that_is_stuck(self):
        """It must not keep the service from its end."""
        self.stuck_at_the_end()

    def test_bus_that_is_stuck_from_the_beginning(self):
        self.service.kill()
        self.client.close()
        self.bus.process.send_signal(19)
        self.service.start()
        self.client = direct1.Client(self.service.held)
        self.addCleanup(self.client.close)
        self.stuck_at_the_end()

    def stuck_at_the_end(self):
        self.bus.process.send_signal(19)
        self.addCleanup(self.bus.process.send_signal, 18)
        self.service.stop()
        self.bus.process.send_signal(18)
        self.service.start()
        self.client.ping()

    def test_no_bus(self):
        self.stop_bus()
        self.service.restart()
        self.client.ping()

    def test_told_twice(self):
        """A second signal while it asks changes nothing."""
        self.job('silent')
        self.service.send_signal(15)
        self.service.send_signal(15)
        self.service.stop()
        self.service.start()
        self.client.ping()


if __name__ == '__main__':
    main()
