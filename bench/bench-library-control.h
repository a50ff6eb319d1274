/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the machine itself costs. One process sends to another as fast as it goes, through a bare relay, and none of them has to
 * do with the service or with those who are measured. Calls through the same relay show what they cost where bytes go through any
 * one process that serves all. */

#include "bench/bench-library-histogram.h"
#include "bench/child.h"

typedef struct Control {
        Child relay;
        pid_t answers, sends, receives;
        int fd; /* calls */
} Control;

#define CONTROL_NULL ((Control) { .relay = CHILD_NULL, .fd = -1 })

/* The relay, and who answers calls. 0, or a negative errno; the same for all. */
int control_start(const char *relay, Control *ret_control);
void control_stop(Control *c);

/* From here on bytes move. */
int control_move(Control *c);

/* Calls for so long, from this process, and adds what they took. */
int control_call(Control *c, unsigned duration_ms, Histogram *h);
