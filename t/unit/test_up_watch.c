/* Who may be picked: ejection, panic, slow start, and that time and changes are followed. */
#include <string.h>
#include "t/unit/up_pick.h"

#define SECOND 1000000ull

static unsigned got[10];

static struct server *server(unsigned i)
{
    return backends[0]->primary.members[i];
}

static uint64_t state_of(unsigned i)
{
    return stat_get(&server(i)->shared->state);
}

static void fails(unsigned i, unsigned n)
{
    while (n-- > 0)
        server_judge(server(i), END_CONNECT_REFUSED, 0);
}

static void pass(uint64_t us)
{
    loop.now_us += us;
}

START_TEST(failures_in_a_row_eject)
{
    apply_many(4, "eject_after = 3\n", "");
    fails(1, 2);
    server_judge(server(1), END_OK, 200);
    fails(1, 2);
    server_judge(server(1), END_CLIENT_RESET, 0); /* says nothing of it */
    ck_assert_uint_eq(state_of(1), SERVER_UNCHECKED);
    /* The third is another worker's. */
    server_judge(backends[1]->primary.members[1], END_SERVER_RESET, 0);
    ck_assert_uint_eq(state_of(1), SERVER_EJECTED);
    ck_assert_uint_eq(stat_get(&server(1)->shared->why), SERVER_WHY_FAILURES);
    ck_assert_uint_eq(stat_get(&server(1)->shared->ejections), 1);
    count_picks(got, 4, 300);
    ck_assert_uint_eq(got[1], 0);
    ck_assert_uint_eq(got[2], 100);
}
END_TEST

START_TEST(what_is_a_failure_is_configured)
{
    apply_many(4, "eject_after = 2\neject_on = timeout, 5xx\n", "");
    fails(1, 5);
    ck_assert_uint_eq(state_of(1), SERVER_UNCHECKED);
    server_judge(server(1), END_OK, 500);
    server_judge(server(1), END_SERVER_TIMEOUT, 0);
    ck_assert_uint_eq(state_of(1), SERVER_EJECTED);
    apply_many(4, "eject_after = 0\n", "");
    fails(2, 50);
    ck_assert_uint_eq(state_of(2), SERVER_UNCHECKED);
}
END_TEST

/* Comes back by time alone, out for twice as long when it fails again. */
START_TEST(ejections_end_and_double)
{
    uint64_t out[3] = { 10 * SECOND, 20 * SECOND, 40 * SECOND };

    apply_many(3, "", "");
    for (unsigned i = 0; i < 3; i++) {
        fails(0, 5);
        ck_assert_uint_eq(state_of(0), SERVER_EJECTED);
        count_picks(got, 3, 30);
        ck_assert_uint_eq(got[0], 0);
        pass(out[i] - SECOND / 100);
        count_picks(got, 3, 30);
        ck_assert_uint_eq(got[0], 0);
        pass(SECOND / 50);
        count_picks(got, 3, 30);
        ck_assert_uint_eq(got[0], 10);
        ck_assert_uint_eq(state_of(0), SERVER_UNCHECKED);
    }
}
END_TEST

START_TEST(no_more_than_eject_max_are_out)
{
    apply_many(5, "eject_max = 40%\n", "");
    for (unsigned i = 0; i < 5; i++)
        fails(i, 5);
    ck_assert_uint_eq(state_of(0), SERVER_EJECTED);
    ck_assert_uint_eq(state_of(1), SERVER_EJECTED);
    for (unsigned i = 2; i < 5; i++)
        ck_assert_uint_eq(state_of(i), SERVER_UNCHECKED);
    pass(11 * SECOND);
    give(pick_any(0));
    fails(2, 5); /* its row goes on: now there is room */
    ck_assert_uint_eq(state_of(2), SERVER_EJECTED);
}
END_TEST

START_TEST(one_of_two_may_be_ejected_but_no_lone_one)
{
    apply_many(2, "eject_max = 0%\n", "");
    fails(0, 5);
    fails(1, 5);
    ck_assert_uint_eq(state_of(0), SERVER_EJECTED);
    ck_assert_uint_eq(state_of(1), SERVER_UNCHECKED);
    apply_many(3, "", "");
    operator_sets(&shared_of("s0")->admin, ADMIN_DRAIN);
    operator_sets(&shared_of("s1")->admin, ADMIN_DOWN);
    fails(2, 25); /* the only one in service */
    ck_assert_uint_eq(state_of(2), SERVER_UNCHECKED);
}
END_TEST

/* Those that checks have put out count as well: ejection does not take the last. */
START_TEST(who_is_down_counts)
{
    apply_many(4, "", "");
    operator_sets(&shared_of("s0")->state, SERVER_DOWN);
    operator_sets(&shared_of("s1")->state, SERVER_DOWN);
    fails(2, 5);
    ck_assert_uint_eq(state_of(2), SERVER_UNCHECKED);
}
END_TEST

