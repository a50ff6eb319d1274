/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the measurements have in common. Each starts a service of its own, prints its table, and returns 0, 1 if a goal is
 * missed, or a negative errno: that something did not arrive, or arrived twice, is an error; that it took long is not. */

#include <limits.h>
#include <stdbool.h>

#include "bench/child.h"

enum {
        ROUNDS_MAX = 99,
        WARM_UP_MS = 100, /* the kernel finds the sizes of its buffers */
};

typedef struct Options {
        char service[PATH_MAX], relay[PATH_MAX];
        bool quick, strict;
        unsigned n_rounds, slice_ms;
        unsigned file_mib;
        unsigned n_stops, n_receivers, stop_ms, before_ms;
        bool skips_tcp, skips_local;
} Options;

/* After a failure, before the service is stopped: whether it still runs, and what it has logged */
void library_explain(const Child *service);

/* What a reliable message costs beside an unreliable one */
int reliable_measure(const Options *options);

/* How long a small call takes while a large file moves */
int latency_measure(const Options *options);

/* How long a call takes, and what it costs, where who waits looks for a while before it sleeps */
int spin_measure(const Options *options);

/* What the others notice of a program that was stopped */
int stopped_measure(const Options *options);
