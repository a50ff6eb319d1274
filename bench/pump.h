/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The load: some connections to one server, and messages over them from preformatted buffers, for a while. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Pump Pump;

typedef struct Workload {
        uint32_t size;   /* payload bytes */
        uint32_t n;      /* pairs; or the receivers of a broadcast */
        uint32_t window; /* messages on their way, each is answered; 0: deep, as many as there is room for, one way */
        bool broadcast;
} Workload;

typedef struct PumpFigures {
        uint64_t messages; /* that have arrived, answers included */
        uint64_t elapsed_nsec;
        uint32_t *round_trips_nsec; /* of window 1; the pump's own, valid until its next run */
        size_t n_round_trips;
} PumpFigures;

/* Connects to 127.0.0.1. `speaks_direct`: says HELLO and waits for WELCOME; else the server pairs connections as they come. */
int pump_new(const Workload *workload, uint16_t port, bool speaks_direct, Pump **ret_pump);
Pump *pump_free(Pump *p);

/* Sends for `duration_nsec`, then waits until all has arrived. 0, or a negative errno: -ETIMEDOUT if something does not
 * arrive. */
int pump_run(Pump *p, uint64_t duration_nsec, PumpFigures *ret_figures);

/* CLOCK_MONOTONIC */
uint64_t pump_now_nsec(void);
