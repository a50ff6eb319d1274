/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "service/core/idranges.h"
#include "tests/unit/run-tests.h"

static bool no_memory;

void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size) {
        return no_memory ? NULL : __real_reallocarray(p, n, size);
}

enum { N = 300 };

static bool is_like(const IdRanges *rs, const bool *there) {
        bool same = true;

        for (uint64_t id = 0; id < N; id++)
                same &= idranges_has(rs, id) == there[id];
        for (size_t i = 0; i < rs->n; i++) {
                same &= rs->ranges[i].first < rs->ranges[i].end;
                same &= i == 0 || rs->ranges[i - 1].end < rs->ranges[i].first; /* else the two would be one */
        }
        return same;
}

static void like_an_array_with(unsigned percent_no_memory) {
        IdRanges rs = IDRANGES_NULL;
        bool there[N] = {};
        unsigned seed = 3;

        for (unsigned step = 0; step < 20000; step++) {
                uint64_t first = 1 + (uint64_t) rand_r(&seed) % (N - 1), n = (uint64_t) rand_r(&seed) % (step % 3 == 0 ? 40 : 3);
                IdRange range = { first, first + n < N ? first + n : N }, out;
                bool adds = rand_r(&seed) % 2 == 0;

                no_memory = (unsigned) rand_r(&seed) % 100 < percent_no_memory;
                if (adds && idranges_add(&rs, range) >= 0)
                        memset(there + range.first, true, range.end - range.first);
                else if (!adds) {
                        out = idranges_remove(&rs, range);
                        ck_assert(out.first <= range.first && out.end >= range.end);
                        ck_assert(percent_no_memory > 0 || (out.first == range.first && out.end == range.end));
                        memset(there + out.first, false, out.end - out.first);
                }
                no_memory = false;
                ck_assert(is_like(&rs, there));
        }
        idranges_deinit(&rs);
}

START_TEST(like_an_array) {
        like_an_array_with(0);
}
END_TEST

START_TEST(like_an_array_without_memory) {
        like_an_array_with(100);
        like_an_array_with(50);
}
END_TEST

/* What can't be split loses its shorter side. */
START_TEST(no_memory_for_a_gap) {
        IdRanges rs = IDRANGES_NULL;
        IdRange out;

        for (uint64_t i = 0; i < 16; i++)
                ck_assert_int_eq(idranges_add(&rs, (IdRange) { 1 + i * 1000, 901 + i * 1000 }), 0);
        no_memory = true;
        ck_assert_int_eq(idranges_add(&rs, (IdRange) { UINT64_C(1) << 62, UINT64_C(1) << 63 }), -ENOMEM);
        out = idranges_remove(&rs, (IdRange) { 5010, 5011 });
        ck_assert(out.first == 5001 && out.end == 5011);
        out = idranges_remove(&rs, (IdRange) { 6890, 6891 });
        ck_assert(out.first == 6890 && out.end == 6901);
        no_memory = false;
        ck_assert(!idranges_has(&rs, 5010) && idranges_has(&rs, 5011));
        ck_assert(idranges_has(&rs, 6889) && !idranges_has(&rs, 6890) && !idranges_has(&rs, 6900));
        ck_assert_uint_eq(rs.n, 16);
        idranges_deinit(&rs);
}
END_TEST

START_TEST(clients_that_come_and_go) {
        IdRanges rs = IDRANGES_NULL;

        ck_assert_int_eq(idranges_add(&rs, (IdRange) { 1, 100001 }), 0);
        for (uint64_t id = 1; id <= 90000; id++)
                if (id % 1000 != 0)
                        idranges_remove(&rs, (IdRange) { id, id + 1 });
        ck_assert_uint_eq(rs.n, 90); /* those who have stayed; the last together with those to come */
        ck_assert_uint_eq(rs.ranges[89].first, 90000);
        ck_assert_uint_eq(rs.ranges[89].end, 100001);
        idranges_deinit(&rs);
}
END_TEST

TEST_MAIN("idranges", like_an_array, like_an_array_without_memory, no_memory_for_a_gap, clients_that_come_and_go)
