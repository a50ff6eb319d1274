#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A checker that finds nothing may be one that does not look: each violation is planted in logs that are else in order."""

import contextlib
import errno
import io
import os
import tempfile
import unittest
import unittest.mock

import check
import records
from records import (AGAIN, CONNECTED, DAMAGED, DISCONNECTED, ENDED, FAILED, LARGE, LAST, MORTAL, OUTCOME, PART, RECEIPT,
                     REFUSED, RESUMED, SEND, STARTED, Record)

ALICE, BOB, CAROL = 11, 22, 33


def begin(own):
    return [Record(STARTED, sequence=1), Record(CONNECTED, own=own)]


def send(sequence, own=ALICE, peer=BOB, **fields):
    return Record(SEND, own=own, peer=peer, sequence=sequence, value=100, **fields)


def outcome(sequence, value=0, own=ALICE, peer=BOB, **fields):
    return Record(OUTCOME, own=own, peer=peer, sequence=sequence, value=value, **fields)


def receipt(sequence, own=BOB, peer=ALICE, **fields):
    return Record(RECEIPT, own=own, peer=peer, sequence=sequence, value=100, **fields)


def part(offset, size=10, **fields):
    return Record(PART, own=BOB, peer=ALICE, sequence=offset, value=size, reason=1, **fields)


def again(size, peer=BOB):
    return Record(AGAIN, own=ALICE, peer=peer, sequence=9, value=size)


def connected(own, flags=0):
    return Record(CONNECTED, own=own, flags=flags)


LOST = Record(DISCONNECTED)
END = Record(ENDED)


