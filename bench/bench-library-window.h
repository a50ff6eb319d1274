/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a sender does in bench-library-stopped.c: to each of its targets it has some messages on their way, which come back. It
 * checks that each comes back once and in order, and that of each it was told that it is delivered. */

#include "bench/bench-library-peer.h"

enum {
        WINDOW_MESSAGE_SIZE = 1024,
        WINDOW_SIZE = 8, /* messages on their way to one target; to order->deep, order->deep_window */
};

/* For order->duration_nsec. Figures of all targets but order->deep, whose answers take as long as it is stopped. */
int task_window(PeerSelf *self, const PeerOrder *order);

/* Until all has come back, and of all it is known that it is delivered. */
int task_drain(PeerSelf *self, const PeerOrder *order);
