#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""directctl over made-up clients: what it prints for people and for programs, and what it says when something is wrong."""

import fcntl
import json
import os
import re
import struct
import subprocess
import termios
import unittest

from busharness import DIRECTCTL, NAME, NOBODY, BusTest, Program, main


def ageless(text):
    return re.sub(r'\d+d \d+h', 'AGE', text)


class DirectctlTest(BusTest):
    def setUp(self):
        super().setUp()
        self.start_bus()
        self.start_service()
        self.service.command('join 12')

    def directctl(self, *arguments, status=0):
        done = self.run_program(DIRECTCTL, '--user', *arguments, status=status)
        self.assertEqual(done.stderr == '', status == 0, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def json(self, *arguments):
        short, pretty = (self.directctl(f'--json={form}', *arguments) for form in ('short', 'pretty'))
        self.assertEqual(short.count('\n'), 1)
        self.assertGreater(pretty.count('\n'), 1)
        self.assertEqual(json.loads(short), json.loads(pretty))
        return json.loads(short)

    def test_list(self):
        self.service.command('state 3 2')
        lines = self.directctl().splitlines()
        self.assertEqual(lines[0].split(), ['NAME', 'ID', 'STATE', 'AGE', 'ADDRESS', 'IN', 'OUT', 'QUEUE', 'PROGRAM'])
        self.assertEqual([line.split()[0:3] for line in lines[1:4]],
                         [['worker-00001', '1', 'alive'], ['worker-00002', '2', 'alive'], ['worker-00003', '3', 'busy']])
        self.assertTrue(lines[12].endswith(' evil ?txt'))
        self.assertEqual(lines[5].split()[2], 'paused')
        self.assertTrue(lines[1].endswith('192.0.2.7:41234  97.7K  68.4K  64.0K mandelbrot "worker" (pid 4711 on ärger17)'))
        self.assertEqual(lines[-2:], ['', '12 clients listed.'])
        self.assertEqual(ageless(self.directctl('--no-legend', 'list')).splitlines(),
                         ageless('\n'.join(lines[1:-2])).splitlines())

    def test_list_of_none(self):
        for i in range(1, 13):
            self.service.command(f'leave {i} 1')
        self.assertEqual(self.directctl(), '0 clients listed.\n')
        self.assertEqual(self.directctl('--json=short'), '[]\n')

    def test_json(self):
        clients = self.json('list')
        self.assertEqual([client['Id'] for client in clients], list(range(1, 13)))
        self.assertEqual(clients[0]['Program'], 'mandelbrot "worker" (pid 4711 on ärger17)')
        self.assertIs(clients[4]['Paused'], True)
        self.assertEqual(self.json('show', 'worker-00005'), clients[4])
        load = self.json('load')
        self.assertEqual((load['Clients'], load['BusyPermille1Sec']), (12, 512))
        status = self.json('status')
        self.assertEqual(status['Clients'], clients)
        self.assertEqual(status['ListenAddresses'], load['ListenAddresses'])

    def test_show(self):
        text = self.directctl('show', '5')
        self.assertTrue(text.startswith('● worker-00005 (id 5)\n'))
        self.assertIn('    State: paused (', text)
        self.assertEqual(ageless(text), ageless(self.directctl('show', 'worker-00005')))

    def test_hostile_text(self):
        self.assertIn('  Program: evil ?txt\n', self.directctl('show', '12'))
        self.assertEqual(self.json('show', '12')['Program'], 'evil \u202etxt')

    def test_status_and_load(self):
        text = self.directctl('status')
        self.assertRegex(text, r'^● DirectServer \S+\n    State: running since .*; 1d 2h ago\n'
                               r' Main PID: \d+ \(test-bus-servic\)\n')
        self.assertIn('  Listens: 127.0.0.1:20000\n           unix:/run/directserver/directserver.sock\n', text)
        self.assertIn('Busy                51.2 %', self.directctl('load'))

    def test_kick(self):
        self.assertEqual(self.directctl('kick', 'worker-00002', 'time to go'),
                         'Kicked worker-00002 (id 2), telling it: time to go.\n')
        self.assertRegex(self.log('kick'), r'^kick of 2 by uid \d+: time to go$')
        self.assertEqual(self.directctl('kick', '3'), 'Kicked worker-00003 (id 3).\n')
        self.assertIn('There is no such client', self.directctl('kick', 'worker-00002', status=1))
        self.assertIn('without control characters', self.directctl('kick', '4', 'a\033[2Jb', status=1))
        self.assertEqual(self.n_clients(), 10)

    def test_reload(self):
        self.directctl('reload')
        self.service.command('reload-fails')
        self.assertIn('directserver.conf:7: MaxClients= wants a number', self.directctl('reload', status=1))

    def test_monitor(self):
        for form, events in (('off', ['joined  worker-00013 (id 13)', 'busy    worker-00013 (id 13)',
                                      'left    worker-00013 (id 13): died']),
                             ('short', None)):
            monitor = Program(self, [DIRECTCTL, '--user', f'--json={form}', 'monitor'], self.environment)
            monitor.wait_for('Watching', monitor.process.stderr)
            lines = []
            for command in ('join-id 13', 'state 13 2', 'leave 13 9'):
                self.service.command(command)
                lines.append(monitor.line(monitor.process.stdout))
            if events:
                self.assertEqual([re.sub(r'^[0-9]{4}-[0-9-]+ [0-9:]+ ', '', line) for line in lines], events)
            else:
                objects = [json.loads(line) for line in lines]
                self.assertEqual([o['Event'] for o in objects], ['joined', 'busy', 'left'])
                self.assertEqual({(o['Id'], o['Name']) for o in objects}, {(13, 'worker-00013')})
            monitor.stop()

    def test_errors(self):
        for arguments, text in ((('frob',), "no verb 'frob'"),
                                (('kick',), 'Too few arguments. Usage: directctl kick CLIENT [REASON]'),
                                (('list', 'x'), 'Too many'), (('--json=xml',), '--json= wants'),
                                (('show', 'nobody'), 'directctl --user list'), (('show', '99'), 'no such client'),
                                (('show', ''), 'no such client'), (('show', '0'), 'no such client'),
                                (('show', '99999999999999999999'), 'no such client')):
            self.assertIn(text, self.directctl(*arguments, status=1))

    def test_without_a_service(self):
        self.service.command('quit')
        self.service.process.wait(60)
        for verb in ('list', 'status', 'load', 'reload'):
            self.assertIn('There is no service on the bus of this user', self.directctl(verb, status=1))
            self.assertIn('systemctl status directserver', self.run_program(DIRECTCTL, verb, status=1).stderr)
        self.stop_bus()
        self.assertIn('There is no user bus to be reached', self.directctl(status=1))

    @unittest.skipUnless(os.geteuid() == 0, 'only root can be another user')
    def test_not_allowed(self):
        self.service.command('quit')
        self.service.process.wait(60)
        self.start_service('system')
        self.service.command('join 1')
        for options, answer, hint in ((['--no-ask-password'], 'challenge', 'Leave out --no-ask-password'),
                                      ([], 'no', 'Try it as root')):
            self.start_polkit(answer)
            done = subprocess.run([self.reachable(DIRECTCTL), *options, 'kick', '1'], env=self.environment, capture_output=True,
                                  text=True, user=NOBODY, group=NOBODY, extra_groups=[])
            self.assertEqual(done.returncode, 1)
            self.assertIn(hint, done.stderr)
            self.polkit.stop()

    def on_terminal(self, rows, *arguments, **environment):
        """What directctl writes to a terminal of so many rows and 80 columns"""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', rows, 80, 0, 0))
        process = subprocess.Popen([DIRECTCTL, '--user', *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env=dict(self.environment, TERM='xterm', **environment))
        os.close(theirs)
        output = b''
        try:
            while data := os.read(ours, 65536):
                output += data
        except OSError:
            pass  # the last who had the terminal open is gone
        os.close(ours)
        self.assertEqual(process.wait(60), 0)
        return output.decode().replace('\r\n', '\n')

    def test_terminal(self):
        text = self.on_terminal(40)
        self.assertIn('\033[32malive', text)
        for line in re.sub('\033\\[[0-9;]*m', '', text).splitlines():
            self.assertLessEqual(len(line), 80)
        self.assertNotIn('\033', self.on_terminal(40, NO_COLOR='1'))
        pager = {'SYSTEMD_PAGER': 'sed s/^/P:/'}
        self.assertNotIn('P:', self.on_terminal(40, **pager))
        self.assertNotIn('P:', self.on_terminal(5, '--no-pager', **pager))
        self.assertTrue(self.on_terminal(5, **pager).startswith('P:NAME'))

    def test_ten_thousand(self):
        self.service.command('join 9988')
        self.assertEqual(len(self.json('list')), 10000)
        self.assertEqual(self.directctl().splitlines()[-1], '10000 clients listed.')


if __name__ == '__main__':
    main()
