#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""10,000 clients on the bus: what a caller waits, for how long the service is deaf meanwhile, and what it keeps when the bus is
slow. The best of some rounds counts, as other tests run beside this one."""

import os
import signal

from busharness import MANAGER, NAME, OBJECT_MANAGER, PATH, BusTest, main

N = 10000
ROUNDS = 5
INTROSPECTABLE = 'org.freedesktop.DBus.Introspectable'


class ScaleTest(BusTest):
    def setUp(self):
        super().setUp()
        self.start_bus()
        self.start_service()
        self.service.command(f'join {N}')

    def stat(self):
        """Since the last time: the longest turn of the loop and its whole work, in ms; bytes allocated; whether announcements
        wait"""
        longest_usec, work_usec, n_bytes, waiting = self.service.command('stat').split()
        return int(longest_usec) / 1000, int(work_usec) / 1000, int(n_bytes), waiting == '1'

    def settle(self):
        """Until all that was to be announced is. Returns the work that it took, in ms."""
        self.stat()
        self.service.command('settle')
        return self.stat()[1]

    def measure(self, path, interface, member):
        """The shortest times that a caller waits, and that the loop is held up, in ms"""
        times, turns = [], []
        for _ in range(ROUNDS):
            self.stat()
            usec, outcomes = self.call(path, interface, member)
            self.assertEqual(outcomes, ['1 ok'])
            times.append(usec / 1000)
            turns.append(self.stat()[0])
        print(f'{member} {path}: {min(times):.1f} ms, of which the loop was held up for at most {min(turns):.1f} ms at once')
        return min(times), min(turns)

    def test_join_storm(self):
        self.settle()
        self.stat()
        self.service.command(f'join {N}')
        noting = self.stat()[1]
        print(f'{N} joins: {noting:.1f} ms to note them, {self.settle():.1f} ms to announce them')

    def test_lists(self):
        self.settle()
        for path, interface, member, wait_max, turn_max in (
                (PATH, MANAGER, 'ListClients', 200, 20),
                (PATH, MANAGER, 'Describe', 1000, 50),
                (PATH, OBJECT_MANAGER, 'GetManagedObjects', 1000, 20),
                (f'{PATH}/client', INTROSPECTABLE, 'Introspect', 200, 100),
                (f'{PATH}/client/{N}', INTROSPECTABLE, 'Introspect', 20, 10),
                ('/', INTROSPECTABLE, 'Introspect', 20, 10)):
            wait, turn = self.measure(path, interface, member)
            if os.environ.get('DIRECTSERVER_SANITIZED') != '1':
                self.assertLess(wait, wait_max)
                self.assertLess(turn, turn_max)

    def test_tree(self):
        self.assertEqual(len(self.busctl('--list', 'tree', NAME).split()), N + 5)

    def test_many_lists_at_once(self):
        _, outcomes = self.call('--times=10', PATH, OBJECT_MANAGER, 'GetManagedObjects')
        self.assertEqual(outcomes, ['10 ok'])
        _, outcomes = self.call('--times=100', PATH, MANAGER, 'ListClients')
        self.assertEqual(outcomes, ['100 ok'])

    def test_memory_while_the_bus_is_stuck(self):
        self.settle()
        os.kill(self.bus.process.pid, signal.SIGSTOP)
        self.service.command('join 10000')  # more than the socket to the bus takes
        before = self.stat()[2]
        for _ in range(3):
            self.service.command('churn 100000')
            for id in range(N, N + 100):
                self.service.command(f'state {id} 2')
        _, _, stuck, waiting = self.stat()
        os.kill(self.bus.process.pid, signal.SIGCONT)
        print(f'{before >> 10} KiB with 10,000 joins to announce, {stuck >> 10} KiB after 300,000 more changes')
        self.assertTrue(waiting)
        self.assertLess(stuck - before, 1 << 20)  # the 256 signals that sd-bus may hold, and no more
        self.settle()
        self.assertLessEqual(self.stat()[2], before)
        self.assertEqual(self.n_clients(), 2 * N)


class ManyCallsTest(BusTest):
    def test_many_calls_at_once(self):
        self.start_bus()
        self.start_service()
        self.service.command('join 3')
        usec, outcomes = self.call('--times=10000', PATH, MANAGER, 'ListClients')
        self.assertEqual(outcomes, ['10000 ok'])
        print(f'10,000 ListClients() at once: {usec / 10000:.0f} us each')


if __name__ == '__main__':
    main()
