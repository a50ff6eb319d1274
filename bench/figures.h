/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is said of several rounds: the median, and the quartiles as the spread. */

#include <stddef.h>
#include <stdint.h>

typedef struct Spread {
        double low, median, high; /* the quartiles */
} Spread;

/* Sorts `values`; n may be 0, and gives zeros. */
Spread spread_of(double *values, size_t n);

/* Sorts `values`. The value that `permille` of them do not exceed; 0 if there are none. */
uint32_t percentile(uint32_t *values, size_t n, unsigned permille);
