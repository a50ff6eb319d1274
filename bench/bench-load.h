/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What bench-load does beside rounds of messages. Both write what they found as a line to standard output. */

#include "bench/load.h"
#include "bench/target.h"

/* One server with its load */
typedef struct Side {
        const Target *target;
        char label[32]; /* in what is written */
        Server server;
        pid_t pid;
        Load *load;
} Side;

/* `n` clients connect, subscribe, and do nothing. */
int measure_idle(const Side *s, unsigned n);

/* Eight pairs at a steady rate; the receiver of the first does not read for `stop_ms`. */
int measure_stopped(const Side *s, uint64_t size, unsigned stop_ms);
