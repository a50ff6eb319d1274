/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A log-linear histogram of u64 values, after HdrHistogram: 16 linear buckets in each power of two, so any value is known to
 * within 1/16 = 6.25 % (values under 16 exactly), at a fixed size and a few instructions per record. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        HISTOGRAM_SUB_BITS = 4,
        HISTOGRAM_MAX_BITS = 40, /* values of 2^40 (18 minutes in ns) and more count as 2^40 - 1 */
        HISTOGRAM_N_BUCKETS = (HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

typedef struct Histogram {
        uint64_t counts[HISTOGRAM_N_BUCKETS];
        uint64_t n;
        uint64_t max; /* exact */
} Histogram;

static inline unsigned histogram_bucket(uint64_t value) {
        unsigned shift;

        if (value >= UINT64_C(1) << HISTOGRAM_MAX_BITS)
                value = (UINT64_C(1) << HISTOGRAM_MAX_BITS) - 1;
        if (value < 1U << HISTOGRAM_SUB_BITS)
                return (unsigned) value;
        shift = 63U - (unsigned) __builtin_clzll(value) - HISTOGRAM_SUB_BITS;
        return (shift << HISTOGRAM_SUB_BITS) + (unsigned) (value >> shift);
}

static inline void histogram_record(Histogram *h, uint64_t value, uint64_t times) {
        h->counts[histogram_bucket(value)] += times;
        h->n += times;
        if (value > h->max)
                h->max = value;
}

/* The smallest bucket top that at least permille/1000 of the records do not exceed (never more than the exact maximum); 0 if
 * empty. */
uint64_t histogram_percentile(const Histogram *h, unsigned permille);
