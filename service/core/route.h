/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Forwarding: a run is one or more whole frames, next to each other, of one sender to one target. */

#include "service/core/link.h"

typedef struct Run {
        uint64_t target;
        const uint8_t *data;
        size_t size;
        uint32_t n_messages;
        bool urgent; /* ACK: may pass what is kept */
} Run;

enum {
        /* What is kept of ACKs for one client that is over its high-water mark before those who send them wait as well. An honest sender
         * has a few for each flow: that is those of some ten thousand. */
        ROUTE_ACKS_MAX = 1024 * 1024,
};

void route_run(Link *from, const Run *run);

/* `to` has drained below its low-water mark. */
void route_drained(Link *to);

/* The last number of each client that has broadcast, with `baseline` for a newcomer. */
void route_send_marks(Link *to, bool baseline);
