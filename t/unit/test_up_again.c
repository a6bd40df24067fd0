/* Further tries and second ones: their servers, their budget, what they count as, and how long is
 * long. */
#include "t/unit/up_fixture.h"
#include "worker/up/failure.h"
#include "worker/up/latency.h"

#define THREE "server = %0 name=s0\nserver = %1 name=s1\nserver = %2 name=s2\n"

static struct req q[4];

/* ---- what a failure is ---- */

START_TEST(failures_have_a_kind)
{
    ck_assert_uint_eq(failure_of(END_OK, 200), 0);
    ck_assert_uint_eq(failure_of(END_OK, 404), 0);
    ck_assert_uint_eq(failure_of(END_OK, 500), CONF_FAIL_5XX);
    ck_assert_uint_eq(failure_of(END_OK, 502), CONF_FAIL_502 | CONF_FAIL_5XX);
    ck_assert_uint_eq(failure_of(END_OK, 503), CONF_FAIL_503 | CONF_FAIL_5XX);
    ck_assert_uint_eq(failure_of(END_OK, 504), CONF_FAIL_504 | CONF_FAIL_5XX);
    ck_assert_uint_eq(failure_of(END_CONNECT_REFUSED, 0), CONF_FAIL_CONNECT);
    ck_assert_uint_eq(failure_of(END_SERVER_CERT_NAME, 0), CONF_FAIL_CONNECT);
    ck_assert_uint_eq(failure_of(END_CONNECT_TIMEOUT, 0), CONF_FAIL_CONNECT | CONF_FAIL_TIMEOUT);
    ck_assert_uint_eq(failure_of(END_SERVER_CLOSED, 0), CONF_FAIL_RESET);
    ck_assert_uint_eq(failure_of(END_BAD_RESPONSE, 0), CONF_FAIL_RESET);
    ck_assert_uint_eq(failure_of(END_SERVER_TIMEOUT, 0), CONF_FAIL_TIMEOUT);
    ck_assert_uint_eq(failure_of(END_CLIENT_CLOSED, 0), 0);
    ck_assert_uint_eq(failure_of(END_EXHAUSTED, 0), 0);
    ck_assert_uint_eq(failure_of(END_NO_SERVER, 0), 0);
}
END_TEST

/* ---- the budget ---- */

static unsigned take_all(struct budget *b, uint64_t now_us)
{
    unsigned n = 0;

    while (budget_take(b, now_us))
        n++;
    return n;
}

START_TEST(a_few_at_the_start_and_one_a_second)
{
    uint64_t now = 5000000;
    struct budget b;

    budget_init(&b, now);
    ck_assert_uint_eq(take_all(&b, now), BUDGET_START);
    ck_assert_uint_eq(take_all(&b, now + 999000), 0);
    ck_assert_uint_eq(take_all(&b, now + 1000000), 1);
    ck_assert_uint_eq(take_all(&b, now + 3600000000), BUDGET_START); /* not one more */
}
END_TEST

START_TEST(a_share_of_requests)
{
    uint64_t now = 0;
    unsigned taken = 0, requests = 0;
    struct budget b;

    budget_init(&b, now);
    b.share = 2000;
    for (unsigned i = 0; i < 100000; i++) { /* each would be tried again */
        now += 100;
        budget_earn(&b);
        requests++;
        taken += budget_take(&b, now);
    }
    ck_assert_uint_ge(taken, requests / 5);
    ck_assert_uint_le(taken, requests / 5 + BUDGET_START + 11); /* ten seconds have passed */
}
END_TEST

/* A storm may take what the last ten seconds have brought, and a quiet day brings no more. */
START_TEST(what_is_over_leaks_away)
{
    uint64_t now = 0;
    struct budget b;

    budget_init(&b, now);
    b.share = 1000;
    for (unsigned i = 0; i < 86400; i++) { /* a request a second, one in 10 s tried again */
        now += 1000000;
        budget_earn(&b);
        if (i % 10 == 0)
            ck_assert(budget_take(&b, now));
    }
    ck_assert_uint_le(take_all(&b, now), BUDGET_START + 1);
    for (unsigned i = 0; i < 100000; i++)
        budget_earn(&b);
    ck_assert_uint_eq(take_all(&b, now + 1000000000), BUDGET_START + 100);
}
END_TEST

/* ---- tries ---- */

static const struct up_result broken = { .why = END_SERVER_RESET, .latency_us = 1000 };

START_TEST(each_server_once)
{
    apply(THREE);
    q[0].r.retries = 9;
    ck_assert_str_eq(get(&q[0]), "s0");
    ck_assert(!up_seek(&q[0].r, CONF_FAIL_RESET)); /* not what it is made again for */
    q[0].r.retry_on |= CONF_FAIL_RESET | CONF_FAIL_503;
    for (unsigned i = 1; i < 3; i++) {
        ck_assert(up_seek(&q[0].r, i == 1 ? CONF_FAIL_RESET : CONF_FAIL_503));
        conn_close(&q[0].c);
        q[0].ready = 0;
        up_again(&q[0].r, &broken);
        UNTIL(q[0].ready);
    }
    ck_assert_str_eq(q[0].server, "s2");
    ck_assert(!up_seek(&q[0].r, CONF_FAIL_RESET));
    ck_assert_uint_eq(q[0].r.retried, 2);
    finish(&q[0], false);
    ck_assert_uint_eq(stats()->retries, 2);
    ck_assert_uint_eq(stats()->retries_reset, 1);
    ck_assert_uint_eq(stats()->retries_status, 1);
    ck_assert_uint_eq(stats()->retries_over_budget, 0);
    ck_assert_uint_eq(stats()->requests_total, 1);
    ck_assert_uint_eq(stats_of("s0", 0)->failures, 1);
    ck_assert_uint_eq(stats_of("s0", 0)->requests_total, 1);
}
END_TEST

