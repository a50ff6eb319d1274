/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The reading half of the histogram; what runs for each record is inline in the header. It never forgets: percentiles are
 * those of all that was ever recorded. */

#include "service/core/histogram.h"

/* The largest value that counts in bucket `i`. */
static uint64_t bucket_top(unsigned i) {
        const unsigned n_sub = 1U << HISTOGRAM_SUB_BITS;
        unsigned shift;

        if (i < n_sub)
                return i;
        shift = (i >> HISTOGRAM_SUB_BITS) - 1;
        return ((uint64_t) (n_sub + (i & (n_sub - 1)) + 1) << shift) - 1;
}

/* permille/1000 of n, rounded up and at least 1; in two parts, so that no product overflows. */
static uint64_t rank_of(uint64_t n, unsigned permille) {
        uint64_t rank = n / 1000 * permille + (n % 1000 * permille + 999) / 1000;

        return rank > 0 ? rank : 1;
}

uint64_t histogram_percentile(const Histogram *h, unsigned permille) {
        uint64_t rank, seen = 0;

        if (h->n == 0)
                return 0;
        rank = rank_of(h->n, permille < 1000 ? permille : 1000);
        for (unsigned i = 0; i < HISTOGRAM_N_BUCKETS; i++) {
                seen += h->counts[i];
                if (seen >= rank) {
                        uint64_t top = bucket_top(i);

                        return top < h->max ? top : h->max;
                }
        }
        return h->max;
}
