/* Weighted draws: shares, changes of weights, and the second of two. */
#include "t/unit/unit.h"
#include "worker/up/draw.h"

#define MANY 2000

static struct draw d;

static void start(size_t n, const uint32_t *weights)
{
    draw_init(&d, 42);
    draw_reset(&d, n);
    for (size_t i = 0; i < n; i++)
        draw_weigh(&d, i, weights ? weights[i] : 1);
}

START_TEST(weights_are_shares)
{
    static const uint32_t weights[] = { 5, 3, 0, 2 };
    unsigned got[4] = { 0 };

    start(4, weights);
    for (unsigned i = 0; i < 100000; i++)
        got[draw_one(&d)]++;
    ck_assert_uint_ge(got[0], 49000);
    ck_assert_uint_le(got[0], 51000);
    ck_assert_uint_ge(got[1], 29000);
    ck_assert_uint_le(got[1], 31000);
    ck_assert_uint_eq(got[2], 0);
    ck_assert_uint_ge(got[3], 19000);
    ck_assert_uint_le(got[3], 21000);
    draw_fini(&d);
}
END_TEST

START_TEST(the_same_seed_draws_the_same)
{
    size_t first[100];

    start(MANY, NULL);
    for (unsigned i = 0; i < 100; i++)
        first[i] = draw_one(&d);
    draw_fini(&d);
    start(MANY, NULL);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_uint_eq(draw_one(&d), first[i]);
    draw_fini(&d);
}
END_TEST

START_TEST(nothing_is_drawn_of_nothing)
{
    start(0, NULL);
    ck_assert_uint_eq(draw_one(&d), DRAW_NONE);
    draw_reset(&d, 2);
    ck_assert_uint_eq(draw_one(&d), DRAW_NONE);
    draw_weigh(&d, 1, 7);
    ck_assert_uint_eq(draw_one(&d), 1);
    ck_assert_uint_eq(draw_other(&d, 1), DRAW_NONE);
    ck_assert_uint_eq(draw_other(&d, 0), 1); /* that one has no weight */
    draw_weigh(&d, 1, 0);
    ck_assert_uint_eq(draw_one(&d), DRAW_NONE);
    draw_fini(&d);
}
END_TEST

START_TEST(the_other_is_another_by_weight)
{
    static const uint32_t weights[] = { 4, 100, 1 };
    unsigned got[3] = { 0 };

    start(3, weights);
    for (unsigned i = 0; i < 50000; i++)
        got[draw_other(&d, 1)]++;
    ck_assert_uint_eq(got[1], 0);
    ck_assert_uint_ge(got[0], 39000);
    ck_assert_uint_le(got[0], 41000);
    draw_fini(&d);
}
END_TEST

/* Against the definition, over all values that can be drawn. */
START_TEST(random_changes_keep_the_sums)
{
    static uint32_t weights[MANY];
    uint64_t seed = 7, sum = 0;

    start(MANY, weights);
    for (unsigned i = 0; i < 20000; i++) {
        size_t at;

        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        at = (seed >> 33) % MANY;
        weights[at] = (seed >> 60) % 4 == 0 ? 0 : (uint32_t)(seed >> 50);
        draw_weigh(&d, at, weights[at]);
    }
    for (size_t i = 0; i < MANY; i++)
        sum += weights[i];
    ck_assert_uint_eq(d.total, sum);
    for (unsigned i = 0; i < 20000; i++) {
        size_t at = draw_one(&d), other = draw_other(&d, at);

        ck_assert_uint_lt(at, MANY);
        ck_assert_uint_ne(weights[at], 0);
        ck_assert_uint_ne(other, at);
        ck_assert_uint_ne(weights[other], 0);
    }
    draw_fini(&d);
}
END_TEST

UNIT_MAIN("draw", weights_are_shares, the_same_seed_draws_the_same, nothing_is_drawn_of_nothing,
          the_other_is_another_by_weight, random_changes_keep_the_sums)
