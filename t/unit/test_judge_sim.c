/* The canary's judge held to what rpd.ini(5) promises, by thousands of canaries whose true error
 * rates are known: how often it takes back one that is as good as the stable backend, and how soon
 * it finds one that is worse. It looks at each failure of the canary, and whenever a look may spend
 * something, which is more often than a helper does. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "common/core/stats.h"
#include "helper/judge.h"
#include "t/unit/unit.h"

#if defined(__SANITIZE_ADDRESS__)
#define RUNS 1000
#else
#define RUNS 10000
#endif
#define MIN_REQUESTS 100
#define MARGIN 0.01
#define ROWS 7

static const double weights[] = { 0.05, 0.25, 0.5, 1 };
#define STEPS (sizeof weights / sizeof *weights)

static uint64_t seed;

/* splitmix64; above 0, up to 1. */
static double dice(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return ((double)(z >> 11) + 1) / 9007199254740992.0;
}

/* Requests that fail at a rate, drawn one failure at a time. */
struct source {
    double rate;
    double left; /* good ones before the next bad one */
};

static void draw(struct source *s)
{
    s->left = s->rate > 0 ? floor(log(dice()) / log1p(-s->rate)) : INFINITY;
}

static struct source source_of(double rate)
{
    struct source s = { rate, 0 };

    draw(&s);
    return s;
}

static void ask(struct source *s, uint64_t n, struct judge_count *into)
{
    double left = (double)n;

    for (; left > s->left; left -= s->left + 1, into->bad++, draw(s))
        ;
    s->left -= left;
    into->requests += n;
}

/* Requests until there is something to be looked at. */
static uint64_t until_next(const struct source *canary, const struct judge *judge, uint64_t done,
                           uint64_t last)
{
    uint64_t look = judge->next ? judge->next : MIN_REQUESTS;
    double n = canary->left + 1;

    if (look > done && n > (double)(look - done))
        n = (double)(look - done);
    return n > (double)(last - done) ? last - done : (uint64_t)n;
}

/* One canary of so many of its requests a step: after how many of all it was taken back, or 0. */
static uint64_t run(double stable_rate, double canary_rate, uint64_t per_step, size_t steps,
                    const double *weight)
{
    struct source stable = source_of(stable_rate), canary = source_of(canary_rate);
    struct judge_count all = { 0, 0 };
    uint64_t total = 0;

    for (size_t step = 0; step < steps; step++) {
        double each = (1 - weight[step]) / weight[step], due = 0, p;
        struct judge_count s = { 0, 0 }, c = { 0, 0 };
        struct judge judge = { .step = (unsigned)step + 1 };

        while (c.requests < per_step) {
            uint64_t n = until_next(&canary, &judge, c.requests, per_step);
            uint64_t others = (uint64_t)(due += each * (double)n);

            due -= (double)others;
            ask(&stable, others, &s);
            ask(&canary, n, &c);
            total += n;
            struct judge_count run = { all.requests + s.requests, all.bad + s.bad };
            if (c.requests >= MIN_REQUESTS &&
                judge_errors(&judge, s.requests >= c.requests ? &s : &run, &c, MIN_REQUESTS,
                             MARGIN, &p) == JUDGE_BAD)
                return total;
        }
        all.requests += s.requests;
        all.bad += s.bad;
    }
    return 0;
}

/* Share of those taken back. */
static double taken_back(double stable_rate, double canary_rate, uint64_t per_step, size_t steps,
                         const double *weight)
{
    unsigned n = 0;

    for (unsigned i = 0; i < RUNS; i++)
        n += run(stable_rate, canary_rate, per_step, steps, weight) > 0;
    printf("rates %5.3f %5.3f, %5u of its requests a step: %6.2f %% taken back\n", stable_rate,
           canary_rate, (unsigned)per_step, 100.0 * n / RUNS);
    return (double)n / RUNS;
}

START_TEST(test_one_as_good_as_the_stable_backend_is_hardly_ever_taken_back)
{
    static const struct {
        double rate;
        uint64_t most; /* what takes time are failures */
    } rows[ROWS] = {
        { 0.001, 3000 }, { 0.002, 3000 }, { 0.005, 3000 }, { 0.01, 3000 }, { 0.02, 2000 },
        { 0.05, 1000 }, { 0.2, 300 },
    };

    seed = 1 + (uint64_t)_i;
    ck_assert_double_lt(taken_back(rows[_i].rate, rows[_i].rate, 150, STEPS, weights), 0.01);
    ck_assert_double_lt(taken_back(rows[_i].rate, rows[_i].rate, rows[_i].most, STEPS, weights),
                        0.01);
}
END_TEST

