#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real service, real clients, and directctl between them."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'integration'))
import direct1
from busharness import DIRECTCTL, MANAGER, NAME, PATH, WAIT_SECONDS, BusTest, Program, main

DIRECTSERVER = os.environ['DIRECTSERVER_EXECUTABLE']
DIRECTCLIENT = os.environ['DIRECTCLIENT_EXECUTABLE']


class RealTest(BusTest):
    def setUp(self):
        super().setUp()
        self.start_bus()
        self.settings = f'{self.directory}/directserver.conf'
        with open(self.settings, 'w') as f:
            f.write('[Server]\nGraceSec=7\n')
        self.environment['DIRECTSERVER'] = f'unix:{self.directory}/socket'
        self.start_service()
        self.monitor = Program(self, [DIRECTCTL, '--user', '--json=short', 'monitor'], self.environment)
        self.monitor.wait_for('Watching', self.monitor.process.stderr)

    def start_service(self):
        self.service = Program(self, [DIRECTSERVER, '--bus=user', f'--listen=unix:{self.directory}/socket',
                                      f'--config={self.settings}', f'--state-directory={self.directory}/state'], self.environment)
        self.log('is available')

    def directctl(self, *arguments, status=0):
        done = self.run_program(DIRECTCTL, '--user', *arguments, status=status)
        return done.stdout + done.stderr

    def event(self):
        event = json.loads(self.monitor.line(self.monitor.process.stdout))
        return event['Event'], event['Name'], event.get('Detail')

    def listen(self, name):
        client = Program(self, [DIRECTCLIENT, 'listen', f'--name={name}'], self.environment)
        self.assertEqual(self.event(), ('joined', name, None))
        return client

    def test_kick(self):
        client = self.listen('alice')
        self.listen('bob')
        clients = json.loads(self.directctl('--json=short'))
        self.assertEqual([(c['Name'], c['State']) for c in clients], [('alice', 'alive'), ('bob', 'alive')])
        self.assertEqual(clients[0]['Address'], f'unix:pid={client.process.pid},uid={os.geteuid()}')
        self.assertIn('Kicked alice', self.directctl('kick', 'alice', 'the night is over'))
        self.assertEqual(self.event(), ('left', 'alice', 'kicked'))
        output, errors = client.process.communicate(timeout=WAIT_SECONDS)
        self.assertIn(b'the night is over', output + errors)
        self.assertNotEqual(client.process.returncode, 0)
        self.log('alice was kicked')
        self.assertEqual(json.loads(self.directctl('--json=short', 'load'))['Clients'], 1)

    def test_kicked_is_kicked(self):
        """Its token is dead, also for a service that was restarted."""
        client = direct1.Client(self.environment['DIRECTSERVER'], 'alice')
        other = direct1.Client(self.environment['DIRECTSERVER'], 'bob')
        self.addCleanup(client.close)
        self.addCleanup(other.close)
        self.directctl('kick', 'alice')
        for _ in range(2):
            with self.assertRaises(direct1.Refused) as caught:
                direct1.Client(self.environment['DIRECTSERVER'], resume=client.welcome)
            self.assertEqual(caught.exception.code, direct1.REFUSED_RESUME)
            self.service.process.terminate()
            self.assertEqual(self.service.process.wait(WAIT_SECONDS), 0)
            self.start_service()
        direct1.Client(self.environment['DIRECTSERVER'], resume=other.welcome).close()

    def test_death(self):
        client = self.listen('alice')
        client.process.kill()
        self.assertEqual(self.event(), ('left', 'alice', 'died'))
        self.assertEqual(self.directctl('--no-legend'), '')

    def test_reload(self):
        self.directctl('reload')
        with open(self.settings, 'a') as f:
            f.write('PingIntervalSec=never\n')
        self.assertIn(f'{self.settings}:3', self.directctl('reload', status=1))
        self.assertTrue(self.outcome(PATH, MANAGER, 'Reload').startswith(f'{NAME}.Error.InvalidConfiguration '))

    def test_stop(self):
        self.service.process.terminate()
        self.assertEqual(self.service.process.wait(WAIT_SECONDS), 0)
        self.assertIn('not on the bus any more', self.monitor.line(self.monitor.process.stdout))


if __name__ == '__main__':
    main()
