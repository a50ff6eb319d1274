/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How the poller waits: when it sleeps, and when it looks again and again before. On a time of its own, and with a kernel that
 * says what the test wants. */

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

#include "client/poller.h"
#include "client/util.h"
#include "tests/unit/run-tests.h"

enum { LOOK_USEC = 1 }; /* what a look takes */

static Poller poller;
static int the_link; /* what the socket is known by */
static uint64_t now;
static uint64_t comes_at;   /* when the socket is ready */
static bool is_interrupted; /* the next sleep is */
static unsigned n_looks, n_sleeps;

/* In place of client/system.c, and of the kernel */
uint64_t usec_now(void) {
        return now;
}

uint64_t tick_now(void) {
        return now;
}

static int wait_until(uint64_t deadline) {
        if (deadline == now) {
                n_looks++;
                now += LOOK_USEC;
                return comes_at <= now;
        }
        n_sleeps++;
        if (is_interrupted) {
                errno = EINTR;
                return -1;
        }
        ck_assert(comes_at != USEC_NEVER || deadline != USEC_NEVER);
        now = usec_min(comes_at > now ? comes_at : now, deadline);
        return comes_at <= now;
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int msec);
int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *set);

int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int msec) {
        int r = wait_until(msec < 0 ? USEC_NEVER : now + (uint64_t) msec * USEC_PER_MSEC);

        if (r > 0)
                events[0] = (struct epoll_event) { .events = EPOLLIN, .data.ptr = &the_link };
        return r;
}

int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *set) {
        return wait_until(!ts ? USEC_NEVER : now + (uint64_t) ts->tv_sec * USEC_PER_SEC + (uint64_t) ts->tv_nsec / 1000);
}

static void setup(void) {
        now = 1000 * USEC_PER_SEC;
        n_looks = n_sleeps = 0;
        ck_assert_int_eq(poller_init(&poller), 0);
}

static void teardown(void) {
        poller_deinit(&poller);
}

/* Waits for what comes after `usec`, without an end or until a `timeout`, in both ways by turns. True if it came. */
static bool wait_for(uint64_t usec, uint64_t timeout) {
        static bool takes;
        uint64_t deadline = timeout == USEC_NEVER ? USEC_NEVER : now + timeout;
        PollerEvents events;
        int r;

        comes_at = usec == USEC_NEVER ? USEC_NEVER : now + usec;
        takes = !takes;
        if (!takes) {
                r = poller_wait_ready(&poller, deadline);
                ck_assert_int_ge(r, 0);
                return r > 0;
        }
        ck_assert_int_eq(poller_wait(&poller, deadline, &the_link, &events), 0);
        return events.socket & EPOLLIN;
}

START_TEST(sleeps_at_once_unless_told) {
        for (int i = 0; i < 100; i++)
                ck_assert(wait_for(20, USEC_NEVER));
        ck_assert_uint_eq(n_sleeps, 100);
        ck_assert_uint_eq(n_looks, 0);
}
END_TEST

START_TEST(looks_while_it_comes_soon) {
        spin_set(&poller.spin, 100);
        for (int i = 0; i < 10; i++)
                ck_assert(wait_for(50, USEC_NEVER));
        ck_assert_uint_le(n_sleeps, 4); /* to learn it */
        n_sleeps = n_looks = 0;
        for (int i = 0; i < 100; i++)
                ck_assert(wait_for(50, USEC_NEVER));
        ck_assert_uint_eq(n_sleeps, 0);
        ck_assert_uint_eq(n_looks, 100 * 50 / LOOK_USEC);
}
END_TEST

START_TEST(what_is_there_already_takes_one_look) {
        spin_set(&poller.spin, 100);
        for (int i = 0; i < 100; i++)
                ck_assert(wait_for(0, USEC_NEVER));
        ck_assert_uint_eq(n_looks + n_sleeps, 100);
}
END_TEST

START_TEST(after_a_pause_it_sleeps) {
        spin_set(&poller.spin, 100);
        for (int i = 0; i < 10; i++)
                ck_assert(wait_for(50, USEC_NEVER));
        n_sleeps = n_looks = 0;
        ck_assert(wait_for(USEC_PER_SEC, USEC_NEVER)); /* has to find out */
        ck_assert_uint_le(n_looks, 100 / LOOK_USEC);
        n_looks = 0;
        for (int i = 0; i < 100; i++)
                ck_assert(wait_for(USEC_PER_SEC, USEC_NEVER));
        ck_assert_uint_eq(n_looks, 0);
        ck_assert_uint_eq(n_sleeps, 101);
}
END_TEST

START_TEST(timeouts_are_kept) {
        spin_set(&poller.spin, 100);
        for (int i = 0; i < 10; i++)
                ck_assert(wait_for(90, USEC_NEVER));
        for (int i = 0; i < 10; i++) {
                uint64_t start = now;

                ck_assert(!wait_for(USEC_NEVER, 30));
                ck_assert_uint_ge(now, start + 30);
                ck_assert_uint_le(now, start + USEC_PER_MSEC);
        }
        n_looks = 0;
        ck_assert(!wait_for(USEC_NEVER, USEC_PER_SEC));
        ck_assert_uint_eq(n_looks, 0);
}
END_TEST

/* A program that asks whether there is something, and otherwise waits */
START_TEST(who_does_not_wait_teaches_nothing) {
        spin_set(&poller.spin, 100);
        for (int i = 0; i < 10; i++)
                ck_assert(wait_for(50, USEC_NEVER));
        n_sleeps = 0;
        for (int i = 0; i < 10; i++) {
                ck_assert(!wait_for(USEC_NEVER, 0));
                ck_assert(wait_for(50, USEC_NEVER));
        }
        ck_assert_uint_eq(n_sleeps, 0);
}
END_TEST

START_TEST(a_signal_ends_a_sleep) {
        PollerEvents events;

        spin_set(&poller.spin, 100);
        is_interrupted = true;
        comes_at = USEC_NEVER;
        ck_assert_int_eq(poller_wait(&poller, USEC_NEVER, &the_link, &events), -EINTR);
        ck_assert_int_eq(poller_wait_ready(&poller, USEC_NEVER), -EINTR);
        is_interrupted = false;
}
END_TEST

TEST_MAIN_FIXTURE("poller", setup, teardown, sleeps_at_once_unless_told, looks_while_it_comes_soon,
                  what_is_there_already_takes_one_look, after_a_pause_it_sleeps, timeouts_are_kept,
                  who_does_not_wait_teaches_nothing, a_signal_ends_a_sleep)
