/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the epoll set and the timer. Sockets and pipes are put in by those who own them; what a wake-up means is the loop's
 * affair. */

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "client/poller.h"
#include "client/util.h"

int poller_init(Poller *p) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = p };

        *p = POLLER_NULL;
        p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (p->epoll_fd < 0)
                return -errno;
        p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (p->timer_fd < 0)
                return -errno;
        p->timer_armed = USEC_NEVER;
        if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->timer_fd, &event) < 0)
                return -errno;
        return 0;
}

void poller_deinit(Poller *p) {
        p->timer_fd = close_fd(p->timer_fd);
        p->epoll_fd = close_fd(p->epoll_fd);
}

static void poller_clear_timer(Poller *p) {
        uint64_t n;

        if (read(p->timer_fd, &n, sizeof(n)) == sizeof(n))
                p->timer_armed = USEC_NEVER;
}

int poller_wait(Poller *p, int timeout, const void *link, PollerEvents *ret) {
        struct epoll_event events[POLLER_EVENTS_MAX];
        int n;

        n = epoll_wait(p->epoll_fd, events, POLLER_EVENTS_MAX, timeout);
        if (n < 0)
                return -errno;
        ret->socket = 0;
        ret->n_pipes = 0;
        for (int i = 0; i < n; i++)
                if (events[i].data.ptr == link)
                        ret->socket = events[i].events;
                else if (events[i].data.ptr == p)
                        poller_clear_timer(p);
                else
                        ret->pipes[ret->n_pipes++] = events[i].data.ptr;
        return 0;
}

void poller_set_timer(Poller *p, uint64_t deadline) {
        struct itimerspec spec = {};

        if (deadline >= p->timer_armed && (p->timer_armed != 0 || deadline == 0))
                return;
        if (deadline != USEC_NEVER) {
                spec.it_value.tv_sec = (time_t) (deadline / USEC_PER_SEC);
                spec.it_value.tv_nsec = deadline == 0 ? 1 : (long) (deadline % USEC_PER_SEC * 1000);
        }
        if (timerfd_settime(p->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0)
                p->timer_armed = deadline;
}
