/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who waits for something that comes in a moment does better to look again and again than to sleep: to be put to sleep and woken
 * costs both sides more than the wait. How long that pays is learned from the waits before, as KVM does it for processors that
 * halt (halt_poll_ns): while they are short the limit grows, after a long one it is nothing, so that who is idle spends nothing.
 * There is no clock in here: who waits measures. Between two looks it yields the processor (sched_yield(2)): where there are not
 * enough of them, it would else keep from running just those who are to send what it waits for. */

#include <stdbool.h>
#include <stdint.h>

enum {
        /* The longest that makes sense: to sleep and be woken costs some 5 to 50 us, and what has not come in twenty times that
         * can as well come 50 us later */
        SPIN_USEC_MAX = 1000,
};

typedef struct Spin {
        uint64_t max;   /* usec; 0: sleep at once, always */
        uint64_t limit; /* how long the next wait is to look before it sleeps */
} Spin;

#define SPIN_NULL ((Spin) {})

static inline void spin_set(Spin *s, uint64_t max) {
        *s = (Spin) { .max = max };
}

/* A wait is over after `usec`, the looking included. `came`: by what it was for, not by its timeout. */
void spin_waited(Spin *s, uint64_t usec, bool came);
