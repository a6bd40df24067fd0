/* Reports: lines with their place, and the guess at what was meant. */
#include "common/core/report.h"
#include "t/unit/unit.h"

START_TEST(test_lines_with_place_and_chain)
{
    struct report r;

    report_init(&r);
    report_error(&r, "no %s", "place");
    report_warning(&r, "careful");
    report_error_at(&r, (struct report_place){ "a.ini", 3, ", included from b.ini:1" }, "wrong");
    report_warning_at(&r, (struct report_place){ "a.ini", 4, "" }, "odd");
    report_error_at(&r, (struct report_place){ NULL, 0, NULL }, "nowhere");
    ck_assert_str_eq(r.text.s, "no place\n"
                               "warning: careful\n"
                               "a.ini:3: wrong, included from b.ini:1\n"
                               "a.ini:4: warning: odd\n"
                               "nowhere\n");
    ck_assert_uint_eq(r.errors, 3);
    ck_assert_uint_eq(r.warnings, 2);
    report_fini(&r);
}
END_TEST

static const char *const keys[] = { "timeout_idle", "timeout_body", "bind", "mode", "server" };

static const char *suggest(const char *wrong)
{
    return report_suggest(wrong, keys, sizeof keys / sizeof keys[0]);
}

START_TEST(test_suggests_what_is_close)
{
    ck_assert_str_eq(suggest("timeout_idel"), "timeout_idle");
    ck_assert_str_eq(suggest("timeoutbody"), "timeout_body");
    ck_assert_str_eq(suggest("bnid"), "bind");
    ck_assert_str_eq(suggest("BIND"), "bind");
    ck_assert_str_eq(suggest("servers"), "server");
    ck_assert_str_eq(suggest("mod"), "mode");
}
END_TEST

START_TEST(test_suggests_nothing_far_off)
{
    char longest[200];

    ck_assert_ptr_null(suggest("certificate"));
    ck_assert_ptr_null(suggest("x"));
    ck_assert_ptr_null(suggest(""));
    ck_assert_ptr_null(suggest("mope_x"));
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    ck_assert_ptr_null(suggest(longest));
    ck_assert_ptr_null(report_suggest("bind", NULL, 0));
}
END_TEST

START_TEST(test_closest_wins)
{
    static const char *const names[] = { "ab_fgh", "abcdeh", "abcdef" };

    ck_assert_str_eq(report_suggest("abcdeg", names, 2), "abcdeh");
    ck_assert_str_eq(report_suggest("ABCDEF", names, 3), "abcdef");
}
END_TEST

UNIT_MAIN("report", test_lines_with_place_and_chain, test_suggests_what_is_close,
          test_suggests_nothing_far_off, test_closest_wins)
