/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The main() of a unit test: TEST_MAIN("module", a_test, another_test, …). With a fixture: TEST_MAIN_FIXTURE("module", setup,
 * teardown, …). */

#include <check.h>
#include <stdlib.h>

static inline int run_tests(const char *name, void (*setup)(void), void (*teardown)(void), const TTest *const *tests,
                            size_t n_tests) {
        Suite *suite = suite_create(name);
        TCase *tcase = tcase_create(name);
        SRunner *runner;
        int n_failed;

        tcase_set_timeout(tcase, 60); /* sanitizers and valgrind are slow */
        if (setup || teardown)
                tcase_add_checked_fixture(tcase, setup, teardown);
        for (size_t i = 0; i < n_tests; i++)
                tcase_add_test(tcase, tests[i]);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define TEST_MAIN_FIXTURE(name, setup, teardown, ...)                                             \
        int main(void) {                                                                          \
                const TTest *tests[] = { __VA_ARGS__ };                                           \
                return run_tests(name, setup, teardown, tests, sizeof(tests) / sizeof(tests[0])); \
        }
#define TEST_MAIN(name, ...) TEST_MAIN_FIXTURE(name, NULL, NULL, __VA_ARGS__)
