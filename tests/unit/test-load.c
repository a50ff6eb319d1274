/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Rates under a clock that the test drives. */


#include "service/core/load.h"
#include "run-tests.h"

#define SEC UINT64_C(1000000)
#define BEGIN (UINT64_C(12345) * SEC)

static Load load;
static uint64_t now;

static void setup(void) {
        now = BEGIN;
        load_init(&load, now);
}

/* `seconds` of steady traffic: a message of 100 bytes in and two out each `period_usec`, the loop busy for half of it. */
static void traffic(unsigned seconds, uint64_t period_usec) {
        for (unsigned s = 0; s < seconds; s++) {
                for (uint64_t t = 0; t < SEC; t += period_usec) {
                        load.counters.messages_in += 1;
                        load.counters.messages_out += 2;
                        load.counters.bytes_in += 100;
                        load.counters.bytes_out += 200;
                        load.counters.busy_usec += period_usec / 2;
                }
                now += SEC;
                load_sample(&load, now);
        }
}

static LoadFigures figures(void) {
        LoadFigures f = {};

        load_get_figures(&load, now, &f);
        return f;
}

START_TEST(nothing_yet) {
        LoadFigures f = figures();

        for (unsigned i = 0; i < LOAD_N_RATES; i++) {
                ck_assert_uint_eq(f.messages_in_rate[i], 0);
                ck_assert_uint_eq(f.busy_permille[i], 0);
        }
        ck_assert_uint_eq(f.routing_p50_ns, 0);
        ck_assert(!load_sample(&load, now));
}
END_TEST

START_TEST(steady) {
        LoadFigures f;

        traffic(100, 1000);
        f = figures();
        ck_assert_uint_eq(f.messages_in, 100000);
        ck_assert_uint_eq(f.bytes_out, 20000000);
        for (unsigned i = 0; i < LOAD_N_RATES; i++) {
                ck_assert_uint_eq(f.messages_in_rate[i], 1000);
                ck_assert_uint_eq(f.messages_out_rate[i], 2000);
                ck_assert_uint_eq(f.bytes_in_rate[i], 100000);
                ck_assert_uint_eq(f.bytes_out_rate[i], 200000);
                ck_assert_uint_eq(f.busy_permille[i], 500);
        }
}
END_TEST

START_TEST(first_seconds) {
        LoadFigures f;

        /* An early message is one a second at most, not a thousand. */
        load.counters.messages_in = 1;
        now += 1000;
        f = figures();
        for (unsigned i = 0; i < LOAD_N_RATES; i++)
                ck_assert_uint_eq(f.messages_in_rate[i], 1);

        /* Later each rate is over the time that there was. */
        setup();
        traffic(5, 1000);
        f = figures();
        for (unsigned i = 0; i < LOAD_N_RATES; i++)
                ck_assert_uint_eq(f.messages_in_rate[i], 1000);
}
END_TEST

START_TEST(windows_differ) {
        LoadFigures f;

        traffic(60, 10000); /* 100/s */
        traffic(2, 1000);   /* 1000/s */
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[0], 1000);
        ck_assert_uint_eq(f.messages_in_rate[1], 280);
        ck_assert_uint_eq(f.messages_in_rate[2], 130);
}
END_TEST

START_TEST(between_samples) {
        LoadFigures f;

        traffic(3, 1000);
        load.counters.messages_in += 500;
        now += SEC / 2;
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[0], 1000);

        /* Half a second without traffic shows at once. */
        now += SEC / 2;
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[0], 500);
}
END_TEST

START_TEST(idle_gap) {
        LoadFigures f;

        /* The sampling stops a minute after the last traffic. */
        traffic(3, 1000);
        for (unsigned i = 1; i < 60; i++) {
                now += SEC;
                ck_assert(load_sample(&load, now));
        }
        now += SEC;
        ck_assert(!load_sample(&load, now));
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[2], 0);

        /* An hour later it begins again: the hour counts as what it was, idle. */
        now += 3600 * SEC;
        ck_assert(!load_sample(&load, now));
        traffic(2, 1000);
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[0], 1000);
        ck_assert_uint_eq(f.messages_in_rate[1], 200);
        ck_assert_uint_eq(f.messages_in_rate[2], 33);
        now += SEC;
        ck_assert(load_sample(&load, now));
}
END_TEST