START_TEST(panic_uses_the_unhealthy)
{
    apply_many(4, "panic = 50%\n", "");
    operator_sets(&shared_of("s0")->state, SERVER_DOWN);
    operator_sets(&shared_of("s1")->state, SERVER_DOWN);
    count_picks(got, 4, 40);
    ck_assert_uint_eq(got[0] + got[1], 0); /* half is not less than half */
    operator_sets(&shared_of("s2")->state, SERVER_DOWN);
    count_picks(got, 4, 40);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(got[i], 10);
    operator_sets(&shared_of("s1")->admin, ADMIN_DRAIN); /* an operator's word holds */
    count_picks(got, 4, 30);
    ck_assert_uint_eq(got[1], 0);
    ck_assert_uint_eq(got[0], 10);
    operator_sets(&shared_of("s0")->state, SERVER_UP); /* two of the three in service */
    count_picks(got, 4, 40);
    ck_assert_uint_eq(got[2], 0);
    ck_assert_uint_eq(got[0], 20);
}
END_TEST

START_TEST(backups_come_before_panic)
{
    apply("panic = 100%\nserver = 127.0.0.1:1 name=s0\nserver = 127.0.0.1:2 name=s1\n"
          "server = 127.0.0.1:3 name=s2 backup\n");
    operator_sets(&shared_of("s0")->state, SERVER_DOWN);
    count_picks(got, 3, 20);
    ck_assert_uint_eq(got[0], 10);
    operator_sets(&shared_of("s1")->state, SERVER_DOWN);
    count_picks(got, 3, 20);
    ck_assert_uint_eq(got[2], 20);
    operator_sets(&shared_of("s2")->state, SERVER_DOWN);
    count_picks(got, 3, 20);
    ck_assert_uint_eq(got[0], 10);
    ck_assert_uint_eq(got[1], 10);
}
END_TEST

/* From a small share on, in proportion to the time, with each algorithm. */
START_TEST(slow_start_ramps)
{
    static const char *const how[] = { "round_robin", "random", "hash $uri" };
    char text[128];

    for (unsigned i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "slow_start = 60s\nbalance = %s\n", how[i]);
        apply_many(2, text, "");
        stat_set(&shared_of("s1")->since, up_wall_us(&ups[0]));
        operator_sets(&shared_of("s1")->state, SERVER_STARTING);
        count_picks(got, 2, 1700);
        ck_assert(got[1] > 60 && got[1] < 140); /* 1 of 17 */
        pass(30 * SECOND);
        count_picks(got, 2, 1500);
        ck_assert(got[1] > 430 && got[1] < 570); /* 1 of 3 */
        pass(31 * SECOND);
        count_picks(got, 2, 1000);
        ck_assert(got[1] > 430 && got[1] < 570);
        ck_assert_uint_eq(state_of(1), SERVER_UNCHECKED);
    }
}
END_TEST

START_TEST(an_ejected_server_starts_slowly)
{
    apply_many(2, "slow_start = 10s\n", "");
    fails(1, 5);
    count_picks(got, 2, 10);
    pass(10 * SECOND + 1);
    give(pick_any(0));
    ck_assert_uint_eq(state_of(1), SERVER_STARTING);
    ck_assert_uint_lt(server(1)->node.weight, BALANCE_ONE);
    for (unsigned i = 0; i < 20; i++) {
        pass(SECOND);
        give(pick_any(1)); /* whoever looks */
    }
    ck_assert_uint_eq(state_of(1), SERVER_UNCHECKED);
    give(pick_any(0));
    ck_assert_uint_eq(server(1)->node.weight, BALANCE_ONE);
}
END_TEST

/* All out: nothing is looked at but the clock; and no connection of theirs is kept. */
START_TEST(all_out_costs_nothing_and_ends)
{
    apply_many(3, "", "");
    for (unsigned i = 0; i < 3; i++) {
        stat_set(&server(i)->shared->ejected_until, up_wall_us(&ups[0]) + (3 - i) * SECOND);
        operator_sets(&server(i)->shared->state, SERVER_EJECTED);
    }
    ck_assert_ptr_null(pick_any(0));
    ck_assert_uint_eq(backends[0]->look_at_us, loop.now_us + SECOND);
    pass(SECOND);
    ck_assert_uint_eq(number_of(pick_any(0)), 2);
    server_release(server(2));
    server(2)->refs--;
    pass(2 * SECOND);
    count_picks(got, 3, 30);
    ck_assert_uint_eq(got[0], 10);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        failures_in_a_row_eject, what_is_a_failure_is_configured, ejections_end_and_double,
        no_more_than_eject_max_are_out, one_of_two_may_be_ejected_but_no_lone_one,
        who_is_down_counts, panic_uses_the_unhealthy, backups_come_before_panic,
        slow_start_ramps, an_ejected_server_starts_slowly, all_out_costs_nothing_and_ends,
    };

    return run_up_tests("up_watch", tests, sizeof tests / sizeof tests[0]);
}
