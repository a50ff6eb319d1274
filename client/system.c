/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the library takes from its surroundings besides the link and the poller: the time, and chance. These are all that a
 * simulation has to replace to run whole clients on a time and a network of its own. */

#include <sys/random.h>

#include "client/util.h"

uint64_t usec_now(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

uint64_t tick_now(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

uint64_t random_seed(void) {
        uint64_t seed;

        if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
                seed = usec_now() ^ (uint64_t) getpid() << 32;
        return seed;
}
