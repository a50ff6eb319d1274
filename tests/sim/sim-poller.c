/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* In place of client/poller.c: what is ready now is computed when it is asked for. Nothing here waits, so only what never blocks
 * can be called. */

#include "client/poller.h"
#include "client/util.h"
#include "tests/sim/actor.h"
#include "tests/sim/world.h"

int poller_init(Poller *p) {
        *p = POLLER_NULL;
        p->timer_armed = USEC_NEVER;
        return 0;
}

void poller_deinit(Poller *p) {
        *p = POLLER_NULL;
}

int poller_wait(Poller *p, int timeout, const void *link, PollerEvents *ret) {
        sim_require(timeout == 0);
        *ret = (PollerEvents) { .socket = sim_link_events(link) };
        if (p->timer_armed != USEC_NEVER && p->timer_armed <= usec_now())
                p->timer_armed = USEC_NEVER;
        return 0;
}

void poller_set_timer(Poller *p, uint64_t deadline) {
        if (deadline >= p->timer_armed && (p->timer_armed != 0 || deadline == 0))
                return;
        p->timer_armed = deadline;
}
