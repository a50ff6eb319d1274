/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the library and the core allocate: counted, so that what is left over is seen, and failing by chance if that is wanted.
 * Only what is allocated inside of them counts. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern unsigned alloc_inside; /* calls of the library or the core that are under way and not in a handler */

/* The statement calls the library or the core; or is part of the simulation and was called by them. */
#define INSIDE(statement)        \
        do {                     \
                alloc_inside++;  \
                statement;       \
                alloc_inside--;  \
        } while (0)
#define OUTSIDE(statement)                      \
        do {                                    \
                unsigned _inside = alloc_inside; \
                                                \
                alloc_inside = 0;               \
                statement;                      \
                alloc_inside = _inside;         \
        } while (0)

/* Of 10,000 allocations so many fail, from now on. */
void alloc_set_failing(uint64_t seed, unsigned permyriad);
uint64_t alloc_get_failed(void);

/* How many are not freed. */
size_t alloc_count(void);
void alloc_forget(void);