START_TEST(no_budget_no_try)
{
    apply(THREE);
    get(&q[0]);
    q[0].r.retries = 1;
    backends[0]->budget.parts = 0;
    ck_assert(!up_seek(&q[0].r, CONF_FAIL_CONNECT));
    ck_assert_uint_eq(stats()->retries_over_budget, 1);
    ck_assert_uint_eq(stats_of("s1", 0)->active, 0); /* given back */
    q[1].r = q[0].r;
    ck_assert(!up_hedge(&q[1].r, &q[0].r));
    ck_assert_uint_eq(stats()->retries_over_budget, 2);
    ck_assert_uint_eq(stats()->hedges, 0);
    finish(&q[0], false);
}
END_TEST

START_TEST(not_anew_to_a_server_that_a_reload_took_out)
{
    apply(THREE);
    ck_assert_str_eq(get(&q[0]), "s0");
    conn_close(&q[0].c);
    apply("server = %1 name=s1\n");
    q[0].ready = 0;
    up_anew(&q[0].r);
    UNTIL(q[0].ready);
    ck_assert_str_eq(q[0].server, "s1");
    finish(&q[0], false);
    ck_assert_uint_eq(stats_of("s0", 0)->active, 0);
}
END_TEST

START_TEST(a_second_beside_the_first)
{
    struct up_result cut = { .why = END_CLIENT_CLOSED, .latency_us = 7000, .is_cut = true };

    apply("server = %0 name=s0\nserver = %1 name=s1\n");
    get(&q[0]);
    q[1].r = q[0].r;
    ck_assert(up_hedge(&q[1].r, &q[0].r));
    UNTIL(q[1].ready);
    ck_assert_str_eq(q[1].server, "s1");
    ck_assert_uint_eq(stats()->hedges, 1);
    ck_assert_uint_eq(stats()->active, 1);
    q[2].r = q[0].r;
    up_avoid(&q[2].r, q[1].r.server);
    ck_assert(!up_hedge(&q[2].r, &q[0].r)); /* there is no third */
    conn_close(&q[0].c);
    up_end(&q[0].r, &cut);
    ck_assert_uint_eq(stats_of("s0", 0)->failures, 0);
    ck_assert_uint_eq(stats_of("s0", 0)->requests_total, 1);
    ck_assert_uint_eq(stats_of("s0", 0)->latency.count, 1);
    finish(&q[1], false);
    ck_assert_uint_eq(stats()->requests_total, 1);
    ck_assert_uint_eq(stats()->active, 0);
}
END_TEST

START_TEST(nobody_overtakes_the_queue)
{
    apply("server = %0 name=s0 max_conns=1\nserver = %1 name=s1 max_conns=1\n");
    get(&q[0]);
    get(&q[1]);
    begin_req(&q[2]);
    ck_assert(q[2].r.is_waiting);
    q[3].r = q[0].r;
    ck_assert(!up_hedge(&q[3].r, &q[0].r));
    finish(&q[0], false);
    UNTIL(q[2].ready);
    finish(&q[1], false);
    finish(&q[2], false);
}
END_TEST

/* ---- how long is long ---- */

static void answered(const char *name, unsigned worker, unsigned n, uint64_t us)
{
    while (n-- > 0)
        histogram_add(&stats_of(name, worker)->latency, us);
}

#define NEAR(value, expected) ck_assert((value) > (expected) * 95 / 100 && \
                                        (value) < (expected) * 105 / 100)

START_TEST(recent_latency_of_all_workers)
{
    struct backend *b;

    apply(THREE);
    b = backends[0];
    loop.now_us += 1;
    answered("s0", 0, 60, 10000);
    answered("s1", 1, 39, 50000);
    ck_assert_uint_eq(latency_quantile(b, 500), 0); /* too few */
    answered("s2", 1, 1, 50000);
    ck_assert_uint_eq(latency_quantile(b, 500), 0); /* it is not looked at all the time */
    loop.now_us += 3000000;
    NEAR(latency_quantile(b, 500), 10000);
    NEAR(latency_quantile(b, 950), 50000);
    NEAR(latency_quantile(b, 500), 10000);
    answered("s0", 1, 99, 90000);
    loop.now_us += 3000000;
    NEAR(latency_quantile(b, 500), 10000); /* until there are enough anew */
    answered("s0", 0, 1, 90000);
    loop.now_us += 3000000;
    NEAR(latency_quantile(b, 500), 90000); /* what was before does not count any more */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        failures_have_a_kind, a_few_at_the_start_and_one_a_second, a_share_of_requests,
        what_is_over_leaks_away, each_server_once, no_budget_no_try,
        not_anew_to_a_server_that_a_reload_took_out, a_second_beside_the_first,
        nobody_overtakes_the_queue, recent_latency_of_all_workers,
    };

    return run_up_tests("up_again", tests, sizeof tests / sizeof tests[0]);
}
