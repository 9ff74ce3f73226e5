/* What every unit test program shares: a main that runs a list of libcheck tests, and a way to skip loudly.
 *
 *     START_TEST(npy_rejects_a_header_beyond_the_body) { ... } END_TEST
 *     UNIT_MAIN("server/npy", npy_rejects_a_header_beyond_the_body, ...)
 *
 * One program per module; tests/unit mirrors the source tree. Names are sentences about behaviour.
 */
#ifndef MLPD_TESTS_UNIT_H
#define MLPD_TESTS_UNIT_H

#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints why a test (or a part of one) does nothing here; scripts/test.sh repeats these lines at its end. libcheck makes a
 * function name_fn of START_TEST(name); a helper keeps its name. */
#define UNIT_SKIP(...)                                                                                     \
    (printf("SKIP %.*s: ", (int)unit_name_length(__func__), __func__), printf(__VA_ARGS__), putchar('\n'), \
     (void)fflush(stdout))

static inline size_t unit_name_length(const char *function)
{
    size_t len = strlen(function);
    return len > 3 && strcmp(function + len - 3, "_fn") == 0 ? len - 3 : len;
}

static inline int unit_run(const char *name, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 120); /* valgrind and the sanitizers are slow; a hang still ends */
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define UNIT_MAIN(name, ...)                                          \
    int main(void)                                                    \
    {                                                                 \
        const TTest *const tests[] = {__VA_ARGS__};                   \
        return unit_run(name, tests, sizeof tests / sizeof tests[0]); \
    }

#endif
