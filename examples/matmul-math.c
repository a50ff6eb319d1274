/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The mathematics; nothing here knows that there is a network. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matmul.h"

enum {
        STRIP = 128,   /* columns of B by DEPTH rows: 128 KiB, which stay in the second-level cache */
        DEPTH = 128,
        ROWS = 4,      /* of C at the same time: each number of B that is loaded is used four times */
};

static void multiply_strip(const double *a, const double *b, double *c, size_t size, size_t n_rows, size_t depth, size_t width) {
        for (size_t k = 0; k < depth; k++)
                for (size_t i = 0; i < n_rows; i++) {
                        double x = a[i * size + k];
                        const double *restrict from = b + k * size;
                        double *restrict to = c + i * size;

                        for (size_t j = 0; j < width; j++)
                                to[j] += x * from[j];
                }
}

void multiply(const double *a, const double *b, double *c, size_t n_rows, size_t size) {
        memset(c, 0, n_rows * size * sizeof(double));
        for (size_t j = 0; j < size; j += STRIP)
                for (size_t k = 0; k < size; k += DEPTH)
                        for (size_t i = 0; i < n_rows; i += ROWS)
                                multiply_strip(a + i * size + k, b + k * size + j, c + i * size + j, size,
                                               n_rows - i < ROWS ? n_rows - i : ROWS, size - k < DEPTH ? size - k : DEPTH,
                                               size - j < STRIP ? size - j : STRIP);
}

/* splitmix64 */
static double next_number(uint64_t *state) {
        uint64_t z = *state += 0x9e3779b97f4a7c15;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return (double) (int64_t) (z ^ z >> 31) * 0x1p-63;
}

void fill(double *numbers, size_t n, uint64_t seed) {
        for (size_t i = 0; i < n; i++)
                numbers[i] = next_number(&seed);
}

static void multiply_vector(const double *m, const double *x, double *y, size_t size) {
        for (size_t i = 0; i < size; i++) {
                double sum = 0;

                for (size_t j = 0; j < size; j++)
                        sum += m[i * size + j] * x[j];
                y[i] = sum;
        }
}

static double largest_difference(const double *x, const double *y, size_t n) {
        double scale = 0, difference = 0;

        for (size_t i = 0; i < n; i++) {
                if (isnan(x[i]))
                        return INFINITY;
                scale = fmax(scale, fabs(y[i]));
                difference = fmax(difference, fabs(x[i] - y[i]));
        }
        return scale > 0 ? difference / scale : difference;
}

double check_vectors(const double *a, const double *b, const double *c, size_t size, unsigned n_rounds) {
        double *x = malloc(4 * size * sizeof(double)), *bx = x + size, *abx = bx + size, *cx = abx + size;
        double worst = 0;

        if (!x)
                return INFINITY;
        for (unsigned i = 0; i < n_rounds; i++) {
                fill(x, size, 1000 + i);
                multiply_vector(b, x, bx, size);
                multiply_vector(a, bx, abx, size);
                multiply_vector(c, x, cx, size);
                worst = fmax(worst, largest_difference(cx, abx, size));
        }
        free(x);
        return worst;
}

double check_all(const double *a, const double *b, const double *c, size_t size) {
        double *row = malloc(size * sizeof(double));
        double worst = 0;

        if (!row)
                return INFINITY;
        for (size_t i = 0; i < size; i++) {
                for (size_t j = 0; j < size; j++) {
                        row[j] = 0;
                        for (size_t k = 0; k < size; k++)
                                row[j] += a[i * size + k] * b[k * size + j];
                }
                worst = fmax(worst, largest_difference(c + i * size, row, size));
        }
        free(row);
        return worst;
}
