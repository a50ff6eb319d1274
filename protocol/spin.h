/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether to poll for a while before going to sleep: at the service, and at clients. */

#include <stdbool.h>
#include <stdint.h>

enum {
        /* The longest that makes sense: to sleep and be woken costs some 5 to 50 us, and what has not come in twenty times that
         * can as well come 50 us later */
        SPIN_USEC_MAX = 1000,
};

typedef struct Spin {
        uint64_t limit_nsec; /* at most for so long; 0: never */
        bool is_brisk;       /* traffic has ended the last wait, and within the limit */
        unsigned n_misses;   /* polls that have found nothing, less those that have found something */
        unsigned n_rests;    /* waits that are not to be polled in, because of those */
} Spin;

#define SPIN_NULL ((Spin) {})

/* Begins anew. */
void spin_set(Spin *s, uint64_t usec);

/* For how long to poll in the wait that begins now. */
uint64_t spin_begin(Spin *s);

/* How that wait went: `polled_nsec` is what spin_begin() has said, or 0 if there was something already; `waited_nsec` its whole
 * length. `traffic`: that has ended it, and not a timer, for example. */
void spin_end(Spin *s, uint64_t polled_nsec, uint64_t waited_nsec, bool traffic);
