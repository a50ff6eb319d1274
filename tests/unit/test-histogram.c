/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The histogram's error bound, its edges and its percentiles. */


#include "service/core/histogram.h"
#include "run-tests.h"

/* The value that stands for `value`: what a histogram says that holds it, and a larger one that lifts the exact maximum. */
static uint64_t reported(uint64_t value) {
        static Histogram h;

        h = (Histogram) {};
        histogram_record(&h, value, 1);
        histogram_record(&h, UINT64_MAX, 1);
        return histogram_percentile(&h, 500);
}

static void assert_bound(uint64_t value) {
        uint64_t top = reported(value);

        ck_assert_uint_ge(top, value);
        ck_assert_msg((top - value) * 16 <= value, "%llu is reported as %llu", (unsigned long long) value,
                      (unsigned long long) top);
}

START_TEST(small_values_are_exact) {
        for (uint64_t v = 0; v < 32; v++)
                ck_assert_uint_eq(reported(v), v);
}
END_TEST

START_TEST(error_is_at_most_a_sixteenth) {
        for (uint64_t v = 1; v < 20000; v++)
                assert_bound(v);
        for (unsigned bit = 4; bit < HISTOGRAM_MAX_BITS; bit++)
                for (uint64_t sub = 0; sub < 16; sub++) {
                        uint64_t low = (16 + sub) << (bit - 4);

                        assert_bound(low);
                        assert_bound(low - 1);
                        assert_bound(low + 1 < UINT64_C(1) << HISTOGRAM_MAX_BITS ? low + 1 : low);
                }
}
END_TEST

START_TEST(buckets_are_in_order_and_within) {
        unsigned last = 0;

        for (uint64_t v = 1; v < UINT64_C(1) << HISTOGRAM_MAX_BITS; v += 1 + v / 100) {
                unsigned b = histogram_bucket(v);

                ck_assert_uint_ge(b, last);
                ck_assert_uint_le(b, last + 1);
                last = b;
        }
        ck_assert_uint_eq(histogram_bucket((UINT64_C(1) << HISTOGRAM_MAX_BITS) - 1), HISTOGRAM_N_BUCKETS - 1);
        ck_assert_uint_eq(histogram_bucket(UINT64_C(1) << HISTOGRAM_MAX_BITS), HISTOGRAM_N_BUCKETS - 1);
        ck_assert_uint_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_N_BUCKETS - 1);
}
END_TEST

START_TEST(percentiles) {
        static Histogram h;

        h = (Histogram) {};
        ck_assert_uint_eq(histogram_percentile(&h, 500), 0);

        for (uint64_t v = 1; v <= 10; v++)
                histogram_record(&h, v, 100);
        ck_assert_uint_eq(h.n, 1000);
        ck_assert_uint_eq(histogram_percentile(&h, 0), 1);
        ck_assert_uint_eq(histogram_percentile(&h, 100), 1);
        ck_assert_uint_eq(histogram_percentile(&h, 101), 2);
        ck_assert_uint_eq(histogram_percentile(&h, 500), 5);
        ck_assert_uint_eq(histogram_percentile(&h, 999), 10);
        ck_assert_uint_eq(histogram_percentile(&h, 1000), 10);
        ck_assert_uint_eq(histogram_percentile(&h, 5000), 10);

        /* One record decides once its share is asked for, however rare it is. */
        histogram_record(&h, 5000, 1);
        ck_assert_uint_eq(histogram_percentile(&h, 999), 10);
        ck_assert_uint_eq(histogram_percentile(&h, 1000), 5000);
}
END_TEST

START_TEST(the_maximum_is_exact) {
        static Histogram h;

        h = (Histogram) {};
        histogram_record(&h, 1000001, 1);
        ck_assert_uint_eq(h.max, 1000001);
        ck_assert_uint_eq(histogram_percentile(&h, 500), 1000001);
        histogram_record(&h, UINT64_MAX, 1);
        ck_assert_uint_eq(h.max, UINT64_MAX);
        ck_assert_uint_eq(histogram_percentile(&h, 1000), (UINT64_C(1) << HISTOGRAM_MAX_BITS) - 1);
}
END_TEST

START_TEST(huge_counts_do_not_overflow) {
        static Histogram h;

        h = (Histogram) {};
        histogram_record(&h, 3, UINT64_MAX / 2);
        histogram_record(&h, 7, UINT64_MAX / 2);
        ck_assert_uint_eq(histogram_percentile(&h, 499), 3);
        ck_assert_uint_eq(histogram_percentile(&h, 999), 7);
}
END_TEST

TEST_MAIN("histogram", small_values_are_exact, error_is_at_most_a_sixteenth, buckets_are_in_order_and_within, percentiles,
          the_maximum_is_exact, huge_counts_do_not_overflow)
