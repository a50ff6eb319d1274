#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages and administration take turns: neither waits for the other to have nothing left to do."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'integration'))
import direct1
from busharness import MANAGER, PATH, WAIT_SECONDS, BusTest, Program, main
from service import Bystanders

BENCH_LOAD = os.environ['BENCH_LOAD']
SMALL = 16  # then the service is busier than the load


class TurnsTest(BusTest):
    def setUp(self):
        super().setUp()
        self.start_bus()
        self.settings = f'{self.directory}/directserver.conf'
        with open(self.settings, 'w') as f:
            f.write('[Server]\nPingIntervalSec=1h\n')
        self.service = Program(self, [os.environ['DIRECTSERVER_EXECUTABLE'], '--bus=user', '--listen=127.0.0.1:0',
                                      f'--config={self.settings}', f'--state-directory={self.directory}/state'],
                               self.environment)
        self.address = re.search(r'127\.0\.0\.1:\d+', self.log('Listening on'))[0]
        self.log('is available')
        self.pair = Bystanders(self.address)
        self.addCleanup(self.pair.close)

    def load(self):
        """More messages than the service has time for, until the test is over"""
        port = self.address.rpartition(':')[2]
        load = Program(self, [BENCH_LOAD, '--pairs=64', f'--size={SMALL}', f'--rounds={2 * WAIT_SECONDS}', '--slice-ms=1000',
                              f'direct:{self.service.process.pid}:{port}'], self.environment)
        # it is warmed up when more has come than one round trip of each pair takes
        while self.pair.a.load()['messages_in'] < 100000:
            self.assertIsNone(load.process.poll())
        return load

    def test_administration_beside_messages(self):
        load = self.load()
        self.assertEqual(self.call('--times=100', PATH, MANAGER, 'ListClients')[1], ['100 ok'])
        with open(self.settings, 'a') as f:
            f.write('GraceSec=7\n')
        self.assertEqual(self.outcome(PATH, MANAGER, 'Reload'), 'ok')
        self.log('changed: GraceSec')
        figures = self.pair.a.load()
        print(f"{figures['messages_in_rate_1s']} messages/s, busy {figures['busy_permille_1s']}/1000 meanwhile")
        self.assertIsNone(load.process.poll())
        self.service.process.terminate()
        self.log('Stopping')
        self.assertEqual(self.service.process.wait(WAIT_SECONDS), 0)

    def test_messages_beside_administration(self):
        caller = self.caller('--times=5000', PATH, MANAGER, 'ListClients')
        begun = []
        while caller.process.poll() is None:
            begun.append(time.monotonic())
            self.pair.exchange()
        end = time.monotonic()
        took, outcomes = self.outcomes(caller)
        n = sum(moment > end - took / 1e6 for moment in begun)
        print(f'{n} round trips beside 5000 calls in {took / 1e6:.2f} s')
        self.assertEqual(outcomes, ['5000 ok'])
        self.assertGreater(n, 10)

    def test_messages_beside_messages(self):
        self.load()
        self.pair.exchange(100)


if __name__ == '__main__':
    main()
