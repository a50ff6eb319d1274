/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the epoll set and the timer. Sockets and pipes are put in by those who own them; what a wake-up means is the loop's
 * affair. */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
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

static uint64_t usec_until(uint64_t deadline) {
        uint64_t now = deadline > 0 ? usec_now() : 0;

        return deadline > now ? deadline - now : 0;
}

/* How the kernel is asked; number of events, or -1. `events` is an array of POLLER_EVENTS_MAX. */
typedef int (*Ask)(const Poller *p, uint64_t deadline, struct epoll_event *events);

static int ask_events(const Poller *p, uint64_t deadline, struct epoll_event *events) {
        uint64_t msec = INT_MAX;

        if (deadline == USEC_NEVER)
                return epoll_wait(p->epoll_fd, events, POLLER_EVENTS_MAX, -1);
        /* Rounded up: to wake too early would be to spin, whether or not that is wanted */
        msec = usec_min(msec, (usec_until(deadline) + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
        return epoll_wait(p->epoll_fd, events, POLLER_EVENTS_MAX, (int) msec);
}

static int ask_ready(const Poller *p, uint64_t deadline, struct epoll_event *events) {
        struct pollfd pollfd = { .fd = p->epoll_fd, .events = POLLIN };
        uint64_t usec = usec_until(deadline);
        struct timespec ts = { .tv_sec = (time_t) (usec / USEC_PER_SEC), .tv_nsec = (long) (usec % USEC_PER_SEC * 1000) };

        return ppoll(&pollfd, 1, deadline == USEC_NEVER ? NULL : &ts, NULL);
}

/* Looks as long as the waits before say that it pays, and then sleeps. Between two looks whoever else wants this processor has
 * it: it may be the one that is waited for. */
static int poller_ask(Poller *p, Ask ask, uint64_t deadline, struct epoll_event *events) {
        uint64_t start, now, polled;
        int n = 0;

        if (p->spin.limit_nsec == 0)
                return ask(p, deadline, events);
        start = now = usec_now();
        if (deadline <= now)
                return ask(p, 0, events);
        polled = spin_begin(&p->spin);
        if (polled > 0 && (n = ask(p, 0, events)) != 0)
                polled = 0; /* it was not what has found that */
        while (n == 0 && (now - start) * 1000 < polled && now < deadline) {
                (void) sched_yield();
                n = ask(p, 0, events);
                now = usec_now();
        }
        if (n == 0) {
                n = ask(p, deadline, events);
                now = usec_now();
        }
        spin_end(&p->spin, polled, (now - start) * 1000, n > 0);
        return n;
}

int poller_wait_ready(Poller *p, uint64_t deadline) {
        int n;

        n = poller_ask(p, ask_ready, deadline, NULL);
        return n < 0 ? -errno : n;
}

int poller_wait(Poller *p, uint64_t deadline, const void *link, PollerEvents *ret) {
        struct epoll_event events[POLLER_EVENTS_MAX];
        int n;

        n = poller_ask(p, ask_events, deadline, events);
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