START_TEST(a_gap_without_samples_is_spread) {
        LoadFigures f;

        traffic(1, 1000);
        load.counters.messages_in += 40000;
        now += 40 * SEC;
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[0], 1000);
        ck_assert_uint_eq(f.messages_in_rate[1], 1000);
        ck_assert_uint_eq(f.messages_in_rate[2], 1000);
}
END_TEST

START_TEST(a_clock_that_stands_still_or_goes_back) {
        LoadFigures f;

        for (unsigned i = 0; i < 1000; i++) {
                load.counters.messages_in += 1;
                load_sample(&load, now);
        }
        ck_assert_uint_eq(load.n_samples, 1);
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[0], 1000);

        traffic(10, 1000);
        now -= 5 * SEC;
        ck_assert(load_sample(&load, now));
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[0], 1000);
        now = 0;
        f = figures();
        ck_assert_uint_eq(f.messages_in_rate[0], 1000);
}
END_TEST

START_TEST(a_clock_that_begins_at_zero) {
        LoadFigures f;

        now = 0;
        load_init(&load, now);
        traffic(2, 1000);
        f = figures();
        for (unsigned i = 0; i < LOAD_N_RATES; i++)
                ck_assert_uint_eq(f.messages_in_rate[i], 1000);
}
END_TEST

START_TEST(samples_that_come_too_often) {
        /* Ten a second for 200 s: the minute is still known, because every other one is not kept. */
        for (unsigned i = 0; i < 2000; i++) {
                load.counters.messages_in += 7;
                now += SEC / 10;
                load_sample(&load, now);
        }
        ck_assert_uint_eq(figures().messages_in_rate[0], 70);
        ck_assert_uint_eq(figures().messages_in_rate[2], 70);
}
END_TEST

START_TEST(large_numbers) {
        load.counters.bytes_in = UINT64_C(1) << 62;
        load.counters.busy_usec = 100 * SEC;
        now += 10 * SEC;
        ck_assert_uint_eq(figures().bytes_in_rate[1], (UINT64_C(1) << 62) / 10);
        ck_assert_uint_eq(figures().busy_permille[1], 1000);
}
END_TEST

START_TEST(what_it_does_not_know_stays) {
        LoadFigures f = { .uptime_usec = 1,
                          .clients = 2,
                          .clients_away = 3,
                          .clients_paused = 4,
                          .queued_bytes = 5,
                          .memory_bytes = 6,
                          .cpu_usec = 7 };

        load.bounces = 11;
        load.skipped_broadcasts = 12;
        load.protocol_errors = 13;
        histogram_record(&load.routing, 10, 998);
        histogram_record(&load.routing, 31, 2);
        load_get_figures(&load, now, &f);
        ck_assert_uint_eq(f.uptime_usec, 1);
        ck_assert_uint_eq(f.clients + f.clients_away + f.clients_paused, 9);
        ck_assert_uint_eq(f.queued_bytes + f.memory_bytes + f.cpu_usec, 18);
        ck_assert_uint_eq(f.bounces, 11);
        ck_assert_uint_eq(f.skipped_broadcasts, 12);
        ck_assert_uint_eq(f.protocol_errors, 13);
        ck_assert_uint_eq(f.routing_p50_ns, 10);
        ck_assert_uint_eq(f.routing_p99_ns, 10);
        ck_assert_uint_eq(f.routing_p999_ns, 31);
        ck_assert_uint_eq(f.routing_max_ns, 31);
}
END_TEST

TEST_MAIN_FIXTURE("load", setup, NULL, nothing_yet, steady, first_seconds, windows_differ, between_samples, idle_gap,
          a_gap_without_samples_is_spread, a_clock_that_stands_still_or_goes_back, a_clock_that_begins_at_zero,
          samples_that_come_too_often, large_numbers, what_it_does_not_know_stays)
