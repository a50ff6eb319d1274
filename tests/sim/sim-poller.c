/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* In place of client/poller.c: what is ready now is computed when it is asked for, but for pipes, which are the kernel's. Nothing
 * here waits, so only what never blocks can be called. */

#include <errno.h>
#include <sys/epoll.h>

#include "client/poller.h"
#include "client/util.h"
#include "tests/sim/actor.h"
#include "tests/sim/pipes.h"
#include "tests/sim/world.h"

int poller_init(Poller *p) {
        *p = POLLER_NULL;
        p->timer_armed = USEC_NEVER;
        p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        return p->epoll_fd < 0 ? -errno : 0;
}

void poller_deinit(Poller *p) {
        close_fd(p->epoll_fd);
        *p = POLLER_NULL;
}

int poller_wait(Poller *p, uint64_t deadline, const void *link, PollerEvents *ret) {
        sim_require(deadline == 0);
        *ret = (PollerEvents) { .socket = sim_link_events(link) };
        if (pipes_are_used()) {
                struct epoll_event events[POLLER_EVENTS_MAX];
                int n = epoll_wait(p->epoll_fd, events, POLLER_EVENTS_MAX, 0);

                sim_require(n >= 0);
                for (; ret->n_pipes < (size_t) n; ret->n_pipes++)
                        ret->pipes[ret->n_pipes] = events[ret->n_pipes].data.ptr;
        }
        if (p->timer_armed != USEC_NEVER && p->timer_armed <= usec_now())
                p->timer_armed = USEC_NEVER;
        return 0;
}

int poller_wait_ready(Poller *p, uint64_t deadline) {
        sim_require(false);
        return 0;
}

void poller_set_timer(Poller *p, uint64_t deadline) {
        if (deadline >= p->timer_armed && (p->timer_armed != 0 || deadline == 0))
                return;
        p->timer_armed = deadline;
}
