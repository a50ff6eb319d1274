/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The limit stays where waits end within it, doubles where they would have ended within the maximum, and falls to nothing with
 * the first that does not: so a pause costs one limit at most, however long it is. */

#include "protocol/spin.h"

enum {
        SPIN_USEC_FIRST = 10, /* what is tried first: less than a sleep costs, so nothing is lost where it was in vain */
};

void spin_waited(Spin *s, uint64_t usec, bool came) {
        if (!came || usec > s->max)
                s->limit = 0;
        else if (usec > s->limit) {
                s->limit = s->limit == 0 ? SPIN_USEC_FIRST : 2 * s->limit;
                if (s->limit > s->max)
                        s->limit = s->max;
        }
}
