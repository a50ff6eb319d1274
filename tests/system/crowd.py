# SPDX-License-Identifier: LGPL-2.1-or-later
"""Crowds of clients that talk while something is done to their service; see crowd.c."""

import json
import os

from machine import Failure

LOCAL = "unix:/run/directserver/directserver.sock"
TCP = "127.0.0.1:20000"
FULL = os.environ.get("SYSTEM_SCALE") == "full"  # what DirectServer promises, on a machine that has nothing else to do
MESSAGES = 4  # for each client
REPORT_SECONDS = 0.1  # the processors are for the crowd
PAUSE_MS = 500 if FULL else 10000
RESUME_MS = 2000 if FULL else 20000


class Crowd:
    def __init__(self, machine, address, clients, rate, size=64, processes=1):
        self.what = f"{clients} clients at {address}"
        self.clients = clients
        self.program = machine.start("/programs/crowd", f"--address={address}", f"--clients={clients}", f"--rate={rate}",
                                     f"--size={size}", f"--processes={processes}", merge=True)

    def wait(self):
        """Until all are connected. It is apart from the start, so that several can start at once."""
        self._expect("ready")
        return self

    def _expect(self, beginning):
        line = self.program.stdout.readline()
        if not line.startswith(beginning):
            raise Failure(f"{self.what}: {line}{self.program.communicate()[0]}")
        return line

    def report(self):
        self.program.stdin.write("\n")
        self.program.stdin.flush()
        return json.loads(self._expect("{"))

    def finish(self):
        """Returns the last counts, when each message has arrived and its sender knows."""
        output = self.program.communicate()[0]
        if self.program.returncode != 0:
            raise Failure(f"{self.what}: status {self.program.returncode}\n{output}")
        return json.loads(output)


class Crowds:
    """Over the local socket, over TCP, and a few that send much, so that frames are cut in the middle and wait in outboxes"""

    def __init__(self, machine):
        clients, rate = (2450, 9900) if FULL else (450, 1500)
        self.all = [Crowd(machine, LOCAL, clients, rate), Crowd(machine, TCP, clients, rate),
                    Crowd(machine, LOCAL, 50, 100, size=65536), Crowd(machine, TCP, 50, 100, size=65536)]
        self.clients = sum(crowd.clients for crowd in self.all)
        for crowd in self.all:
            crowd.wait()
        self.report()  # what was slow until now does not count

    def report(self):
        reports = [crowd.report() for crowd in self.all]
        return {name: (max if name == "longest_ms" else sum)(r[name] for r in reports) for name in reports[0]}

    def wait_for_traffic(self, test):
        """Until each client has got some messages, on average, from now on: then what has piled up before is gone as well.
        Returns the longest delay since the last time, in ms."""
        report = self.report()
        received, longest = report["received"] + MESSAGES * self.clients, report["longest_ms"]

        def enough():
            nonlocal longest
            report = self.report()
            longest = max(longest, report["longest_ms"])
            return report["received"] >= received

        test.machine.wait_for(enough, "traffic", REPORT_SECONDS)
        return longest

    def finish(self, test):
        """Nothing is lost, doubled or out of order."""
        counts = [crowd.finish() for crowd in self.all]
        for c in counts:
            test.assertEqual((c["sent"], c["sent"], 0), (c["delivered"], c["received"], c["wrong"]))
        return {name: sum(c[name] for c in counts) for name in counts[0] if name != "longest_ms"}
