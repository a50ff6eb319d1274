#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service without a bus, with one that comes, goes, and comes again, and with a name that is taken."""

from busharness import MANAGER, NAME, PATH, BusTest, main


class ConnectionTest(BusTest):
    def test_bus_comes_goes_and_comes_again(self):
        self.start_service(wait=False)
        self.log('There is no user bus')
        self.service.command('join 2')  # works as without a bus
        for _ in range(2):
            self.start_bus()
            self.log('is available')
            self.assertEqual(self.n_clients(), 2)
            self.stop_bus()
            self.log('was lost')
            self.service.command('leave 2 1')
            self.service.command('join-id 2')
        self.service.command('quit')
        self.assertEqual(self.service.process.wait(60), 0)

    def test_trying_again_is_logged_once(self):
        self.start_service(wait=False)
        self.log('There is no user bus')
        self.start_bus()
        self.assertIn('is available', self.service.line(self.service.process.stderr))  # and no line between the two

    def test_name_is_taken(self):
        self.start_bus()
        self.start_service()
        first = self.service
        self.start_service(wait=False)
        self.log('Another program has the name')
        self.service.command('join 7')
        self.assertEqual(self.n_clients(), 0)
        first.command('quit')
        self.log('is available')
        self.assertEqual(self.n_clients(), 7)

    def test_name_is_denied(self):
        with open(self.configuration) as f:
            text = f.read()
        with open(self.configuration, 'w') as f:
            f.write(text.replace('<allow own="*"/>', f'<allow own="*"/><deny own="{NAME}"/>'))
        self.start_bus()
        self.start_service(wait=False)
        self.log('does not give us the name')
        with open(self.configuration, 'w') as f:
            f.write(text)
        self.busctl('call', 'org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus', 'ReloadConfig')
        self.log('is available')
        self.assertEqual(self.outcome(PATH, MANAGER, 'ListClients'), 'ok')


if __name__ == '__main__':
    main()
