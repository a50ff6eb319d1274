/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the handle waits for: one epoll set with the socket, a timer, and pipes of direct_send_fd(). */

#include <stddef.h>
#include <stdint.h>

#include "protocol/spin.h"

enum { POLLER_EVENTS_MAX = 16 };

typedef struct Poller {
        int epoll_fd;
        int timer_fd;
        uint64_t timer_armed; /* what timer_fd is set to: 0, now; USEC_NEVER, not at all */
        Spin spin;            /* how long it looks before it sleeps */
} Poller;

/* What has happened: to a socket, and to pipes */
typedef struct PollerEvents {
        uint32_t socket;
        void *pipes[POLLER_EVENTS_MAX];
        size_t n_pipes;
} PollerEvents;

#define POLLER_NULL ((Poller) { .epoll_fd = -1, .timer_fd = -1 })

/* 0 or a negative errno; poller_deinit() in either case. */
int poller_init(Poller *p);
void poller_deinit(Poller *p);

/* Waits until `deadline` at most (0: not at all; USEC_NEVER: for ever). `link` is what the socket is known by. 0 or -EINTR. */
int poller_wait(Poller *p, uint64_t deadline, const void *link, PollerEvents *ret);

/* The same, but only tells whether something has happened: 1, 0 or a negative errno. */
int poller_wait_ready(Poller *p, uint64_t deadline);

/* Wakes up at `deadline` (0: at once). A deadline that has moved away leaves the timer as it is: questions come and are answered
 * all the time, and one wake-up for nothing costs less than setting the timer for each. */
void poller_set_timer(Poller *p, uint64_t deadline);
