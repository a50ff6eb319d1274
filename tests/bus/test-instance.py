#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Services beside the main one: their names on the bus, who may talk to them by the policy that is installed, and what directctl
and the service itself make of --instance=."""

import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'integration'))
import direct1
from busharness import BUILD, DIRECTCTL, MANAGER, NAME, NOBODY, PATH, WAIT_SECONDS, BusTest, Program, main

DIRECTSERVER = os.environ['DIRECTSERVER_EXECUTABLE']
BUSCTL = shutil.which('busctl')
IN_LINE = 'org.directserver.DirectServer1Instances'
LONGEST = 'a' * 63

# As the bus of a system is, before the policies of services
CLOSED = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>{policy}</include>
</busconfig>
'''


class InstanceTest(BusTest):
    def start(self, instance=None, kind='user'):
        """A service over made-up clients; the last that was started is self.service."""
        self.service = Program(self, [f'{BUILD}/test-bus-service', f'--bus={kind}', *([instance] if instance else [])],
                               self.environment, ends_with_input=True)
        self.log('is available')
        return self.service

    def directctl(self, *arguments, status=0):
        done = self.run_program(DIRECTCTL, '--user', *arguments, status=status)
        return done.stdout if status == 0 else done.stderr

    def names(self, *arguments):
        return [client['Name'] for client in json.loads(self.directctl('--json=short', *arguments))]

    def has_name(self, name):
        return self.busctl('call', 'org.freedesktop.DBus', '/', 'org.freedesktop.DBus', 'NameHasOwner', 's', name) == 'b true\n'

    def test_each_for_itself(self):
        self.start_bus()
        services = {instance: self.start(instance) for instance in (None, 'alpha', 'be_t-A9')}
        for instance, number in ((None, 1), ('alpha', 2), ('be_t-A9', 3)):
            self.assertTrue(self.has_name(f'{NAME}.{instance}' if instance else NAME))
            services[instance].command(f'join-id {number}')
        for options, number in (((), 1), (('--instance=alpha',), 2), (('--instance=be_t-A9',), 3)):
            self.assertEqual(self.names(*options), [f'worker-0000{number}'])
        monitor = Program(self, [DIRECTCTL, '--user', '--instance=alpha', 'monitor'], self.environment)
        monitor.wait_for('Watching', monitor.process.stderr)
        services['be_t-A9'].command('join-id 9')  # of no interest to who watches the other
        services['alpha'].command('state 2 2')
        self.assertIn('busy    worker-00002 (id 2)', monitor.line(monitor.process.stdout))
        self.assertIn('Kicked worker-00002', self.directctl('--instance=alpha', 'kick', '2'))
        self.assertIn('left    worker-00002', monitor.wait_for('left'))
        self.assertEqual(self.names('--instance=alpha'), [])
        self.assertEqual(self.names(), ['worker-00001'])
        services['alpha'].command('quit')
        monitor.wait_for('not on the bus any more')
        self.assertTrue(self.has_name(IN_LINE))
        self.assertEqual(self.names('--instance=be_t-A9'), ['worker-00003', 'worker-00009'])

    def test_name_is_taken(self):
        self.start_bus()
        first = self.start('alpha')
        self.start('beta')
        self.service = Program(self, [f'{BUILD}/test-bus-service', '--bus=user', 'alpha'], self.environment, ends_with_input=True)
        self.log(f'Another program has the name {NAME}.alpha')
        self.service.command('join 7')
        self.assertEqual(self.names('--instance=alpha'), [])
        first.command('quit')
        self.log('is available')
        self.assertEqual(len(self.names('--instance=alpha')), 7)

    def test_what_directctl_says(self):
        self.start_bus()
        self.start()
        text = self.directctl('--instance=alpha', 'list', status=1)
        self.assertIn('directserver --bus=user --instance=alpha.', text)
        self.assertIn('systemctl status directserver@alpha.', self.run_program(DIRECTCTL, '--instance=alpha', status=1).stderr)
        self.start('alpha')
        self.assertIn('See who is there: directctl --user --instance=alpha list',
                      self.directctl('--instance=alpha', 'show', 'x', status=1))
        for wrong in ('', '9alpha', 'al.pha', 'al pha', 'äh', '@', LONGEST + 'a'):
            self.assertIn('and no digit in front', self.directctl(f'--instance={wrong}', status=1))

    @unittest.skipUnless(os.geteuid() == 0, 'only root can be another user')
    def test_who_may(self):
        with open(self.configuration, 'w') as f:
            f.write(CLOSED.format(path=f'{self.directory}/bus', policy=f'{os.environ["DBUS_SOURCE"]}/{NAME}.conf'))
        self.start_bus()
        for instance in (None, 'alpha', 'beta'):
            self.start(instance, 'system')
        for name in (NAME, f'{NAME}.alpha', f'{NAME}.beta'):
            for user in (None, NOBODY):
                caller = Program(self, [BUSCTL, 'get-property', name, PATH, MANAGER, 'Clients'], self.environment, user)
                self.assertEqual(caller.line(caller.process.stdout), 't 0')
        for name in (f'{NAME}.gamma', IN_LINE, NAME):
            thief = Program(self, [BUSCTL, 'call', 'org.freedesktop.DBus', '/', 'org.freedesktop.DBus', 'RequestName', 'su', name,
                                   '0'], self.environment, NOBODY)
            self.assertNotEqual(thief.process.wait(WAIT_SECONDS), 0)


class ServiceTest(BusTest):
    """The real service"""

    def start(self, *arguments):
        self.environment |= {'XDG_RUNTIME_DIR': self.directory}
        self.environment.pop('RUNTIME_DIRECTORY', None)
        state = f'{self.directory}/{len(os.listdir(self.directory))}'
        self.service = Program(self, [DIRECTSERVER, f'--state-directory={state}', *arguments], self.environment)

    def test_names(self):
        for wrong in ('', '9alpha', 'al.pha', 'a/b', r'a\x20b', LONGEST + 'a'):
            done = self.run_program(DIRECTSERVER, f'--instance={wrong}', status=2)
            self.assertIn(f'--instance={wrong}: the name of an instance has 1 to 63 letters', done.stderr)

    def test_default_address(self):
        """Beside the main service, with which it shares neither port nor socket"""
        self.start_bus()
        self.start('--bus=user', '--instance=alpha')
        self.assertTrue(self.log('Listening on').endswith(f'unix:{self.directory}/directserver@alpha.sock'))
        self.assertIn('Ready', self.service.line(self.service.process.stderr))  # and no other address
        self.log('is available')
        with direct1.Client(f'unix:{self.directory}/directserver@alpha.sock', 'one'):
            self.assertIn('one ', self.run_program(DIRECTCTL, '--user', '--instance=alpha').stdout)

    def test_no_address(self):
        self.environment = {name: value for name, value in self.environment.items()
                            if name not in ('RUNTIME_DIRECTORY', 'XDG_RUNTIME_DIR')}
        done = self.run_program(DIRECTSERVER, '--instance=alpha', '--bus=none', f'--state-directory={self.directory}/state',
                                status=1)
        self.assertIn('give --listen=', done.stderr)


if __name__ == '__main__':
    main()
