/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How often each duration was measured, to 1 %: as small after an hour as after a second, and plain memory that processes can
 * share. */

#include <stddef.h>
#include <stdint.h>

enum {
        HISTOGRAM_SUB_BITS = 7, /* steps between one power of two and the next: 128, so that a step is below 1 % */
        HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS,
};

/* All zero is an empty one. */
typedef struct Histogram {
        uint64_t n;
        uint32_t buckets[HISTOGRAM_BUCKETS];
} Histogram;

void histogram_add(Histogram *h, uint64_t value);
void histogram_merge(Histogram *h, const Histogram *other);

/* The value that `permille` of them do not exceed; 0 if there are none. */
uint64_t histogram_percentile(const Histogram *h, unsigned permille);
double histogram_mean(const Histogram *h); /* to 1 % as well; 0 if there are none */