class Check(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, name, log, more=b""):
        path = os.path.join(self.directory, name)
        with open(path, "wb") as f:
            f.write(b"".join(records.pack(record) for record in log) + more)
        return path

    def check(self, alice, bob, carol=None, more=b"", **options):
        logs = [self.write("alice", [*begin(ALICE), *alice]), self.write("bob", [*begin(BOB), *bob], more)]
        if carol is not None:
            logs.append(self.write("carol", [*begin(CAROL), *carol]))
        self.checker = check.check(logs, **options)
        return self.checker.violations

    def assertGood(self, *logs, **options):
        self.assertEqual(self.check(*logs, **options), [])

    def assertFound(self, pattern, *logs, **options):
        """That, and nothing else."""
        violations = self.check(*logs, **options)
        self.assertEqual(len(violations), 1, violations)
        self.assertRegex(violations[0], pattern)

    # In order

    def test_good(self):
        self.assertGood([send(1), send(2), outcome(1), outcome(2), END], [receipt(1), receipt(2), END])
        self.assertEqual((self.checker.counts["messages"], self.checker.counts["delivered"]), (2, 2))

    def test_large_messages_may_be_passed(self):
        self.assertGood([send(1, flags=LARGE), send(2), outcome(2), outcome(1), END], [receipt(2), receipt(1, flags=LARGE), END])

    def test_killed_sender_owes_no_outcome(self):
        self.assertGood([send(1), send(2)], [receipt(1), END])

    def test_killed_receiver(self):
        self.assertGood([send(1), send(2), outcome(1), outcome(2, -errno.ENXIO), END], [receipt(1)])
        self.assertEqual(self.checker.failures, {"ENXIO": 1})

    def test_killed_while_being_handed_one(self):
        self.assertGood([send(1), send(2), outcome(1), outcome(2), END], [receipt(1)])
        self.assertEqual(self.checker.counts["received"], 1)

    def test_killed_in_the_middle_of_a_record(self):
        self.assertGood([send(1), outcome(1), END], [receipt(1)], more=b"abc")

    def test_resumed(self):
        self.assertGood([LOST, connected(ALICE, RESUMED), send(1), outcome(1), END], [receipt(1), END])
        self.assertEqual((self.checker.counts["resumes"], self.checker.counts["links lost"]), (1, 1))

    def test_handled_after_the_session(self):
        self.assertGood([send(1), outcome(1), END], [LOST, receipt(1), connected(BOB + 1), END], sessions_may_end=True)

    def test_handled_before_its_session_is_noted(self):
        self.assertGood([send(1, peer=BOB + 1), outcome(1, peer=BOB + 1), END],
                        [receipt(1, own=BOB + 1), connected(BOB + 1), END], sessions_may_end=True)

    def test_session_of_sender_ended(self):
        self.assertGood([send(1), outcome(1, -errno.ECONNRESET), connected(ALICE + 1), END], [END], sessions_may_end=True)

    def test_session_of_receiver_ended(self):
        self.assertGood([send(1), outcome(1, -errno.ENXIO), END], [connected(BOB + 1), END], sessions_may_end=True)

    def test_refused(self):
        self.assertGood([send(1), outcome(1, -errno.ECONNRESET, flags=REFUSED), END], [END])
        self.assertEqual(self.checker.counts["messages"], 0)

    def test_time_to_live(self):
        self.assertGood([send(1, flags=MORTAL), outcome(1, -errno.ETIME), END], [END])

    def test_file(self):
        self.assertGood([send(1, flags=LARGE), outcome(1), END],
                        [part(0), part(10), part(20, flags=LAST), receipt(1, flags=LARGE), END])

    def test_sent_again(self):
        self.assertGood([send(1), outcome(1), again(check.WINDOW), again(check.WINDOW, peer=CAROL), END], [receipt(1), END])
        self.assertEqual(sum(len(turns) for turns in self.checker.again.values()), 2)

    def test_file_cut_off(self):
        self.assertGood([send(1, flags=LARGE)], [part(0), part(10, 0, flags=LAST | FAILED), END])

    # Violations

    def test_delivered_but_not_received(self):
        self.assertFound("11 -> 22, 2: delivered, but never received", [send(1), send(2), outcome(1), outcome(2), END],
                         [receipt(1), END])

    def test_delivered_to_a_killed_receiver_but_not_received(self):
        self.assertFound("22, 2: delivered, but never received", [send(1), send(2), outcome(1), outcome(2), END], [])

    def test_received_twice(self):
        self.assertFound("22, 1: received twice", [send(1), outcome(1), END], [receipt(1), receipt(1), END])

    def test_received_twice_later(self):
        self.assertFound("22, 1: received twice", [send(1), send(2), outcome(1), outcome(2), END],
                         [receipt(1), receipt(2), receipt(1), END])

    def test_order(self):
        self.assertFound("22, 1: received after 2", [send(1), send(2), outcome(1), outcome(2), END],
                         [receipt(2), receipt(1), END])

    def test_order_is_of_the_pair(self):
        self.assertGood([send(1), send(2), outcome(1), outcome(2), END], [receipt(1), receipt(1, peer=CAROL), receipt(2), END],
                        [send(1, own=CAROL), outcome(1, own=CAROL), END])

    def test_received_by_another(self):
        self.assertFound(r"carol \(as \[33\]\) received 11 -> 22, 1", [send(1), outcome(1), END], [END], [receipt(1), END])

    def test_received_by_the_next_of_that_name(self):
        self.assertFound(r"carol \(as \[33\]\) received 11 -> 22, 2",
                         [send(1), send(2), outcome(1), outcome(2, -errno.ENXIO), END], [receipt(1)], [receipt(2), END])

    def test_never_sent(self):
        self.assertFound("22, 7: received, but was never sent", [END], [receipt(7), END])

    def test_outcome_of_nothing(self):
        self.assertFound("22, 7: has an outcome, but was never sent", [outcome(7, -errno.ENXIO), END], [])

    def test_no_outcome(self):
        self.assertFound("22, 1: has no outcome", [send(1), END], [receipt(1), END])

    def test_two_outcomes(self):
        self.assertFound("22, 1: a second outcome", [send(1), outcome(1), outcome(1), END], [receipt(1), END])

    def test_sent_twice(self):
        self.assertFound("two messages 1", [send(1), send(1), outcome(1), END], [receipt(1), END])

    def test_damaged(self):
        self.assertFound("a damaged message", [send(1), outcome(1), END], [receipt(1), receipt(0, flags=DAMAGED), END])

    def test_failed_without_reason(self):
        self.assertFound("failed .ENXIO., though both have lived", [send(1), outcome(1, -errno.ENXIO), END], [END])

    def test_received_though_its_time_was_over(self):
        self.assertFound("22, 1: received, though", [send(1, flags=MORTAL), outcome(1, -errno.ETIME), END], [receipt(1)])

    def test_received_though_refused(self):
        self.assertFound("22, 1: received, though", [send(1), outcome(1, -errno.EPIPE, flags=REFUSED), END], [receipt(1), END])

    def test_time_was_over_of_one_that_lives_for_ever(self):
        self.assertFound("failed .ETIME., though both have lived", [send(1), outcome(1, -errno.ETIME), END], [END])

    def test_session_lost(self):
        self.assertFound("the session of 11 was not resumed", [LOST, connected(ALICE + 1), END], [END])

    def test_resumed_as_another(self):
        self.assertFound("resumed as 12, but was .11.", [LOST, connected(ALICE + 1, RESUMED), END], [END])

    def test_id_used_again(self):
        self.assertFound("has the id 22, and so has bob", [END], [], [connected(BOB), END], sessions_may_end=True)

    def test_log_cut_off(self):
        self.assertFound("ends with 3 bytes that are no record", [END], [END], more=b"abc")

    def test_part_missing(self):
        self.assertFound("a part at 20, not at 10", [send(1, flags=LARGE)], [part(0), part(20), END])

    def test_part_twice(self):
        self.assertFound("a part at 0, not at 10", [send(1, flags=LARGE)], [part(0), part(0), END])

    def test_more_than_a_window_sent_again(self):
        self.assertFound("524289 bytes up to 9 were sent again at once", [send(1), outcome(1), again(check.WINDOW + 1), END],
                         [receipt(1), END])

    def test_part_after_the_last(self):
        self.assertFound("a part at 10 after the last", [send(1, flags=LARGE)], [part(0, flags=LAST), part(10), END])

    # As a program

    def test_status(self):
        good = [self.write("alice", [*begin(ALICE), send(1), outcome(1), END]), self.write("bob", [*begin(BOB), receipt(1), END])]
        nothing = [self.write("nothing", [])]
        for logs, status in ((good, 0), (good[:1], 1), (nothing, 1)):
            with contextlib.redirect_stdout(io.StringIO()):
                with unittest.mock.patch("sys.argv", ["check.py", *logs]):
                    self.assertEqual(check.main(), status, logs)


if __name__ == "__main__":
    unittest.main()
