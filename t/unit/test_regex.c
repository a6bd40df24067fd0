/* Regular expressions: matches, captures, refusals and the bounds of their work. Each runs by
 * machine code and by the interpreter. */
#include "common/base/regex.h"

#include <stdio.h>
#include <stdlib.h>
#include "t/unit/unit.h"

#define SUBJECT_MAX 32768

static const unsigned engines[] = { 0, REGEX_INTERPRETED };
#define NENGINES 2

static struct regex_captures captures;

static struct regex *compile(const char *pattern, unsigned options)
{
    struct regex_error error;
    struct regex *re = regex_new(slice_str(pattern), options, &error);

    if (!re)
        ck_abort_msg("%s: %s", pattern, error.text);
    return re;
}

static enum regex_result match(const char *pattern, unsigned options, struct slice subject)
{
    struct regex *re = compile(pattern, options);
    struct regex_room *room = regex_room_new();
    enum regex_result result = regex_match(re, room, subject, &captures);

    regex_free(&re);
    ck_assert_ptr_null(re);
    regex_room_free(&room);
    ck_assert_ptr_null(room);
    return result;
}

static void expect_refusal(const char *pattern, const char *why, size_t at)
{
    struct regex_error error;
    struct regex *re = regex_new(slice_str(pattern), 0, &error);

    ck_assert_msg(!re, "%s", pattern);
    ck_assert_msg(strstr(error.text, why), "%s: %s", pattern, error.text);
    ck_assert_uint_eq(error.at, at);
}

static void expect_capture(unsigned i, const char *text)
{
    ck_assert_msg(slice_eq(captures.v[i], slice_str(text)), "$%u: %.*s", i,
                  SLICE_ARG(captures.v[i]));
}

START_TEST(matches_anywhere_unless_anchored)
{
    unsigned how = engines[_i];

    ck_assert_int_eq(match("b+", how, SLICE("abbc")), REGEX_MATCH);
    expect_capture(0, "bb");
    ck_assert_int_eq(match("^b+", how, SLICE("abbc")), REGEX_NO_MATCH);
    ck_assert_int_eq(match("B", how, SLICE("abbc")), REGEX_NO_MATCH);
    ck_assert_int_eq(match("B", how | REGEX_CASELESS, SLICE("abbc")), REGEX_MATCH);
    ck_assert_int_eq(match("", how, SLICE_NONE), REGEX_MATCH);
    expect_capture(0, "");
    ck_assert_int_eq(match("a", how, SLICE_NONE), REGEX_NO_MATCH);
}
END_TEST

START_TEST(dollar_is_the_very_end)
{
    ck_assert_int_eq(match("a$", engines[_i], SLICE("a")), REGEX_MATCH);
    ck_assert_int_eq(match("a$", engines[_i], SLICE("a\n")), REGEX_NO_MATCH);
}
END_TEST

START_TEST(subjects_are_bytes)
{
    unsigned how = engines[_i];

    ck_assert_int_eq(match("^.$", how, SLICE("\xff")), REGEX_MATCH);
    ck_assert_int_eq(match("^..$", how, SLICE("\xc3\xa9")), REGEX_MATCH);
    ck_assert_int_eq(match("^a\\x00b$", how, slice_of("a\0b", 3)), REGEX_MATCH);
}
END_TEST

START_TEST(groups_become_slices_of_the_subject)
{
    struct slice subject = SLICE("/users/17/edit");

    ck_assert_int_eq(match("^/(\\w+)/(x)?(\\d+)", engines[_i], subject), REGEX_MATCH);
    expect_capture(0, "/users/17");
    expect_capture(1, "users");
    ck_assert_ptr_eq(captures.v[1].p, subject.p + 1);
    ck_assert_ptr_null(captures.v[2].p);
    expect_capture(3, "17");
    for (unsigned i = 4; i < REGEX_CAPTURES; i++)
        ck_assert_ptr_null(captures.v[i].p);
}
END_TEST

START_TEST(groups_beyond_the_ninth_are_only_matched)
{
    struct regex *re;

    ck_assert_int_eq(match("(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", engines[_i],
                           SLICE("abcdefghijk")), REGEX_MATCH);
    expect_capture(0, "abcdefghijk");
    expect_capture(9, "i");
    re = compile("(a)(?:b)(?<name>c)", 0);
    ck_assert_uint_eq(regex_groups(re), 2);
    regex_free(&re);
}
END_TEST

START_TEST(patterns_that_are_none_say_why_and_where)
{
    expect_refusal("a(b", "missing closing parenthesis", 3);
    expect_refusal("a[", "missing terminating ]", 2);
    expect_refusal("*", "quantifier", 0);
    expect_refusal("a\\C", "\\C", 3);
    expect_refusal("(*UTF)a", "UTF", 6);
    expect_refusal("(*UCP)a", "UCP", 6);
    expect_refusal("(*NONSENSE)a", "VERB", 10);
}
END_TEST

