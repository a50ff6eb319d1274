/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The load figures: counters that the router adds to once per batch, their rates, and the percentiles of the routing time. */

#include "service/core/histogram.h"

enum { LOAD_N_RATES = 3 };                                 /* over 1, 10 and 60 s */
extern const unsigned load_rate_seconds[LOAD_N_RATES];

/* What the rates are made of: all only ever grow. */
typedef struct LoadCounters {
        uint64_t messages_in;  /* DATA frames with LAST that clients sent */
        uint64_t messages_out; /* the same, once for each client that they were forwarded to */
        uint64_t bytes_in;     /* all that was read, headers included */
        uint64_t bytes_out;    /* all that was written */
        uint64_t busy_usec;    /* time that the loop neither slept nor polled */
} LoadCounters;

/* Everything, in the order of the LOAD answer on the wire (PROTOCOL.md): u64 each. */
typedef struct LoadFigures {
        uint64_t uptime_usec;
        uint64_t clients, clients_away, clients_paused;
        uint64_t messages_in, messages_out, bytes_in, bytes_out;
        uint64_t messages_in_rate[LOAD_N_RATES], messages_out_rate[LOAD_N_RATES];
        uint64_t bytes_in_rate[LOAD_N_RATES], bytes_out_rate[LOAD_N_RATES];
        uint64_t busy_permille[LOAD_N_RATES];
        uint64_t routing_p50_ns, routing_p90_ns, routing_p99_ns, routing_p999_ns, routing_max_ns;
        uint64_t queued_bytes, memory_bytes, cpu_usec;
        uint64_t bounces, skipped_broadcasts, protocol_errors;
} LoadFigures;

enum {
        LOAD_N_FIELDS = sizeof(LoadFigures) / sizeof(uint64_t),
        LOAD_N_SAMPLES = 61, /* one a second: the 60 s rate needs both ends */
};

typedef struct Load {
        LoadCounters counters;
        Histogram routing; /* ns from the wake-up that read a message to the end of the turn that wrote or queued it */
        uint64_t bounces, skipped_broadcasts, protocol_errors;

        LoadCounters samples[LOAD_N_SAMPLES]; /* a ring, the newest at `newest` */
        uint64_t sample_times[LOAD_N_SAMPLES];
        unsigned newest, n_samples;
} Load;

void load_init(Load *l, uint64_t now_usec);

/* Once a second: remembers the counters. Returns true while there was any change in the last minute, so that the caller can
 * stop its timer when the service idles and start it again (with another call) when there is traffic. */
bool load_sample(Load *l, uint64_t now_usec);

/* Fills in what Load knows: counters, rates up to now (not only up to the last sample), percentiles, and the last three; the rest
 * of *ret stays as it is. */
void load_get_figures(const Load *l, uint64_t now_usec, LoadFigures *ret);
