/* Changes of a server's health: each made once, by whoever comes first. */
#include "common/core/health.h"

#include "common/base/clock.h"
#include "t/unit/unit.h"

static struct stats_server_shared server;
static struct stats_backend_shared backend;
static const struct health health = { "b", "s", &server, &backend };

static void setup(void)
{
    memset(&server, 0, sizeof server);
    memset(&backend, 0, sizeof backend);
}

START_TEST(test_change_is_made_once)
{
    setup();
    ck_assert(health_change(&health, HEALTH_GOOD, SERVER_DOWN, SERVER_WHY_CHECKS_FAILED, "x"));
    ck_assert(!health_change(&health, HEALTH_GOOD, SERVER_DOWN, SERVER_WHY_CHECKS_FAILED, "x"));
    ck_assert_uint_eq(server.state, SERVER_DOWN);
    ck_assert_uint_eq(server.why, SERVER_WHY_CHECKS_FAILED);
    ck_assert_uint_gt(server.since, 0);
    ck_assert_uint_eq(backend.changes, 1);
    ck_assert(!health_is_good(&server));
}
END_TEST

START_TEST(test_ejections_in_a_row_double)
{
    uint64_t now = 1000000000, out = 0;

    setup();
    for (unsigned i = 0; i < 9; i++) {
        ck_assert(health_eject(&health, now, 1000, SERVER_WHY_FAILURES, NULL));
        ck_assert(!health_eject(&health, now, 1000, SERVER_WHY_FAILURES, NULL));
        server.since = now; /* not of the real clock */
        out = server.ejected_until - now;
        ck_assert_uint_eq(out, 1000000ull << (i < 6 ? i : 6));
        health_settle(&health, server.ejected_until - 1, 0, true);
        ck_assert_uint_eq(server.state, SERVER_EJECTED);
        now = server.ejected_until;
        health_settle(&health, now, 0, true);
        ck_assert_uint_eq(server.state, SERVER_UP);
    }
    ck_assert_uint_eq(server.ejections, 9);
    now += out + 1;
    ck_assert(health_eject(&health, now, 1000, SERVER_WHY_FAILURES, NULL));
    ck_assert_uint_eq(server.ejected_until - now, 1000000);
}
END_TEST

/* What should last for seconds does not for the hours that an operator's hand made of them. */
START_TEST(test_a_clock_that_is_set_back_ends_it)
{
    static const enum server_state states[] = { SERVER_EJECTED, SERVER_STARTING };
    uint64_t now = 3600000000, before = now - CLOCK_SKEW_US - 1;

    for (unsigned i = 0; i < 2; i++) {
        setup();
        server.state = states[i];
        server.since = now;
        server.ejected_until = now + 1;
        health_settle(&health, now - CLOCK_SKEW_US, 100, true);
        ck_assert_uint_eq(server.state, states[i]); /* another process has read it earlier */
        health_settle(&health, before, i == 0 ? 0 : 100, true);
        ck_assert_uint_eq(server.state, SERVER_UP);
    }
}
END_TEST

START_TEST(test_who_returns_has_a_clean_row)
{
    setup();
    ck_assert(health_eject(&health, 1000000000, 1000, SERVER_WHY_FAILURES, NULL));
    server.failures_row = 4; /* requests that were under way have failed since */
    health_settle(&health, server.ejected_until, 50, true);
    ck_assert_uint_eq(server.state, SERVER_STARTING);
    ck_assert_uint_eq(server.failures_row, 0);
    server.failures_row = 3;
    health_settle(&health, server.since + 50000, 50, true);
    ck_assert_uint_eq(server.state, SERVER_UP);
    ck_assert_uint_eq(server.failures_row, 3);
}
END_TEST

START_TEST(test_only_who_is_in_is_ejected)
{
    setup();
    server.state = SERVER_DOWN;
    ck_assert(!health_eject(&health, 5, 1000, SERVER_WHY_FAILURES, NULL));
    ck_assert_uint_eq(server.state, SERVER_DOWN);
    ck_assert_uint_eq(server.ejections, 0);
}
END_TEST

START_TEST(test_slow_start)
{
    setup();
    ck_assert(health_eject(&health, 1, 1, SERVER_WHY_FAILURES, NULL));
    health_settle(&health, 1001, 50, false);
    ck_assert_uint_eq(server.state, SERVER_STARTING);
    ck_assert(health_is_good(&server));
    health_settle(&health, server.since + 49999, 50, false);
    ck_assert_uint_eq(server.state, SERVER_STARTING);
    health_settle(&health, server.since + 50000, 50, false);
    ck_assert_uint_eq(server.state, SERVER_UNCHECKED);
}
END_TEST

UNIT_MAIN("health", test_change_is_made_once, test_ejections_in_a_row_double,
          test_a_clock_that_is_set_back_ends_it, test_who_returns_has_a_clean_row,
          test_only_who_is_in_is_ejected, test_slow_start)
