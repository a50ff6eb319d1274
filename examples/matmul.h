/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* C = A * B with square matrices of doubles, computed by as many workers as there are.
 *
 * The coordinator finds the workers by their names. Each of them is sent the whole of B as one large message, and says when it
 * has it: other messages pass a large one. Then it is sent blocks of rows of A, as calls, and replies with the same rows of C. A
 * call whose worker dies fails at once, and the block goes to another.
 *
 * The messages hold numbers as the machine does, so all machines must be of the same kind. */

#include <stddef.h>
#include <stdint.h>

#define WORKER_PREFIX "matmul-worker-"

enum {
        KIND_B = 1,     /* coordinator to worker: Head, then B by rows */
        KIND_READY = 2, /* worker to coordinator: the Head of the B that it has */
        KIND_BLOCK = 3, /* a call: Head, then n_rows rows of A; the reply: n_rows rows of C */
};

/* A cache line, so that the numbers behind it are aligned as they were before */
typedef struct Head {
        uint64_t job;
        uint32_t size; /* of the matrices */
        uint32_t n_rows;
        uint8_t reserved[48];
} Head;

/* c = a * b, where a and c have n_rows rows */
void multiply(const double *a, const double *b, double *c, size_t n_rows, size_t size);

/* Numbers between -1 and 1, the same for the same seed */
void fill(double *numbers, size_t n, uint64_t seed);

/* How far C is from A * B, relative to the size of its elements: along random vectors, which takes no time (Freivalds: a wrong
 * C passes one round by less than an even chance), or in each element. */
double check_vectors(const double *a, const double *b, const double *c, size_t size, unsigned n_rounds);
double check_all(const double *a, const double *b, const double *c, size_t size);

int run_worker(const char *server);
int run_coordinator(const char *server, uint32_t size, uint32_t block, unsigned n_expected, int full_check);
