/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A sorted array. It is changed when sessions end, which moves the array of members as well; it is asked only for ids that nobody
 * has. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/core/idranges.h"

void idranges_deinit(IdRanges *rs) {
        free(rs->ranges);
        *rs = IDRANGES_NULL;
}

/* The first range that ends behind `id` */
static size_t find(const IdRanges *rs, uint64_t id) {
        size_t low = 0, high = rs->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (rs->ranges[middle].end <= id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

bool idranges_has(const IdRanges *rs, uint64_t id) {
        size_t i = find(rs, id);

        return i < rs->n && rs->ranges[i].first <= id;
}

static int reserve_one(IdRanges *rs) {
        size_t n = rs->n_allocated == 0 ? 16 : rs->n_allocated * 2;
        IdRange *ranges;

        if (rs->n < rs->n_allocated)
                return 0;
        ranges = reallocarray(rs->ranges, n, sizeof(*ranges));
        if (!ranges)
                return -ENOMEM;
        rs->ranges = ranges;
        rs->n_allocated = n;
        return 0;
}

/* `n_new` places, 0 or 1, for what was `n_old` from `i` on */
static void replace(IdRanges *rs, size_t i, size_t n_old, size_t n_new) {
        memmove(rs->ranges + i + n_new, rs->ranges + i + n_old, (rs->n - i - n_old) * sizeof(*rs->ranges));
        rs->n = rs->n - n_old + n_new;
}

int idranges_add(IdRanges *rs, IdRange range) {
        size_t i, k;

        if (range.first >= range.end)
                return 0;
        if (reserve_one(rs) < 0)
                return -ENOMEM;
        i = find(rs, range.first);
        if (i > 0 && rs->ranges[i - 1].end == range.first)
                i--;
        for (k = i; k < rs->n && rs->ranges[k].first <= range.end; k++) {
                if (rs->ranges[k].first < range.first)
                        range.first = rs->ranges[k].first;
                if (rs->ranges[k].end > range.end)
                        range.end = rs->ranges[k].end;
        }
        replace(rs, i, k - i, 1);
        rs->ranges[i] = range;
        return 0;
}

/* `range` is within that at `i` and touches neither end of it. */
static IdRange split(IdRanges *rs, size_t i, IdRange range) {
        IdRange old = rs->ranges[i];

        if (reserve_one(rs) >= 0) {
                replace(rs, i, 0, 1);
                rs->ranges[i] = (IdRange) { old.first, range.first };
                rs->ranges[i + 1] = (IdRange) { range.end, old.end };
                return range;
        }
        if (range.first - old.first < old.end - range.end) {
                rs->ranges[i].first = range.end;
                return (IdRange) { old.first, range.end };
        }
        rs->ranges[i].end = range.first;
        return (IdRange) { range.first, old.end };
}

IdRange idranges_remove(IdRanges *rs, IdRange range) {
        size_t i = find(rs, range.first), k;

        if (range.first >= range.end || i == rs->n)
                return range;
        if (rs->ranges[i].first < range.first && rs->ranges[i].end > range.end)
                return split(rs, i, range);
        if (rs->ranges[i].first < range.first)
                rs->ranges[i++].end = range.first;
        for (k = i; k < rs->n && rs->ranges[k].end <= range.end; k++)
                ;
        if (k < rs->n && rs->ranges[k].first < range.end)
                rs->ranges[k].first = range.end;
        if (k > i)
                replace(rs, i, k - i, 0);
        return range;
}
