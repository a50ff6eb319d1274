/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Between two values that are in the middle, the lower is taken: all that is printed has been measured. */

#include <stdlib.h>

#include "bench/figures.h"

static int compare_doubles(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static int compare_u32(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return (x > y) - (x < y);
}

Spread spread_of(double *values, size_t n) {
        if (n == 0)
                return (Spread) {};
        qsort(values, n, sizeof(*values), compare_doubles);
        return (Spread) {
                .low = values[(n - 1) / 4],
                .median = values[(n - 1) / 2],
                .high = values[(n - 1) - (n - 1) / 4],
        };
}

uint32_t percentile(uint32_t *values, size_t n, unsigned permille) {
        if (n == 0)
                return 0;
        qsort(values, n, sizeof(*values), compare_u32);
        return values[(n - 1) * permille / 1000];
}
