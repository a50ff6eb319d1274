#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads what the clients have noted, and says what is not as the library promises.

    check.py [--sessions-end] LOG...

Each log is of one process. What must hold:
  * a message that is delivered was received, but for one that a killed process was just being handed;
  * none is received twice, or damaged, or by another than it was sent to, or was never sent;
  * messages of one sender to one receiver that fit one frame arrive in the order in which they were sent;
  * each message of a process that has lived to its end has one outcome, and no message has two;
  * a message fails only when the session of its receiver or of its sender has ended, or the time that it had to live;
  * a session ends with its process only (not checked with --sessions-end);
  * the parts of a file come in order, without a gap, once;
  * whenever a flow is sent again, that is at most one window."""

import argparse
import collections
import errno
import os
import sys

import records
from records import DAMAGED, FAILED, LARGE, LAST, MORTAL, REFUSED, RESUMED

# What is known of one message, as bits
SENT, RECEIVED, IS_MORTAL, HAS_OUTCOME, DELIVERED, NEVER_TAKEN, NOT_SENT = (1 << i for i in range(7))

# Outcomes that say that the message has not arrived
NOT_ARRIVED = {-errno.ETIME, -errno.EACCES}
SHOWN = 50

# The largest that a receiver gives: INTAKE_WINDOW_MAX of client/intake.h, and no less than what a flow begins with
WINDOW = 512 << 10


class Process:
    """What stands in one log."""

    def __init__(self, path):
        self.path = path
        self.ids = []
        self.has_ended = False
        self.was_handed = False  # one message that it has not noted: the library acknowledges as it hands over
        self.received_as = {}  # id that a message was for -> the first such (source, sequence)
        self.n_cut = 0

    @property
    def name(self):
        return os.path.basename(self.path)


class Checker:
    def __init__(self, sessions_may_end=False):
        self.sessions_may_end = sessions_may_end
        self.violations = []
        self.counts = collections.Counter()
        self.failures = collections.Counter()
        self.processes = []
        self.process_of = {}  # id -> its process
        self.messages = collections.defaultdict(dict)  # (source, target) -> {sequence: bits}
        self.last = {}  # (source, target) -> the highest sequence received that fits one frame
        self.files = {}  # (source, target, stream) -> the offset that comes next; None after the last
        self.failed = []  # (source, target, sequence, result)
        self.again = collections.defaultdict(list)  # (source, target, stream) -> [(when it was over, bytes)], for each time
        self.handlers = {records.CONNECTED: self.connected, records.DISCONNECTED: self.disconnected, records.SEND: self.sent,
                         records.OUTCOME: self.outcome, records.RECEIPT: self.receipt, records.PART: self.part,
                         records.AGAIN: self.sent_again, records.ENDED: self.ended}

    def violation(self, text):
        self.violations.append(text)

    def read(self, path):
        process = Process(path)
        self.processes.append(process)
        handlers = self.handlers
        for record in records.read(path):
            if isinstance(record, int):
                process.n_cut = record
            elif handler := handlers.get(record[0]):
                handler(process, *record[1:])
        # kill -9 ends a write at a page at the earliest; a process that has lived has written all
        if process.n_cut and process.has_ended:
            self.violation(f"{process.name}: ends with {process.n_cut} bytes that are no record")

    # One record

    def connected(self, process, flags, reason, value, time, own, peer, sequence):
        if flags & RESUMED:
            self.counts["resumes"] += 1
            if own not in process.ids[-1:]:
                self.violation(f"{process.name}: resumed as {own}, but was {process.ids[-1:]}")
        elif process.ids:
            self.counts["sessions ended"] += 1
            if not self.sessions_may_end:
                self.violation(f"{process.name}: the session of {process.ids[-1]} was not resumed; it is {own} now")
        if own not in process.ids:
            process.ids.append(own)
        if self.process_of.setdefault(own, process) is not process:
            self.violation(f"{process.name}: has the id {own}, and so has {self.process_of[own].name}")

    def disconnected(self, process, flags, reason, value, time, own, peer, sequence):
        self.counts["links lost"] += 1

    def sent(self, process, flags, reason, value, time, own, peer, sequence):
        pair = self.messages[own, peer]
        bits = pair.get(sequence, 0)
        if bits & SENT:
            self.violation(f"{process.name}: {own} -> {peer} has two messages {sequence}")
        pair[sequence] = bits | SENT | (IS_MORTAL if flags & MORTAL else 0)

    def outcome(self, process, flags, reason, value, time, own, peer, sequence):
        pair = self.messages[own, peer]
        bits = pair.get(sequence, 0)
        if bits & HAS_OUTCOME:
            self.violation(f"{process.name}: {own} -> {peer}, {sequence}: a second outcome, {words(value)}")
        bits |= HAS_OUTCOME
        if flags & REFUSED:
            bits |= NEVER_TAKEN | NOT_SENT
        elif value == 0:
            bits |= DELIVERED
        else:
            self.failed.append((own, peer, sequence, value))
            if value in NOT_ARRIVED:
                bits |= NOT_SENT
        pair[sequence] = bits

    def receipt(self, process, flags, reason, value, time, own, peer, sequence):
        if flags & DAMAGED:
            self.violation(f"{process.name}: {peer} -> {own}: a damaged message of {value} bytes")
            return
        process.received_as.setdefault(own, (peer, sequence))
        pair = self.messages[peer, own]
        bits = pair.get(sequence, 0)
        if bits & RECEIVED:
            self.violation(f"{process.name}: {peer} -> {own}, {sequence}: received twice")
        elif not flags & LARGE:
            last = self.last.get((peer, own), 0)
            if sequence < last:
                self.violation(f"{process.name}: {peer} -> {own}, {sequence}: received after {last}")
            else:
                self.last[peer, own] = sequence
        pair[sequence] = bits | RECEIVED

    def part(self, process, flags, reason, value, time, own, peer, sequence):
        self.counts["parts"] += 1
        key = (peer, own, reason)
        expected = self.files.get(key, 0)
        if expected is None:
            self.violation(f"{process.name}: {peer} -> {own}, stream {reason}: a part at {sequence} after the last")
        elif sequence != expected and not flags & FAILED:
            self.violation(f"{process.name}: {peer} -> {own}, stream {reason}: a part at {sequence}, not at {expected}")
        self.files[key] = None if flags & LAST else sequence + value

    def sent_again(self, process, flags, reason, value, time, own, peer, sequence):
        self.again[own, peer, reason].append((time, value))
        if value > WINDOW:
            self.violation(f"{process.name}: {own} -> {peer}, stream {reason}: {value} bytes up to {sequence} were sent again "
                           "at once")

    def ended(self, process, flags, reason, value, time, own, peer, sequence):
        process.has_ended = True

    # All of them together

    def finish(self):
        # Messages may be handled when the session that they came in has ended: each id that the process ever has is its own
        for process in self.processes:
            for own, (peer, sequence) in process.received_as.items():
                if own not in process.ids:
                    self.violation(f"{process.name} (as {process.ids}) received {peer} -> {own}, {sequence}")
        for (source, target), pair in self.messages.items():
            sender, receiver = self.process_of.get(source), self.process_of.get(target)
            for sequence, bits in pair.items():
                self.judge(f"{source} -> {target}, {sequence}", bits, sender, receiver)
        for source, target, sequence, value in self.failed:
            self.failures[words(value)] += 1
            if value == -errno.ETIME and self.messages[source, target][sequence] & IS_MORTAL:
                continue
            if not self.is_over(source) and not self.is_over(target):
                self.violation(f"{source} -> {target}, {sequence}: failed ({words(value)}), though both have lived")

    def judge(self, what, bits, sender, receiver):
        counts = self.counts
        if not bits & SENT:
            self.violation(f"{what}: {'received' if bits & RECEIVED else 'has an outcome'}, but was never sent")
            return
        if not bits & NEVER_TAKEN:
            counts["messages"] += 1
        if bits & RECEIVED:
            counts["received"] += 1
            if bits & NOT_SENT:
                self.violation(f"{what}: received, though its outcome is that it was not sent")
        if bits & DELIVERED:
            counts["delivered"] += 1
            if not bits & RECEIVED and receiver and not receiver.has_ended and not receiver.was_handed:
                receiver.was_handed = True
                counts["delivered, and being handed over when the receiver was killed"] += 1
            elif not bits & RECEIVED:
                self.violation(f"{what}: delivered, but never received")
        if not bits & HAS_OUTCOME:
            counts["without outcome, of senders that were killed"] += not sender or not sender.has_ended
            if sender and sender.has_ended:
                self.violation(f"{what}: has no outcome")

    def is_over(self, client_id):
        """Its session has ended before the test did."""
        process = self.process_of.get(client_id)
        return not process or not process.has_ended or client_id != process.ids[-1]

    def report(self):
        killed = sum(not process.has_ended for process in self.processes)
        print(f"processes: {len(self.processes)}, of which killed: {killed}")
        for what, n in sorted(self.counts.items()):
            print(f"{what}: {n}")
        for what, n in sorted(self.failures.items()):
            print(f"failed, {what}: {n}")
        if sizes := [size for turns in self.again.values() for _, size in turns]:
            print(f"sent again: {sum(sizes) / (1 << 20):.1f} MiB in {len(sizes)} turns of {len(self.again)} flows, "
                  f"at most {max(sizes) / 1024:.0f} KiB at once (a window is {WINDOW >> 10} KiB)")
        for text in self.violations[:SHOWN]:
            print(f"VIOLATION: {text}")
        if len(self.violations) > SHOWN:
            print(f"... and {len(self.violations) - SHOWN} more")
        print(f"violations: {len(self.violations)}")


def words(value):
    return errno.errorcode.get(-value, str(value)) if value else "delivered"


def check(paths, sessions_may_end=False):
    checker = Checker(sessions_may_end)
    for path in paths:
        checker.read(path)
    checker.finish()
    return checker


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions-end", action="store_true", help="a session may end while its process lives")
    parser.add_argument("logs", nargs="+", metavar="LOG")
    arguments = parser.parse_args()
    checker = check(arguments.logs, arguments.sessions_end)
    checker.report()
    return bool(checker.violations) or not checker.counts["messages"]


if __name__ == "__main__":
    sys.exit(main())
