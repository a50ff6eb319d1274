/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* When polling pays, and when it is left. */

#include "protocol/spin.h"
#include "tests/unit/run-tests.h"

enum { LIMIT_USEC = 50, LIMIT_NSEC = LIMIT_USEC * 1000, SHORT_NSEC = 20 * 1000, LONG_NSEC = 1000 * 1000 };

static Spin spin;

/* A wait that is ended by traffic after so long. Returns for how long it was polled. */
static uint64_t wait_for_traffic(uint64_t nsec) {
        uint64_t polled = spin_begin(&spin);

        spin_end(&spin, polled, nsec, true);
        return polled;
}

/* … by traffic that comes soon, but only if it is not polled for. */
static uint64_t wait_for_neighbour(void) {
        uint64_t polled = spin_begin(&spin);

        spin_end(&spin, polled, polled + SHORT_NSEC, true);
        return polled;
}

START_TEST(off) {
        spin = SPIN_NULL;
        for (unsigned i = 0; i < 100; i++)
                ck_assert_uint_eq(wait_for_traffic(i % 2 ? SHORT_NSEC : 0), 0);
}
END_TEST

START_TEST(brisk_traffic_is_polled_for) {
        spin_set(&spin, LIMIT_USEC);
        ck_assert_uint_eq(wait_for_traffic(SHORT_NSEC), 0); /* nothing is known yet */
        for (unsigned i = 0; i < 100; i++)
                ck_assert_uint_eq(wait_for_traffic(LIMIT_NSEC - 1), LIMIT_NSEC);
}
END_TEST

START_TEST(slow_traffic_is_not) {
        spin_set(&spin, LIMIT_USEC);
        for (unsigned i = 0; i < 100; i++)
                ck_assert_uint_eq(wait_for_traffic(LIMIT_NSEC), 0);
        /* When the brisk has ended, once in vain */
        wait_for_traffic(SHORT_NSEC);
        ck_assert_uint_eq(wait_for_traffic(LONG_NSEC), LIMIT_NSEC);
        for (unsigned i = 0; i < 100; i++)
                ck_assert_uint_eq(wait_for_traffic(LONG_NSEC), 0);
}
END_TEST

START_TEST(timers_and_control_are_no_traffic) {
        spin_set(&spin, LIMIT_USEC);
        for (unsigned i = 0; i < 100; i++) {
                uint64_t polled = spin_begin(&spin);

                ck_assert_uint_eq(polled, 0);
                spin_end(&spin, polled, SHORT_NSEC, false);
        }
}
END_TEST

START_TEST(what_finds_nothing_is_tried_rarely) {
        unsigned n_polled[3] = {};

        spin_set(&spin, LIMIT_USEC);
        for (unsigned i = 0; i < 3; i++)
                for (unsigned k = 0; k < 10000; k++)
                        n_polled[i] += wait_for_neighbour() > 0;
        ck_assert_uint_ge(n_polled[0], 10); /* it is found out */
        ck_assert_uint_le(n_polled[0], 20);
        ck_assert_uint_ge(n_polled[2], 1); /* and looked at again */
        ck_assert_uint_le(n_polled[2], 10);
        /* Now and then it works by chance, as when who polls is preempted. */
        n_polled[0] = 0;
        for (unsigned k = 0; k < 10000; k++)
                n_polled[0] += (k % 2000 == 0 ? wait_for_traffic(SHORT_NSEC) : wait_for_neighbour()) > 0;
        ck_assert_uint_le(n_polled[0], 20);
        /* The neighbour has moved: it is soon noticed, and forgotten how it was. */
        for (unsigned k = 0; k < 2000; k++)
                wait_for_traffic(SHORT_NSEC);
        ck_assert_uint_eq(wait_for_traffic(SHORT_NSEC), LIMIT_NSEC);
        wait_for_traffic(LONG_NSEC);
        wait_for_traffic(SHORT_NSEC);
        ck_assert_uint_eq(wait_for_traffic(SHORT_NSEC), 0);
        ck_assert_uint_eq(wait_for_traffic(SHORT_NSEC), LIMIT_NSEC);
}
END_TEST

START_TEST(a_new_limit_begins_anew) {
        spin_set(&spin, LIMIT_USEC);
        for (unsigned k = 0; k < 10000; k++)
                wait_for_neighbour();
        spin_set(&spin, 2 * LIMIT_USEC);
        ck_assert_uint_eq(wait_for_traffic(SHORT_NSEC), 0);
        ck_assert_uint_eq(wait_for_traffic(SHORT_NSEC), 2 * LIMIT_NSEC);
        spin_set(&spin, 0);
        for (unsigned i = 0; i < 100; i++)
                ck_assert_uint_eq(wait_for_traffic(SHORT_NSEC), 0);
}
END_TEST

TEST_MAIN("spin", off, brisk_traffic_is_polled_for, slow_traffic_is_not, timers_and_control_are_no_traffic,
          what_finds_nothing_is_tried_rarely, a_new_limit_begins_anew)
