/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Forwarding: a run is one or more whole frames, next to each other, of one sender to one target. */

#include "service/core/link.h"

typedef enum RunClass {
        RUN_MESSAGES,
        RUN_URGENT,     /* ACK, RESEND: may pass what is kept */
        RUN_BROADCASTS, /* and what answers a RESEND: not waited for longer than a broadcast is */
} RunClass;

typedef struct Run {
        uint64_t target;
        const uint8_t *data;
        size_t size;
        uint32_t n_messages;
        uint8_t class; /* RunClass */
} Run;

void route_run(Link *from, const Run *run);

/* `to` has drained below its low-water mark. */
void route_drained(Link *to);

/* The last number of each client that has broadcast, with `baseline` for a newcomer. */
void route_send_marks(Link *to, bool baseline);
