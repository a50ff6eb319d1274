/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A set of client ids. Ids are given out in blocks and end one by one, so it has about as many ranges as there are clients,
 * however many there have been. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct IdRange {
        uint64_t first, end; /* end: the first that is not in it */
} IdRange;

typedef struct IdRanges {
        IdRange *ranges; /* in order, none empty, with room between each two */
        size_t n;
        size_t n_allocated;
} IdRanges;

#define IDRANGES_NULL ((IdRanges) {})

void idranges_deinit(IdRanges *rs);

bool idranges_has(const IdRanges *rs, uint64_t id);

/* Returns 0, or -ENOMEM, and then nothing has changed. */
int idranges_add(IdRanges *rs, IdRange range);

/* Can't fail: what has no memory to leave a gap in the middle of a range takes the shorter side of it as well. Returns all that
 * is out now: `range`, or more. */
IdRange idranges_remove(IdRanges *rs, IdRange range);
