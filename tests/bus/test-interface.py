#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The D-Bus interface as others see it, and whether dbus/org.directserver.DirectServer1.xml tells the truth about it."""

import json
import os
import shutil
import unittest
import xml.etree.ElementTree as ElementTree

from busharness import CLIENT, MANAGER, NAME, OBJECT_MANAGER, PATH, BusTest, Program, main

DBUS = os.environ['DBUS_SOURCE']
XML = f'{DBUS}/{NAME}.xml'


def interfaces_of(tree):
    """{interface: {member: what it is}} of our own interfaces"""
    return {interface.get('name'): {member.get('name'): (member.tag, sorted(member.attrib.items()),
                                                          [(e.tag, sorted(e.attrib.items())) for e in member])
                                    for member in interface}
            for interface in tree.iter('interface') if interface.get('name').startswith(NAME)}


class InterfaceTest(BusTest):
    def setUp(self):
        super().setUp()
        self.start_bus()
        self.start_service()
        self.service.command('join 3')

    def introspect(self, path):
        return interfaces_of(ElementTree.fromstring(self.busctl('--xml-interface', 'introspect', NAME, path)))

    def test_xml_tells_the_truth(self):
        described = interfaces_of(ElementTree.parse(XML))
        self.assertEqual(set(described), {MANAGER, CLIENT})
        self.assertEqual(self.introspect(PATH), {MANAGER: described[MANAGER]})
        self.assertEqual(self.introspect(f'{PATH}/client/2'), {CLIENT: described[CLIENT]})

    @unittest.skipUnless(shutil.which('xmllint'), 'there is no xmllint (libxml2-utils)')
    def test_xml_is_valid(self):
        for kind in ('xml', 'conf', 'policy'):
            self.run_program('xmllint', '--nonet', '--noout', f'{DBUS}/{NAME}.{kind}')
        dtd = '/usr/share/polkit-1/policyconfig-1.dtd'
        if os.path.exists(dtd):
            self.run_program('xmllint', '--nonet', '--noout', '--dtdvalid', dtd, f'{DBUS}/{NAME}.policy')

    def test_tree(self):
        self.assertEqual(self.busctl('--list', 'tree', NAME).split(),
                         ['/', '/org', '/org/directserver', PATH, f'{PATH}/client'] + [f'{PATH}/client/{i}' for i in (1, 2, 3)])

    def test_list_and_get(self):
        self.assertEqual(json.loads(self.busctl('--json=short', 'call', NAME, PATH, MANAGER, 'ListClients'))['data'][0],
                         [[i, f'worker-0000{i}', 'alive', f'{PATH}/client/{i}'] for i in (1, 2, 3)])
        self.assertEqual(self.busctl('call', NAME, PATH, MANAGER, 'GetClient', 's', 'worker-00002'), f'o "{PATH}/client/2"\n')
        self.assertTrue(self.outcome(PATH, MANAGER, 'GetClient', 's:nobody').startswith(f'{NAME}.Error.NoSuchClient '))

    def test_managed_objects_are_the_properties(self):
        objects = json.loads(self.busctl('--json=short', 'call', NAME, PATH, OBJECT_MANAGER, 'GetManagedObjects'))['data'][0]
        for i in (1, 2, 3):
            properties = json.loads(self.busctl('--json=short', 'call', NAME, f'{PATH}/client/{i}',
                                                'org.freedesktop.DBus.Properties', 'GetAll', 's', CLIENT))['data'][0]
            self.assertEqual(objects.pop(f'{PATH}/client/{i}'), {CLIENT: properties})
        self.assertEqual(objects, {})

    def test_describe(self):
        text = json.loads(self.busctl('--json=short', 'call', NAME, PATH, MANAGER, 'Describe'))['data'][0]
        described = json.loads(text)
        self.assertEqual(set(described), {'Version', 'ListenAddresses', 'Load', 'Clients'})
        self.assertEqual([client['Id'] for client in described['Clients']], [1, 2, 3])
        self.assertEqual(described['Clients'][0]['Program'], 'mandelbrot "worker" (pid 4711 on ärger17)')
        self.assertEqual(described['Load']['BusyPermille1Sec'], 512)
        self.service.command('leave 1 1'), self.service.command('leave 2 1'), self.service.command('leave 3 1')
        text = json.loads(self.busctl('--json=short', 'call', NAME, PATH, MANAGER, 'Describe'))['data'][0]
        self.assertEqual(json.loads(text)['Clients'], [])

    def test_paths_that_are_no_clients(self):
        for tail in ('0', '01', '4', '18446744073709551616', '18446744073709551617', '99999999999999999999999', 'x', '1/1', '_31',
                     '1x'):
            self.assertTrue(self.outcome(f'{PATH}/client/{tail}', CLIENT, 'Kick', 's:')
                            .startswith('org.freedesktop.DBus.Error.UnknownObject '), tail)
        self.assertEqual(self.n_clients(), 3)

    def test_kick(self):
        self.assertEqual(self.outcome(PATH, MANAGER, 'KickClient', 't:2', 's:Grüße'), 'ok')
        self.assertRegex(self.log('kick of'), r'^kick of 2 by uid \d+: Grüße$')
        self.assertEqual(self.outcome(f'{PATH}/client/3', CLIENT, 'Kick', 's:'), 'ok')
        self.assertEqual(self.n_clients(), 1)
        for id in (0, 2, 2**63, 2**64 - 1):
            self.assertTrue(self.outcome(PATH, MANAGER, 'KickClient', f't:{id}', 's:').startswith(f'{NAME}.Error.NoSuchClient '))

    def test_reasons(self):
        for bad in ('x' * 1025, 'a\nb', '\x1b[2J', 'é' * 513, '\u0085'):
            outcome = self.outcome(PATH, MANAGER, 'KickClient', 't:1', f's:{bad}')
            self.assertTrue(outcome.startswith(f'{NAME}.Error.InvalidReason '), outcome)
        self.assertEqual(self.outcome(PATH, MANAGER, 'KickClient', 't:1', 's:' + 'x' * 1024), 'ok')

    def test_reload(self):
        self.assertEqual(self.outcome(PATH, MANAGER, 'Reload'), 'ok')
        self.assertRegex(self.log('reloaded'), r'^reloaded by uid \d+$')
        self.service.command('reload-fails')
        self.assertEqual(self.outcome(PATH, MANAGER, 'Reload'),
                         f'{NAME}.Error.InvalidConfiguration /etc/directserver/directserver.conf:7: MaxClients= wants a number')

    def test_signals(self):
        monitor = Program(self, ['busctl', '--user', '--json=short', 'monitor', NAME], self.environment)
        monitor.wait_for('Monitoring', monitor.process.stderr)

        def signals(command, n):
            self.service.command(command)
            found = []
            while len(found) < n:
                message = json.loads(monitor.line(monitor.process.stdout))
                if message['type'] == 'signal' and message['interface'] != 'org.freedesktop.DBus':
                    found.append((message['path'], message['member'], message['payload']['data']))
            return found

        path = f'{PATH}/client/4'
        added, new = signals('join 1', 2)
        self.assertEqual(added[:2], (PATH, 'InterfacesAdded'))
        self.assertEqual(added[2][0], path)
        self.assertEqual(added[2][1][CLIENT]['Name'], {'type': 's', 'data': 'worker-00004'})
        self.assertEqual(new, (PATH, 'ClientNew', [4, 'worker-00004', path]))
        self.assertEqual(signals('state 4 2', 1),
                         [(path, 'PropertiesChanged', [CLIENT, {'State': {'type': 's', 'data': 'busy'}}, []])])
        self.assertEqual(signals('leave 4 9', 2), [(PATH, 'ClientRemoved', [4, 'worker-00004', path, 'died']),
                                                   (PATH, 'InterfacesRemoved', [path, [CLIENT]])])
        # What came and went within one turn is not announced: the next that is seen is another client. An id from before a
        # restart may come after higher ones.
        self.service.command('leave 1 1')
        signals('state 2 2', 3)
        self.service.command('churn 100')
        self.assertEqual(signals('join-id 1', 2)[1][2], [1, 'worker-00001', f'{PATH}/client/1'])


if __name__ == '__main__':
    main()
