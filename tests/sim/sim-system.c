/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* In place of client/system.c. */

#include "client/util.h"
#include "tests/sim/world.h"

uint64_t usec_now(void) {
        return world_now;
}

uint64_t tick_now(void) {
        return usec_now() / 4000; /* of a kernel with HZ=250 */
}

uint64_t random_seed(void) {
        return rng_next(world_rng());
}
