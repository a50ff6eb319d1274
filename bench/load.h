/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The load: clients of one server, of any target, and messages between them, from preformatted buffers. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/target.h"

typedef enum Shape {
        SHAPE_PAIRS,     /* n pairs */
        SHAPE_ALL,       /* n senders, each to each of n receivers by turns */
        SHAPE_BROADCAST, /* one sender, n receivers of each message */
        SHAPE_BUSY,      /* a pair with a window of 1, and n pairs that send all they can meanwhile */
} Shape;

typedef struct Workload {
        Shape shape;
        uint64_t size;   /* payload bytes */
        uint32_t n;
        uint32_t window; /* messages on their way, each is answered; 0: deep, as many as there is room for, one way */
        uint32_t spin_usec; /* the load polls for so long before it sleeps */
} Workload;

typedef struct LoadFigures {
        uint64_t messages; /* that have arrived, answers included */
        uint64_t lost;     /* that have not, and nothing has moved for a second */
        uint64_t elapsed_nsec;
        uint32_t *round_trips_nsec; /* of window 1; the load's own, valid until its next run */
        size_t n_round_trips;
} LoadFigures;

typedef struct Load Load;

/* Connects all, and has one message go each way that is used, and compares it byte by byte. 0 or a negative errno: -EPROTO if
 * what arrives is not what was sent. */
int load_new(const Target *target, const Server *server, const Workload *workload, Load **ret_load);
Load *load_free(Load *l);

/* Sends for `duration_nsec`, then waits until all has arrived, or nothing has for a while. 0, or a negative errno if a client
 * has lost its connection. */
int load_run(Load *l, uint64_t duration_nsec, LoadFigures *ret_figures);

/* A message as it is on the wire: `put` is one of the target's two. What is larger than it takes is several. */
void load_put_message(const Target *target, TargetPut *put, Out *o, const Client *from, const Client *to, uint64_t size);

/* CLOCK_MONOTONIC */
uint64_t load_now_nsec(void);
