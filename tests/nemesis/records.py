# SPDX-License-Identifier: LGPL-2.1-or-later
"""The logs of nemesis-client, as record.h lays them out."""

import collections
import struct

LAYOUT = struct.Struct("<BBHiQQQQ")

(STARTED, CONNECTED, DISCONNECTED, LEFT, SEND, OUTCOME, RECEIPT, PART, FINISHED, ENDED, AGAIN) = range(1, 12)

RESUMED = 1  # CONNECTED
LARGE, REFUSED, DAMAGED, LAST, FAILED, MORTAL = 1, 2, 4, 8, 16, 32

Record = collections.namedtuple("Record", "type flags reason value time own peer sequence", defaults=[0] * 8)


def pack(record):
    return LAYOUT.pack(*record)


def read(path):
    """Yields (type, flags, reason, value, time, own, peer, sequence) for each, and then, if the last is cut off, how many bytes
    of it there are. Plain tuples: there may be millions."""
    with open(path, "rb") as log:
        while True:
            data = log.read(LAYOUT.size << 14)
            whole = len(data) - len(data) % LAYOUT.size
            yield from LAYOUT.iter_unpack(memoryview(data)[:whole])
            if whole < len(data):
                yield len(data) - whole
            if len(data) < LAYOUT.size << 14:
                return
