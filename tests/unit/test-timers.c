/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "service/core/timers.h"
#include "tests/unit/run-tests.h"

START_TEST(in_order_of_time) {
        Timers t = TIMERS_NULL;
        Timer timers[100];
        uint64_t last = 0;
        unsigned seed = 1;

        ck_assert_int_eq(timers_reserve(&t, 100), 0);
        for (size_t i = 0; i < 100; i++) {
                timers[i] = TIMER_INIT(TIMER_LINK);
                timers_arm(&t, &timers[i], (uint64_t) rand_r(&seed) % 1000 + 1);
        }
        for (size_t i = 0; i < 100; i += 3)
                timers_disarm(&t, &timers[i]);
        for (size_t i = 1; i < 100; i += 3)
                timers_arm(&t, &timers[i], (uint64_t) rand_r(&seed) % 1000 + 1);
        for (size_t n = 0; n < 66; n++) {
                Timer *timer = timers_pop(&t, 1000);

                ck_assert_ptr_nonnull(timer);
                ck_assert_uint_ge(timer->when, last);
                ck_assert_uint_eq(timer->slot, 0);
                last = timer->when;
        }
        ck_assert_ptr_null(timers_pop(&t, 1000));
        ck_assert_uint_eq(timers_next(&t), TIMERS_NEVER);
        timers_deinit(&t);
}
END_TEST

START_TEST(due_at_its_time_not_before) {
        Timers t = TIMERS_NULL;
        Timer timer = TIMER_INIT(TIMER_GRACE);

        ck_assert_int_eq(timers_reserve(&t, 1), 0);
        timers_arm(&t, &timer, 10);
        ck_assert_ptr_null(timers_pop(&t, 9));
        ck_assert_uint_eq(timers_next(&t), 10);
        ck_assert_ptr_eq(timers_pop(&t, 10), &timer);
        timers_disarm(&t, &timer); /* twice is once */
        timers_deinit(&t);
}
END_TEST

START_TEST(room_is_reserved_and_given_back) {
        Timers t = TIMERS_NULL;

        for (size_t i = 0; i < 1000; i++)
                ck_assert_int_eq(timers_reserve(&t, 3), 0);
        ck_assert_uint_eq(t.n_reserved, 3000);
        ck_assert_uint_ge(t.n_allocated, 3000);
        timers_unreserve(&t, 3000);
        ck_assert_uint_eq(t.n_reserved, 0);
        timers_deinit(&t);
}
END_TEST

TEST_MAIN("timers", in_order_of_time, due_at_its_time_not_before, room_is_reserved_and_given_back)
