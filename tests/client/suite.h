/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The end of each test program here: one suite with one case. */

#include <check.h>
#include <stdlib.h>

static inline int suite_run(const char *name, const TTest *const *tests, size_t n_tests, SFun setup, SFun teardown) {
        Suite *suite = suite_create(name);
        TCase *tcase = tcase_create(name);
        SRunner *runner;
        int n_failed;

        if (setup || teardown)
                tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_set_timeout(tcase, 60); /* a bound for what hangs: with sanitizers on a busy machine all of it is slow */
        for (size_t i = 0; i < n_tests; i++)
                tcase_add_test(tcase, tests[i]);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