START_TEST(test_one_that_fails_ten_times_as_often_is_found_soon)
{
    seed = 100 + (uint64_t)_i;
    ck_assert_double_ge(taken_back(0.005, 0.05, 300, 1, weights), RUNS < 10000 ? 0.98 : 0.99);
}
END_TEST

/* ---- latency ---- */

/* Log-normal: most around 20 ms, one in a hundred over ten times that. */
static uint64_t latency(double times)
{
    return (uint64_t)(times * 20000 * exp(sqrt(-2 * log(dice())) * cos(2 * M_PI * dice())));
}

static struct judge_count above(const struct histogram *h, uint64_t us)
{
    struct judge_count c = { h->count, 0 };

    for (unsigned i = histogram_bucket(us) + 1; i < HISTOGRAM_BUCKETS; i++)
        c.bad += h->bucket[i];
    return c;
}

/* One step, with so many requests of the stable backend for each of the canary; the limit is a
 * multiple of the stable backend's p99 as far as that is known. */
static bool is_found_slow(double canary_times, double limit_times, unsigned each, uint64_t requests)
{
    static struct histogram stable, canary;
    struct judge judge = { .step = 1 };
    double p;

    memset(&stable, 0, sizeof stable);
    memset(&canary, 0, sizeof canary);
    while (canary.count < requests) {
        uint64_t look = judge.next_slow ? judge.next_slow : MIN_REQUESTS;

        for (; canary.count < look; histogram_add(&canary, latency(canary_times)))
            for (unsigned i = 0; i < each; i++)
                histogram_add(&stable, latency(1));
        uint64_t limit = (uint64_t)(histogram_quantile(&stable, 0.99) * limit_times);
        struct judge_count s = above(&stable, limit), c = above(&canary, limit);
        if (judge_slow(&judge, &s, &c, MIN_REQUESTS, &p) == JUDGE_BAD)
            return true;
    }
    return false;
}

static double found_slow(double canary_times, double limit_times, unsigned each, uint64_t requests)
{
    unsigned n = 0;

    for (unsigned i = 0; i < RUNS / 5; i++)
        n += is_found_slow(canary_times, limit_times, each, requests);
    printf("%.1f times as slow, limit %.1fx, %u others each, %u requests: %6.2f %% taken back\n",
           canary_times, limit_times, each, (unsigned)requests, 500.0 * n / RUNS);
    return 5.0 * n / RUNS;
}

START_TEST(test_one_as_fast_as_the_stable_backend_is_hardly_ever_taken_back)
{
    seed = 7;
    ck_assert_double_lt(found_slow(1, 1.2, 1, 1500), 0.01);
    ck_assert_double_lt(found_slow(1, 1.2, 19, 600), 0.01);
    ck_assert_double_lt(found_slow(1, 1.5, 1, 1500), 0.001);
}
END_TEST

START_TEST(test_one_that_is_much_slower_is_found)
{
    seed = 8;
    ck_assert_double_gt(found_slow(4, 1.5, 19, 300), 0.99);
    ck_assert_double_gt(found_slow(3, 1.5, 1, 1500), 0.99);
}
END_TEST

START_TEST(test_one_that_always_fails_is_found_at_once)
{
    seed = 1;
    for (size_t i = 0; i < STEPS; i++)
        ck_assert_uint_eq(run(0.005, 1, 300, 1, &weights[i]), MIN_REQUESTS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("judge_sim");
    TCase *tcase = tcase_create("judge_sim");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_loop_test(tcase, test_one_as_good_as_the_stable_backend_is_hardly_ever_taken_back, 0,
                        ROWS);
    tcase_add_loop_test(tcase, test_one_that_fails_ten_times_as_often_is_found_soon, 0, 4);
    tcase_add_test(tcase, test_one_as_fast_as_the_stable_backend_is_hardly_ever_taken_back);
    tcase_add_test(tcase, test_one_that_is_much_slower_is_found);
    tcase_add_test(tcase, test_one_that_always_fails_is_found_at_once);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
