/* What every unit test program ends with. A test file holds tests of Check's (START_TEST ..
 * END_TEST) for one module, and then
 *
 *     UNIT_MAIN("slice", test_equal, test_split)
 *
 * A file that wants fixtures or loop tests builds its own Suite and ends in
 * `int main(void) { return unit_run(suite); }`. Check's environment holds: CK_FORK=no for a
 * debugger, CK_RUN_CASE, CK_VERBOSITY=verbose. */
#ifndef RPD_UNIT_H
#define RPD_UNIT_H

#include <check.h>
#include <stdlib.h>

/* No test takes longer; sanitizers and a busy machine included. */
#define UNIT_TIMEOUT_S 60

/* Takes the suite; returns main's exit status. */
static inline int unit_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    int run = srunner_ntests_run(runner);
    srunner_free(runner);
    return failed == 0 && run > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(name, ...)                                            \
    int main(void)                                                      \
    {                                                                   \
        const TTest *const tests[] = { __VA_ARGS__ };                   \
        Suite *suite = suite_create(name);                              \
        TCase *tcase = tcase_create(name);                              \
        tcase_set_timeout(tcase, UNIT_TIMEOUT_S);                       \
        for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {   \
            tcase_add_test(tcase, tests[i]);                            \
        }                                                               \
        suite_add_tcase(suite, tcase);                                  \
        return unit_run(suite);                                         \
    }

#endif
