/* What an operator changes of servers: who is picked, who waits, what is kept. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "t/unit/up_fixture.h"

#define TWO "server = %0 name=s0\nserver = %1 name=s1\n"

static struct req q[8];

/* The listeners' queues are short. */
static void accept_all(void)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        int fd;

        ck_assert_int_eq(fcntl(listeners[i], F_SETFL, O_NONBLOCK), 0);
        while ((fd = accept(listeners[i], NULL, NULL)) >= 0)
            close(fd);
    }
}

static unsigned share_of(const char *name, unsigned n)
{
    unsigned got = 0;

    for (unsigned i = 0; i < n; i++) {
        got += strcmp(get(&q[0]), name) == 0;
        finish(&q[0], false);
        accept_all();
    }
    return got;
}

static void get_keeping(struct req *r)
{
    r->r.can_reuse = true;
    get(r);
    ck_assert_uint_ne(r->ready, 0);
}

START_TEST(a_weight_is_a_share_at_once)
{
    apply(TWO);
    ck_assert_uint_eq(share_of("s0", 20), 10);
    operator_sets(&shared_of("s0")->weight, 4);
    ck_assert_uint_eq(share_of("s0", 50), 40);
    operator_sets(&shared_of("s1")->weight, 16);
    ck_assert_uint_eq(share_of("s0", 50), 10);
}
END_TEST

START_TEST(a_light_server_made_heavy_does_not_wait_for_its_old_turn)
{
    apply("server = %0 name=s0 weight=60000\nserver = %1 name=s1\n");
    ck_assert_uint_ge(share_of("s0", 10), 9);
    operator_sets(&shared_of("s1")->weight, 60000);
    ck_assert_uint_ge(share_of("s1", 10), 4);
}
END_TEST

START_TEST(a_weight_outlives_a_generation)
{
    apply(TWO);
    operator_sets(&shared_of("s0")->weight, 4);
    apply_again();
    ck_assert_uint_eq(share_of("s0", 50), 40);
}
END_TEST

START_TEST(weight_zero_gets_nothing_until_it_has_one)
{
    apply(TWO);
    operator_sets(&shared_of("s0")->weight, 0);
    ck_assert_uint_eq(share_of("s1", 10), 10);
    apply_again();
    ck_assert_uint_eq(share_of("s1", 10), 10);
    operator_sets(&shared_of("s0")->weight, 1);
    ck_assert_uint_eq(share_of("s0", 10), 5);
    operator_sets(&shared_of("s0")->weight, 0);
    operator_sets(&shared_of("s1")->weight, 0);
    ck_assert_str_eq(get(&q[0]), "-");
    ck_assert_int_eq(q[0].r.why, END_NO_SERVER);
    operator_sets(&shared_of("s1")->weight, 1);
    ck_assert_uint_eq(share_of("s1", 4), 4);
}
END_TEST

START_TEST(a_server_of_weight_zero_may_be_busy)
{
    apply("balance = least_conn\n" TWO);
    get(&q[0]);
    get(&q[1]);
    apply("balance = least_conn\nserver = %0 name=s0 weight=0\nserver = %1 name=s1\n");
    operator_sets(&shared_of("s1")->weight, 0);
    finish(&q[0], false);
    finish(&q[1], false);
    ck_assert_str_eq(get(&q[0]), "-");
    operator_sets(&shared_of("s0")->weight, 2);
    ck_assert_uint_eq(share_of("s0", 3), 3);
}
END_TEST

START_TEST(drain_keeps_what_down_closes)
{
    apply(TWO);
    get_keeping(&q[0]);
    get_keeping(&q[1]);
    get_keeping(&q[2]);
    get_keeping(&q[3]);
    ck_assert_str_eq(q[3].server, "s1");
    finish(&q[0], true);
    finish(&q[1], true);
    operator_sets(&shared_of("s0")->admin, ADMIN_DRAIN);
    operator_sets(&shared_of("s1")->admin, ADMIN_DOWN);
    up_tick(&ups[0]);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 1);
    ck_assert_uint_eq(stats_of("s1", 0)->idle, 0);
    finish(&q[2], true); /* in progress meanwhile */
    finish(&q[3], true);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 2);
    ck_assert_uint_eq(stats_of("s1", 0)->idle, 0);
    get(&q[0]);
    ck_assert_int_eq(q[0].r.why, END_NO_SERVER); /* nor on a kept connection */
    operator_sets(&shared_of("s0")->admin, ADMIN_READY);
    get_keeping(&q[0]);
    ck_assert(q[0].is_reused);
    finish(&q[0], false);
}
END_TEST

START_TEST(who_waits_gets_the_server_that_is_ready_again)
{
    apply("server = %0 name=s0 max_conns=1\nserver = %1 name=s1\n");
    operator_sets(&shared_of("s1")->admin, ADMIN_DRAIN);
    get(&q[0]);
    begin_req(&q[1]);
    begin_req(&q[2]);
    operator_sets(&shared_of("s0")->admin, ADMIN_DRAIN);
    finish(&q[0], false); /* its place is nobody's now */
    usleep(15000);
    spin(3);
    ck_assert(q[1].r.is_waiting && q[2].r.is_waiting);
    operator_sets(&shared_of("s1")->admin, ADMIN_READY);
    usleep(15000);
    UNTIL(q[1].ready && q[2].ready);
    ck_assert_str_eq(q[1].server, "s1");
    ck_assert_str_eq(q[2].server, "s1");
    finish(&q[1], false);
    finish(&q[2], false);
}
END_TEST

START_TEST(no_further_try_at_a_drained_server)
{
    apply(TWO);
    get(&q[0]);
    ck_assert_str_eq(q[0].server, "s0");
    operator_sets(&shared_of("s1")->admin, ADMIN_DRAIN);
    q[0].r.retries = 1;
    ck_assert(!up_seek(&q[0].r, CONF_FAIL_CONNECT));
    finish(&q[0], false);
}
END_TEST

/* The kept connection was dead, and its server has been drained since it was picked. */
START_TEST(a_free_try_goes_elsewhere_when_the_server_was_drained)
{
    apply(TWO);
    get(&q[0]);
    ck_assert_str_eq(q[0].server, "s0");
    conn_close(&q[0].c);
    operator_sets(&shared_of("s0")->admin, ADMIN_DRAIN);
    q[0].ready = 0;
    up_anew(&q[0].r);
    UNTIL(q[0].ready);
    ck_assert_str_eq(q[0].server, "s1");
    ck_assert_uint_eq(stats_of("s0", 0)->active, 0);
    conn_close(&q[0].c);
    operator_sets(&shared_of("s1")->admin, ADMIN_DOWN);
    up_anew(&q[0].r);
    UNTIL(q[0].failed);
    ck_assert_int_eq(q[0].r.why, END_NO_SERVER);
    ck_assert_uint_eq(stats_of("s1", 0)->active, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_weight_is_a_share_at_once, a_light_server_made_heavy_does_not_wait_for_its_old_turn,
        a_weight_outlives_a_generation, weight_zero_gets_nothing_until_it_has_one,
        a_server_of_weight_zero_may_be_busy, drain_keeps_what_down_closes,
        who_waits_gets_the_server_that_is_ready_again, no_further_try_at_a_drained_server,
        a_free_try_goes_elsewhere_when_the_server_was_drained,
    };

    return run_up_tests("up_admin", tests, sizeof tests / sizeof tests[0]);
}
