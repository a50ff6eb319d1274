/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Buckets as wide as the values are large: below 128 one for each value, then 128 between one power of two and the next. */

#include "bench/bench-library-histogram.h"

#define SUB (UINT64_C(1) << HISTOGRAM_SUB_BITS)

static size_t bucket_of(uint64_t value) {
        unsigned shift;

        if (value < SUB)
                return (size_t) value;
        shift = 63 - (unsigned) __builtin_clzll(value) - HISTOGRAM_SUB_BITS;
        return (size_t) (((uint64_t) (shift + 1) << HISTOGRAM_SUB_BITS) | ((value >> shift) & (SUB - 1)));
}

static uint64_t bucket_start(size_t bucket) {
        return bucket < SUB ? bucket : (SUB | (bucket & (SUB - 1))) << ((bucket >> HISTOGRAM_SUB_BITS) - 1);
}

void histogram_add(Histogram *h, uint64_t value) {
        h->n++;
        h->buckets[bucket_of(value)]++;
}

void histogram_merge(Histogram *h, const Histogram *other) {
        h->n += other->n;
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
                h->buckets[i] += other->buckets[i];
}

uint64_t histogram_percentile(const Histogram *h, unsigned permille) {
        uint64_t n = 0, wanted;

        if (h->n == 0)
                return 0;
        wanted = (h->n - 1) * permille / 1000 + 1;
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                n += h->buckets[i];
                if (n >= wanted)
                        return bucket_start(i);
        }
        return bucket_start(HISTOGRAM_BUCKETS - 1);
}

double histogram_mean(const Histogram *h) {
        double sum = 0;

        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
                sum += (double) h->buckets[i] * (double) bucket_start(i);
        return h->n > 0 ? sum / (double) h->n : 0;
}
