/* Histograms: buckets without gaps, quantiles within 5 % of the truth, any precision readable. */
#include <math.h>
#include "common/core/histogram.h"
#include "common/core/stats.h"
#include "t/unit/unit.h"

#define SAMPLES 20000

START_TEST(test_buckets_join)
{
    uint64_t width, next = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t low = histogram_low(i, &width);

        ck_assert_uint_eq(low, next);
        ck_assert_uint_eq(histogram_bucket(low), i);
        ck_assert_uint_eq(histogram_bucket(low + width - 1), i);
        next = low + width;
    }
    ck_assert_uint_eq(next, (uint64_t)1 << 32);
    ck_assert_uint_eq(histogram_bucket(next), HISTOGRAM_BUCKETS - 1);
    ck_assert_uint_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}
END_TEST

START_TEST(test_middle_is_near_every_value)
{
    uint64_t width;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t low = histogram_low(i, &width);
        double middle = (double)low + (double)(width - 1) / 2;

        ck_assert_double_le(fabs(middle - (double)low), 0.05 * (double)low + 0.001);
    }
}
END_TEST

START_TEST(test_empty)
{
    struct histogram h = { 0 };

    ck_assert_double_eq(histogram_quantile(&h, 0.5), 0);
    ck_assert_double_eq(histogram_quantile(&h, 1), 0);
}
END_TEST

START_TEST(test_counts_sum_and_max)
{
    struct histogram h = { 0 };

    histogram_add(&h, 3);
    histogram_add(&h, 1000);
    histogram_add(&h, 0);
    ck_assert_uint_eq(h.count, 3);
    ck_assert_uint_eq(h.sum, 1003);
    ck_assert_uint_eq(h.max, 1000);
    ck_assert_double_eq(histogram_quantile(&h, 0), 0);
    ck_assert_double_eq(histogram_quantile(&h, 0.5), 3);
    ck_assert_double_le(histogram_quantile(&h, 1), 1000);
    ck_assert_double_ge(histogram_quantile(&h, 1), 950);
}
END_TEST

START_TEST(test_no_quantile_above_the_largest_value)
{
    struct histogram h = { 0 };

    histogram_add(&h, 1024); /* the lowest of its bucket */
    ck_assert_double_eq(histogram_quantile(&h, 0.99), 1024);
    histogram_add(&h, (uint64_t)1 << 40);
    ck_assert_double_eq(histogram_quantile(&h, 1), (double)((uint64_t)1 << 40));
}
END_TEST

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* 0: uniform, 1: exponential, 2: long tail, 3: two peaks. */
static uint64_t draw(int shape, uint64_t *state)
{
    double u = ((double)(random_next(state) >> 11) + 1) / 9007199254740993.0;

    switch (shape) {
    case 0: return (uint64_t)(u * 5e6);
    case 1: return (uint64_t)(-log(u) * 20000);
    case 2: return (uint64_t)fmin(100 / u, 4e9);
    default: return (uint64_t)(u * 50) + (random_next(state) % 4 ? 900 : 250000);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

START_TEST(test_quantiles_within_5_percent)
{
    static const double qs[] = { 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1 };
    static uint64_t v[SAMPLES];
    static struct histogram h;
    uint64_t state = 88172645463325252u;

    for (int round = 0; round < 40; round++) {
        memset(&h, 0, sizeof h);
        for (size_t i = 0; i < SAMPLES; i++) {
            v[i] = draw(round % 4, &state);
            histogram_add(&h, v[i]);
        }
        qsort(v, SAMPLES, sizeof *v, compare);
        for (size_t i = 0; i < sizeof qs / sizeof *qs; i++) {
            size_t rank = (size_t)ceil(qs[i] * SAMPLES);
            double truth = (double)v[rank - 1], got = histogram_quantile(&h, qs[i]);

            ck_assert_msg(fabs(got - truth) <= 0.05 * truth, "round %d q %g: %g, not %g", round,
                          qs[i], got, truth);
        }
    }
}
END_TEST

START_TEST(test_other_precision)
{
    /* 4 buckets an octave: 0 1 2 3 | 4 5 6 7 | 8.. 10.. 12.. 14.. | 16.. */
    uint64_t bucket[16] = { 0 }, width;
    struct histogram_view v = { bucket, 16, 4, 100 };

    ck_assert_uint_eq(histogram_view_low(4, 6, &width), 6);
    ck_assert_uint_eq(width, 1);
    ck_assert_uint_eq(histogram_view_low(4, 9, &width), 10);
    ck_assert_uint_eq(width, 2);
    ck_assert_uint_eq(histogram_view_low(4, 12, &width), 16);
    bucket[9] = 1;
    ck_assert_double_eq(histogram_view_quantile(&v, 0.5), 10.5);
}
END_TEST

UNIT_MAIN("histogram", test_buckets_join, test_middle_is_near_every_value, test_empty,
          test_counts_sum_and_max, test_no_quantile_above_the_largest_value,
          test_quantiles_within_5_percent, test_other_precision)
