/* The tests by which canaries are judged, against values computed exactly elsewhere, and when which
 * p is low enough. */
#include "helper/judge.h"

#include <math.h>
#include <stdbool.h>
#include "t/unit/unit.h"

static const struct judge_count stable = { 10000, 50 };

static bool is_near(double value, double wanted)
{
    return fabs(value - wanted) <= wanted * 1e-6;
}

static double fisher(uint64_t ns, uint64_t bs, uint64_t nc, uint64_t bc)
{
    return judge_p(&(struct judge_count){ ns, bs }, &(struct judge_count){ nc, bc });
}

START_TEST(test_two_proportions)
{
    ck_assert(is_near(fisher(5833, 28, 307, 16), 6.547353537290492e-11));
    ck_assert(is_near(fisher(100, 1, 100, 7), 0.01790351916987832));
    ck_assert(is_near(fisher(10, 0, 10, 3), 0.05263157894736842));
    ck_assert(is_near(fisher(1000000, 5000, 100, 3), 0.007895365340759916));
}
END_TEST

START_TEST(test_no_more_than_its_share_is_nothing)
{
    ck_assert_double_eq(fisher(0, 0, 0, 0), 1);
    ck_assert_double_eq(fisher(100, 5, 100, 5), 1);
    ck_assert_double_eq(fisher(100, 5, 100, 0), 1);
    ck_assert_double_eq(fisher(100, 100, 100, 100), 1);
}
END_TEST

START_TEST(test_one_proportion)
{
    ck_assert(is_near(judge_p_share(&(struct judge_count){ 100, 5 }, 0.01),
                      0.0019834280258737742));
    ck_assert(is_near(judge_p_share(&(struct judge_count){ 300, 9 }, 0.01),
                      0.0023129035004428246));
    ck_assert_double_eq(judge_p_share(&(struct judge_count){ 100, 1 }, 0.01), 1);
    ck_assert_double_eq(judge_p_share(&(struct judge_count){ 100, 1 }, 0), 0);
}
END_TEST

static enum judge_verdict errors(struct judge *j, uint64_t requests, uint64_t bad, double margin)
{
    double p;

    return judge_errors(j, &stable, &(struct judge_count){ requests, bad }, 100, margin, &p);
}

START_TEST(test_what_is_not_above_the_margin_is_good)
{
    struct judge j = { .step = 1 };
    double p;

    ck_assert_int_eq(errors(&j, 100000, 1400, 0.01), JUDGE_GOOD); /* however sure it is */
    ck_assert_int_eq(judge_errors(&j, &stable, &(struct judge_count){ 100, 0 }, 100, 0, &p),
                     JUDGE_GOOD);
    ck_assert_double_eq(p, 1);
}
END_TEST

/* p is 0.0011 for 4 of 100, 0.0001 for 5; 0.0003 for 5 of 120. */
START_TEST(test_a_look_may_spend_something_once)
{
    struct judge j = { .step = 1 };

    ck_assert_int_eq(errors(&j, 100, 3, 0.01), JUDGE_SUSPECT);
    ck_assert_int_eq(errors(&j, 101, 5, 0.01), JUDGE_SUSPECT);
    ck_assert_int_eq(errors(&j, 119, 5, 0.01), JUDGE_SUSPECT);
    ck_assert_int_eq(errors(&j, 120, 5, 0.01), JUDGE_BAD);
    j = (struct judge){ .step = 1 };
    ck_assert_int_eq(errors(&j, 100, 4, 0.01), JUDGE_BAD);
    j = (struct judge){ .step = 2 };
    ck_assert_int_eq(errors(&j, 100, 5, 0.01), JUDGE_SUSPECT);
    ck_assert_int_eq(errors(&j, 101, 10, 0.01), JUDGE_BAD);
}
END_TEST

START_TEST(test_without_anything_to_compare_the_margin_counts)
{
    const struct judge_count none = { 0, 0 };
    struct judge j = { .step = 1 };
    double p;

    ck_assert_int_eq(judge_errors(&j, &none, &(struct judge_count){ 100, 20 }, 100, 0.01, &p),
                     JUDGE_BAD);
    ck_assert_int_eq(judge_errors(&j, &none, &(struct judge_count){ 120, 1 }, 100, 0.01, &p),
                     JUDGE_GOOD);
}
END_TEST

START_TEST(test_slow_ones)
{
    const struct judge_count slow_as_well = { 1000, 100 };
    struct judge j = { .step = 1 };
    double p;

    ck_assert_int_eq(judge_slow(&j, NULL, &(struct judge_count){ 100, 1 }, 100, &p), JUDGE_GOOD);
    ck_assert_int_eq(judge_slow(&j, NULL, &(struct judge_count){ 120, 12 }, 100, &p), JUDGE_BAD);
    j = (struct judge){ .step = 1 };
    ck_assert_int_eq(judge_slow(&j, &slow_as_well, &(struct judge_count){ 120, 12 }, 100, &p),
                     JUDGE_GOOD);
    ck_assert_int_eq(judge_slow(&j, &slow_as_well, &(struct judge_count){ 144, 60 }, 100, &p),
                     JUDGE_BAD);
}
END_TEST

UNIT_MAIN("judge", test_two_proportions, test_no_more_than_its_share_is_nothing,
          test_one_proportion, test_what_is_not_above_the_margin_is_good,
          test_a_look_may_spend_something_once,
          test_without_anything_to_compare_the_margin_counts, test_slow_ones)
