/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "protocol/spin.h"
#include "tests/unit/run-tests.h"

/* Waits of `usec` each until the limit does not change any more. Returns how many that took. */
static unsigned settle(Spin *s, uint64_t usec) {
        unsigned n = 0;
        uint64_t before;

        do {
                before = s->limit;
                spin_waited(s, usec, true);
                n++;
                ck_assert_uint_le(s->limit, s->max);
                ck_assert_uint_lt(n, 100);
        } while (s->limit != before);
        return n;
}

START_TEST(nothing_unless_asked_for) {
        Spin s = SPIN_NULL;

        for (uint64_t usec = 0; usec < 100; usec++) {
                spin_waited(&s, usec, true);
                ck_assert_uint_eq(s.limit, 0);
        }
}
END_TEST

START_TEST(grows_until_waits_end_within_it) {
        Spin s = SPIN_NULL;

        spin_set(&s, 200);
        ck_assert_uint_eq(s.limit, 0);
        ck_assert_uint_le(settle(&s, 45), 5);
        ck_assert_uint_ge(s.limit, 45);
        ck_assert_uint_lt(s.limit, 90);
        settle(&s, 200);
        ck_assert_uint_eq(s.limit, 200);
        settle(&s, 3);
        ck_assert_uint_eq(s.limit, 200);
}
END_TEST

START_TEST(a_maximum_below_the_first_step) {
        Spin s = SPIN_NULL;

        spin_set(&s, 3);
        settle(&s, 3);
        ck_assert_uint_eq(s.limit, 3);
        settle(&s, 4);
        ck_assert_uint_eq(s.limit, 0);
}
END_TEST

START_TEST(a_long_wait_ends_it) {
        Spin s = SPIN_NULL;

        spin_set(&s, 200);
        settle(&s, 100);
        ck_assert_uint_gt(s.limit, 0);
        spin_waited(&s, 201, true);
        ck_assert_uint_eq(s.limit, 0);
        settle(&s, UINT64_MAX);
        ck_assert_uint_eq(s.limit, 0);
}
END_TEST

START_TEST(a_wait_in_vain_ends_it_however_short) {
        Spin s = SPIN_NULL;

        spin_set(&s, 200);
        settle(&s, 100);
        spin_waited(&s, 20, false);
        ck_assert_uint_eq(s.limit, 0);
        spin_waited(&s, 20, false);
        ck_assert_uint_eq(s.limit, 0);
}
END_TEST

START_TEST(what_is_there_already_teaches_nothing) {
        Spin s = SPIN_NULL;

        spin_set(&s, 200);
        for (int i = 0; i < 100; i++)
                spin_waited(&s, 0, true);
        ck_assert_uint_eq(s.limit, 0);
}
END_TEST

START_TEST(set_anew_it_learns_anew) {
        Spin s = SPIN_NULL;

        spin_set(&s, 200);
        settle(&s, 200);
        spin_set(&s, 50);
        ck_assert_uint_eq(s.limit, 0);
        settle(&s, 50);
        ck_assert_uint_eq(s.limit, 50);
        spin_set(&s, 0);
        settle(&s, 0);
        ck_assert_uint_eq(s.limit, 0);
}
END_TEST

/* On a clock of its own: what the looking costs where one message comes each `interval`, of which `burst` come at once with `gap`
 * between them. */
static uint64_t spent(uint64_t max, unsigned n_bursts, unsigned burst, uint64_t gap, uint64_t interval) {
        Spin s = SPIN_NULL;
        uint64_t usec = 0;

        spin_set(&s, max);
        for (unsigned i = 0; i < n_bursts; i++)
                for (unsigned j = 0; j < burst; j++) {
                        uint64_t wait = j == 0 ? interval : gap;

                        usec += wait < s.limit ? wait : s.limit;
                        spin_waited(&s, wait, true);
                }
        return usec;
}

START_TEST(bounded_cost) {
        ck_assert_uint_eq(spent(200, 1000, 1, 0, 201), 0);                   /* a wait too long for it, each time */
        ck_assert_uint_le(spent(200, 1000, 2, 100, 1000), 1000 * 10);        /* alternately: the first step, and no more */
        ck_assert_uint_le(spent(200, 10, 1000, 40, 1000000), 10 * (1000 * 40 + 200)); /* bursts: while they last */
        ck_assert_uint_ge(spent(200, 10, 1000, 40, 1000000), 10 * (990 * 40));
}
END_TEST

TEST_MAIN("spin", nothing_unless_asked_for, grows_until_waits_end_within_it, a_maximum_below_the_first_step, a_long_wait_ends_it,
          a_wait_in_vain_ends_it_however_short, what_is_there_already_teaches_nothing, set_anew_it_learns_anew, bounded_cost)
