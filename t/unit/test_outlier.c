/* Whose share of failures stands out from the others'. */
#include "helper/outlier.h"
#include "t/unit/unit.h"

#define N 10

static struct outlier_count counts[N];
static bool is_out[N];

static void all_good(uint64_t requests)
{
    for (size_t i = 0; i < N; i++)
        counts[i] = (struct outlier_count){ requests, 0 };
}

START_TEST(test_one_that_fails_stands_out)
{
    for (size_t n = 5; n <= N; n++) {
        struct outlier_verdict v;

        all_good(1000);
        counts[2].failures = 200;
        v = outlier_find(counts, n, is_out);
        ck_assert_uint_eq(v.out, 1);
        ck_assert_uint_eq(v.judged, n);
        ck_assert(is_out[2] && !is_out[0] && !is_out[n - 1]);
        ck_assert_double_eq_tol(v.mean, 1 - 0.2 / (double)n, 1e-9);
    }
}
END_TEST

START_TEST(test_all_alike_are_in)
{
    all_good(1000);
    ck_assert_uint_eq(outlier_find(counts, N, is_out).out, 0);
    for (size_t i = 0; i < N; i++)
        counts[i].failures = 1000;
    ck_assert_uint_eq(outlier_find(counts, N, is_out).out, 0);
}
END_TEST

START_TEST(test_a_small_difference_is_none)
{
    all_good(100000);
    counts[0].failures = 5000; /* 4.5 points below the mean */
    ck_assert_uint_eq(outlier_find(counts, N, is_out).out, 0);
    counts[0].failures = 6000;
    ck_assert_uint_eq(outlier_find(counts, N, is_out).out, 1);
}
END_TEST

START_TEST(test_half_of_them_are_no_outliers)
{
    all_good(1000);
    for (size_t i = 0; i < N / 2; i++)
        counts[i].failures = 900;
    ck_assert_uint_eq(outlier_find(counts, N, is_out).out, 0);
}
END_TEST

START_TEST(test_few_requests_are_not_judged)
{
    struct outlier_verdict v;

    all_good(1000);
    counts[0] = (struct outlier_count){ 99, 99 };
    v = outlier_find(counts, N, is_out);
    ck_assert_uint_eq(v.judged, N - 1);
    ck_assert_uint_eq(v.out, 0);
    counts[0] = (struct outlier_count){ 100, 100 };
    ck_assert_uint_eq(outlier_find(counts, N, is_out).out, 1);
}
END_TEST

START_TEST(test_few_servers_are_no_crowd)
{
    all_good(1000);
    counts[0].failures = 1000;
    ck_assert_uint_eq(outlier_find(counts, 4, is_out).out, 0);
    counts[3].requests = 10;
    ck_assert_uint_eq(outlier_find(counts, 5, is_out).out, 0);
    ck_assert(!is_out[0]);
    ck_assert_uint_eq(outlier_find(counts, 0, is_out).out, 0);
}
END_TEST

START_TEST(test_more_failures_than_requests_is_none_that_succeeded)
{
    const struct outlier_count odd = { 10, 20 }, none = { 0, 0 };

    ck_assert_double_eq(outlier_success(&odd), 0);
    ck_assert_double_eq(outlier_success(&none), 1);
}
END_TEST

/* xorshift: the same numbers everywhere. */
static double draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) / 9007199254740992.0;
}

static void serve(struct outlier_count *c, uint64_t requests, double fails, uint64_t *state)
{
    *c = (struct outlier_count){ requests, 0 };
    for (uint64_t i = 0; i < requests; i++)
        c->failures += draw(state) < fails;
}

/* How many of 10,000 intervals have one out, of ten alike that fail so often. */
static unsigned unlucky(uint64_t requests, double fails)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    unsigned intervals = 0;

    for (int t = 0; t < 10000; t++) {
        for (size_t i = 0; i < N; i++)
            serve(&counts[i], requests, fails, &state);
        intervals += outlier_find(counts, N, is_out).out > 0;
    }
    return intervals;
}

START_TEST(test_bad_luck_is_no_failure)
{
    ck_assert_uint_eq(unlucky(100, 0.01), 0);
    ck_assert_uint_eq(unlucky(200, 0.01), 0);
    ck_assert_uint_le(unlucky(100, 0.1), 10);
    ck_assert_uint_le(unlucky(200, 0.3), 10);
}
END_TEST

START_TEST(test_one_that_fails_more_is_found_in_noise)
{
    uint64_t state = 1;
    unsigned found = 0, others = 0;

    for (int t = 0; t < 1000; t++) {
        struct outlier_verdict v;

        for (size_t i = 0; i < N; i++)
            serve(&counts[i], 100, i == 3 ? 0.25 : 0.01, &state);
        v = outlier_find(counts, N, is_out);
        found += is_out[3];
        others += (unsigned)v.out - is_out[3];
    }
    ck_assert_uint_ge(found, 900);
    ck_assert_uint_eq(others, 0);
}
END_TEST

START_TEST(test_share_that_may_be_ejected)
{
    ck_assert(!outlier_may_eject(1, 0, 10000)); /* a lone one never */
    ck_assert(outlier_may_eject(2, 0, 0));      /* one of several always */
    ck_assert(!outlier_may_eject(2, 1, 5000));
    ck_assert(outlier_may_eject(10, 4, 5000));
    ck_assert(!outlier_may_eject(10, 5, 5000));
    ck_assert(outlier_may_eject(3, 2, 10000));
}
END_TEST

UNIT_MAIN("outlier", test_one_that_fails_stands_out, test_all_alike_are_in,
          test_a_small_difference_is_none, test_half_of_them_are_no_outliers,
          test_few_requests_are_not_judged, test_few_servers_are_no_crowd,
          test_more_failures_than_requests_is_none_that_succeeded,
          test_bad_luck_is_no_failure, test_one_that_fails_more_is_found_in_noise,
          test_share_that_may_be_ejected)
