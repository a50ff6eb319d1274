# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each allocation of a handover fails in turn, on either side. Then clients are told to come back, or their links are closed, all
of them, and they resume."""

from collections import Counter

import direct1
from direct1 import Closed
from failing import BURST, NEVER, Failing, choose, main, show
from manager import ManagedService
from service import TIMEOUT, ServiceFailure, ServiceTest


class FailingService(ManagedService):
    """The memory of the service fails, not that of what starts it."""

    def __init__(self, failing):
        variables = failing.environment
        self.prefix = ("/usr/bin/env", *(f"{name}={value}" for name, value in variables.items()))
        super().__init__()


class Handover(ServiceTest):
    def start_service(self):
        self.failing = Failing()
        self.addCleanup(self.failing.close)
        service = FailingService(self.failing)
        self.addCleanup(service.finish)
        return service

    def closed(self, client):
        """Did the service end it?"""
        try:
            client.ping()
        except (Closed, OSError):
            return True
        return False

    def outcome(self, clients):
        lost = [self.closed(client) for client in clients]
        self.assertEqual(len(set(lost)), 1, "some links were lost, and some not")
        # A start that had no memory for the account of who may resume has removed it, and the next says so.
        may_resume = not any("can't resume" in line for line in self.service.log())
        for client, address in zip(clients, (self.service.held, self.service.unix)):
            if lost[0] and not may_resume:
                with self.assertRaises(direct1.Refused):
                    direct1.Client(address, resume=client.welcome)
            elif lost[0]:
                with direct1.Client(address, resume=client.welcome) as again:
                    self.assertEqual(again.id, client.id)
                    again.goodbye()
            else:
                client.goodbye()
            client.close()
        return "nothing" if not lost[0] else "all links" if may_resume else "all sessions"

    def clients(self):
        return [direct1.Client(address, name) for address, name in ((self.service.held, "a"), (self.service.unix, "b"))]

    def before(self, first, n):
        """Fails in the service that hands over."""
        clients = self.clients()
        self.failing.begin(first, n)
        self.service.stop()
        n_allocations, _ = self.failing.end()
        self.service.start()
        return self.outcome(clients), n_allocations

    def after(self, first, n):
        """Fails in the service that takes over."""
        clients = self.clients()
        self.service.stop()
        self.failing.begin(first, n)
        try:
            self.service.start()
            self.service.wait_line("Ready")
            n_allocations, _ = self.failing.end()
        except ServiceFailure:
            n_allocations, _ = self.failing.end()
            self.assertEqual(self.service.process.wait(TIMEOUT), 1, self.service.log())
            self.service.reader.join()
            self.service.start()
        return self.outcome(clients), n_allocations

    def sweep(self, attempt):
        _, n = attempt(NEVER, 1)
        for burst in (1, BURST):
            table = Counter()
            for i in choose(n, burst):
                with self.subTest(f"{attempt.__name__}, {i}, {burst}"):
                    table[attempt(i, burst)[0]] += 1
            show(attempt.__name__, n, burst, table)

    def test_before(self):
        self.sweep(self.before)

    def test_after(self):
        self.sweep(self.after)


if __name__ == "__main__":
    main()
