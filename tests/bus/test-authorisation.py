#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may change something on the system bus, and what happens when caller, client, polkit or bus go away in the middle."""

import os
import sys

from busharness import CLIENT, DAEMON, MANAGER, NAME, NOBODY, PATH, BusTest, main

DENIED = 'org.freedesktop.DBus.Error.AccessDenied '
INTERACTIVE = 'org.freedesktop.DBus.Error.InteractiveAuthorizationRequired '
KICK = (PATH, MANAGER, 'KickClient', 't:2', 's:bye')


class AuthorisationTest(BusTest):
    def setUp(self):
        super().setUp()
        self.start_bus()

    def start(self, answer=None, user=None):
        self.start_service('system', user)
        self.service.command('join 3')
        if answer:
            self.start_polkit(answer)

    def kick(self, *options, user=NOBODY):
        return self.outcome(*options, *KICK, bus='system', user=user)

    def begin_kick(self):
        """A kick that waits for polkit"""
        caller = self.caller(*KICK, bus='system', user=NOBODY)
        self.polkit.wait_for('check')
        return caller

    def end_kick(self, caller):
        return caller.process.communicate(timeout=60)[0].decode().splitlines()[1]

    def test_root_passes_without_polkit(self):
        self.start()
        self.assertEqual(self.kick(user=0), 'ok')
        self.log('kick of 2 by uid 0: bye')
        self.assertEqual(self.outcome(PATH, MANAGER, 'Reload', bus='system'), 'ok')

    def test_own_user_passes_without_polkit(self):
        self.start(user=NOBODY)
        self.assertEqual(self.kick(user=NOBODY), 'ok')
        self.log(f'kick of 2 by uid {NOBODY}: bye')
        self.assertTrue(self.kick(user=DAEMON).startswith(f'{NAME}.Error.NoSuchClient '))
        self.assertTrue(self.outcome(PATH, MANAGER, 'Reload', bus='system', user=DAEMON).startswith(DENIED))

    def test_without_polkit_others_are_refused(self):
        self.start()
        self.assertEqual(self.kick(), DENIED + 'polkit is not running, so only root and the user of the service may do this')
        self.assertEqual(self.n_clients(), 3)

    def test_polkit_decides(self):
        self.start('no')
        self.assertTrue(self.kick().startswith(DENIED))
        self.assertEqual(self.polkit.line(self.polkit.process.stdout), f'check {NAME}.kick-client 0 worker-00002')
        self.polkit.command('error')
        self.assertTrue(self.kick().startswith(DENIED))
        self.polkit.wait_for('check')
        self.polkit.command('challenge')
        self.assertTrue(self.kick().startswith(INTERACTIVE))
        self.polkit.wait_for('check')
        self.assertTrue(self.kick('--interactive').startswith(DENIED))
        self.assertEqual(self.polkit.line(self.polkit.process.stdout), f'check {NAME}.kick-client 1 worker-00002')
        self.assertEqual(self.n_clients(), 3)
        self.polkit.command('yes')
        self.assertEqual(self.outcome(PATH, MANAGER, 'Reload', bus='system', user=NOBODY), 'ok')
        self.assertEqual(self.polkit.line(self.polkit.process.stdout), f'check {NAME}.reload 0 ')
        self.assertEqual(self.kick(), 'ok')
        self.assertEqual(self.outcome(f'{PATH}/client/3', CLIENT, 'Kick', 's:', bus='system', user=NOBODY), 'ok')
        self.assertEqual(self.n_clients(), 1)

    def test_bad_requests_are_told_before_polkit_is_asked(self):
        self.start('yes')
        self.assertTrue(self.outcome(PATH, MANAGER, 'KickClient', 't:9', 's:', bus='system', user=NOBODY)
                        .startswith(f'{NAME}.Error.NoSuchClient '))
        self.assertTrue(self.outcome(PATH, MANAGER, 'KickClient', 't:1', 's:\t', bus='system', user=NOBODY)
                        .startswith(f'{NAME}.Error.InvalidReason '))
        self.assertEqual(self.polkit.command('no'), 'ok')  # and not a line about a check

    def test_caller_vanishes(self):
        self.start('hold')
        caller = self.begin_kick()
        caller.process.kill()
        self.polkit.wait_for('cancel')
        self.polkit.command('release')  # the answer "yes" comes after all
        self.assertEqual(self.n_clients(), 3)
        self.assertEqual(self.kick(user=0), 'ok')

    def test_client_vanishes(self):
        self.start('hold')
        caller = self.begin_kick()
        self.service.command('leave 2 1')
        self.polkit.command('release')
        self.assertTrue(self.end_kick(caller).startswith(f'1 {NAME}.Error.NoSuchClient '))

    def test_polkit_vanishes(self):
        self.start('hold')
        caller = self.begin_kick()
        self.polkit.process.kill()
        self.assertTrue(self.end_kick(caller).startswith('1 ' + DENIED))
        self.assertEqual(self.n_clients(), 3)

    def test_bus_vanishes(self):
        self.start('hold')
        self.begin_kick()
        self.stop_bus()
        self.log('was lost')
        self.start_bus()
        self.log('is available')
        self.assertEqual(self.n_clients(), 3)
        self.assertEqual(self.kick(user=0), 'ok')

    def test_nobody_takes_all_checks(self):
        self.start('hold')
        caller = self.caller('--times=100', *KICK, bus='system', user=NOBODY)
        for _ in range(8):
            self.polkit.wait_for('check')
        # Others are served all the same: first root without a check, then another user with one of its own.
        self.assertEqual(self.outcome(PATH, MANAGER, 'Reload', bus='system', user=0), 'ok')
        self.polkit.command('no')
        self.assertTrue(self.kick(user=DAEMON).startswith(DENIED))
        caller.process.kill()
        for _ in range(8):
            self.polkit.wait_for('cancel')

    def test_many_at_once(self):
        self.start()
        _, outcomes = self.call('--times=10000', *KICK, bus='system', user=0)
        self.assertEqual(sorted(int(outcome.split()[0]) for outcome in outcomes), [1, 9999])
        self.assertEqual(self.n_clients(), 2)


if __name__ == '__main__':
    if os.geteuid() != 0:
        print('Skipped: only root can be several users at once')
        sys.exit(77)
    main()