/* Each does far more than the limits let it, were it let. */
static const char *const catastrophic[] = {
    "(a+)+$",
    "^(a+)+$",
    "(a|aa)+[xy]",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(?:a?){16}a{16}[xy]",
    "(?:.{1,30}){1,3}[xy]",
    "a*a*a*a*[xy]",
    "(*LIMIT_MATCH=4000000000)(*LIMIT_HEAP=4000000000)(*LIMIT_DEPTH=4000000000)(a+)+$",
    "(*NO_JIT)(a+)+$",
    "^(?:(a)|b)*?[xy](?R)",
};
#define NCATASTROPHIC (int)(sizeof catastrophic / sizeof *catastrophic)

START_TEST(catastrophic_patterns_end_at_the_limit)
{
    const char *pattern = catastrophic[_i / NENGINES];
    char *subject = malloc(SUBJECT_MAX);

    ck_assert_ptr_nonnull(subject);
    memset(subject, 'a', SUBJECT_MAX);
    subject[SUBJECT_MAX - 1] = '!';
    ck_assert_msg(match(pattern, engines[_i % NENGINES], slice_of(subject, SUBJECT_MAX))
                  == REGEX_LIMIT, "%s", pattern);
    free(subject);
}
END_TEST

/* A pattern may start at every byte of the subject, and costs just below a limit at each. */
START_TEST(the_starts_of_a_subject_share_their_work)
{
    char *subject = malloc(SUBJECT_MAX);

    ck_assert_ptr_nonnull(subject);
    memset(subject, 'a', SUBJECT_MAX);
    ck_assert_int_eq(match("(?:a?b?){6}[xy]", engines[_i], slice_of(subject, 64)),
                     REGEX_NO_MATCH);
    ck_assert_int_eq(match("(?:a?b?){10}[xy]", engines[_i], slice_of(subject, SUBJECT_MAX)),
                     REGEX_LIMIT);
    free(subject);
}
END_TEST

START_TEST(lower_limits_of_a_pattern_hold)
{
    struct slice subject = SLICE("aaaaaaaa!");

    ck_assert_int_eq(match("^(a+)+$", engines[_i], subject), REGEX_NO_MATCH);
    ck_assert_int_eq(match("(*LIMIT_MATCH=9)^(a+)+$", engines[_i], subject), REGEX_LIMIT);
}
END_TEST

START_TEST(long_subjects_match_within_the_limits)
{
    size_t n = 2048;
    char *subject = malloc(n);

    ck_assert_ptr_nonnull(subject);
    memset(subject, 'a', n);
    subject[0] = '/';
    ck_assert_int_eq(match("^/(a|b)*$", engines[_i], slice_of(subject, n)), REGEX_MATCH);
    ck_assert_int_eq(match("/(.*)$", engines[_i], slice_of(subject, n)), REGEX_MATCH);
    ck_assert_uint_eq(captures.v[1].n, n - 1);
    free(subject);
}
END_TEST

START_TEST(a_room_serves_all_patterns_in_turn)
{
    struct regex_room *room = regex_room_new();
    struct regex *a = compile("^/a/(.*)$", engines[_i]), *b = compile("(a+)+$", engines[_i]);
    struct slice hard = SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!");

    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(regex_match(b, room, hard, NULL), REGEX_LIMIT);
        ck_assert_int_eq(regex_match(a, room, SLICE("/a/bc"), &captures), REGEX_MATCH);
        expect_capture(1, "bc");
        ck_assert_int_eq(regex_match(a, room, SLICE("/b/bc"), NULL), REGEX_NO_MATCH);
    }
    regex_free(&a);
    regex_free(&b);
    regex_room_free(&room);
}
END_TEST

START_TEST(freeing_nothing_is_nothing)
{
    struct regex *re = NULL;
    struct regex_room *room = NULL;

    regex_free(&re);
    regex_room_free(&room);
}
END_TEST

int main(void)
{
    const TTest *const both[] = {
        matches_anywhere_unless_anchored, dollar_is_the_very_end, subjects_are_bytes,
        groups_become_slices_of_the_subject, groups_beyond_the_ninth_are_only_matched,
        the_starts_of_a_subject_share_their_work, lower_limits_of_a_pattern_hold,
        long_subjects_match_within_the_limits, a_room_serves_all_patterns_in_turn,
    };
    Suite *suite = suite_create("regex");
    TCase *tcase = tcase_create("regex");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    for (size_t i = 0; i < sizeof both / sizeof *both; i++)
        tcase_add_loop_test(tcase, both[i], 0, NENGINES);
    tcase_add_loop_test(tcase, catastrophic_patterns_end_at_the_limit, 0,
                        NCATASTROPHIC * NENGINES);
    tcase_add_test(tcase, patterns_that_are_none_say_why_and_where);
    tcase_add_test(tcase, freeing_nothing_is_nothing);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
