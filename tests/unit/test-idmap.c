/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdbool.h>
#include <stdlib.h>

#include "service/core/idmap.h"
#include "tests/unit/run-tests.h"

/* Against a plain array: ids that share their low bits, so that runs are long and removal has to move entries back. */
START_TEST(like_an_array) {
        enum { N = 4096 };
        static char values[N];
        static bool there[N];
        IdMap m = IDMAP_NULL;
        unsigned seed = 7;
        size_t n = 0;

        for (size_t step = 0; step < 50000; step++) {
                size_t i = (size_t) rand_r(&seed) % N;
                uint64_t id = (i % 64) * 65536 + i / 64 + 1;

                if (there[i]) {
                        ck_assert_ptr_eq(idmap_find(&m, id), &values[i]);
                        idmap_remove(&m, id);
                        n--;
                } else {
                        ck_assert_ptr_null(idmap_find(&m, id));
                        ck_assert_int_eq(idmap_add(&m, id, &values[i]), 0);
                        n++;
                }
                there[i] = !there[i];
                ck_assert_uint_eq(m.n, n);
        }
        for (size_t i = 0; i < N; i++)
                ck_assert_ptr_eq(idmap_find(&m, (i % 64) * 65536 + i / 64 + 1), there[i] ? &values[i] : NULL);
        idmap_deinit(&m);
}
END_TEST

START_TEST(empty) {
        IdMap m = IDMAP_NULL;

        ck_assert_ptr_null(idmap_find(&m, 1));
        ck_assert_ptr_null(idmap_find(&m, 0));
        idmap_remove(&m, 1);
        ck_assert_int_eq(idmap_add(&m, UINT64_MAX, &m), 0);
        ck_assert_ptr_null(idmap_find(&m, 0));
        ck_assert_ptr_eq(idmap_find(&m, UINT64_MAX), &m);
        idmap_deinit(&m);
}
END_TEST

TEST_MAIN("idmap", like_an_array, empty)
