/* The queue over workers: whose request waited longest goes first; the dead are not waited for. */
#include <string.h>
#include "t/unit/up_fixture.h"

#define ONE "server = %0 name=s0 max_conns=1\n"

static struct req q[8];

static struct stats_backend *slot(unsigned worker)
{
    return STATS_SLOT(seg, backend, "b", worker);
}

static void is_alive(unsigned worker, bool alive)
{
    stat_set(&STATS_SLOT(seg, worker, "worker", worker)->pid, alive ? 1 : 0);
}

/* So that the next to wait has waited shorter. */
static void later(void)
{
    usleep(2000);
    spin(1);
}

START_TEST(waiting_is_told)
{
    apply(ONE);
    begin_on(&q[0], 0);
    UNTIL(q[0].ready);
    ck_assert_uint_eq(slot(0)->waiting_since, 0);
    begin_on(&q[1], 0);
    later();
    begin_on(&q[2], 0);
    ck_assert_uint_eq(slot(0)->waiting_since, q[1].r.began_us);
    up_end(&q[1].r, NULL);
    ck_assert_uint_eq(slot(0)->waiting_since, q[2].r.began_us);
    up_end(&q[2].r, NULL);
    ck_assert_uint_eq(slot(0)->waiting_since, 0);
    finish(&q[0], false);
}
END_TEST

START_TEST(the_longest_wait_of_all_workers_goes_first)
{
    is_alive(0, true);
    is_alive(1, true);
    apply(ONE);
    begin_on(&q[0], 0);
    UNTIL(q[0].ready);
    for (unsigned i = 1; i < 7; i++) { /* in worker 1, 0, 1, 0, ... */
        later();
        begin_on(&q[i], i % 2);
    }
    for (unsigned i = 0; i < 6; i++) {
        finish(&q[i], false);
        UNTIL(q[i + 1].ready);
        for (unsigned k = i + 2; k < 7; k++)
            ck_assert_uint_eq(q[k].ready, 0);
    }
    finish(&q[6], false);
}
END_TEST

START_TEST(who_comes_anew_does_not_overtake_another_workers)
{
    is_alive(0, true);
    is_alive(1, true);
    apply(ONE);
    begin_on(&q[0], 0);
    UNTIL(q[0].ready);
    begin_on(&q[1], 1);
    ck_assert(q[1].r.is_waiting);
    later();
    finish(&q[0], false); /* a place, that worker 1 does not know of yet */
    begin_on(&q[2], 0);
    ck_assert(q[2].r.is_waiting);
    UNTIL(q[1].ready);
    ck_assert_uint_eq(q[2].ready, 0);
    finish(&q[1], false);
    UNTIL(q[2].ready);
    finish(&q[2], false);
}
END_TEST

/* Its slot says that it waits, since ever. */
START_TEST(the_dead_are_not_waited_for)
{
    is_alive(0, true);
    apply(ONE);
    stat_set(&slot(1)->waiting_since, 1);
    begin_on(&q[0], 0);
    ck_assert(!q[0].r.is_waiting);
    UNTIL(q[0].ready);
    finish(&q[0], false);
    stat_set(&slot(1)->waiting_since, 0);
}
END_TEST

START_TEST(who_does_not_come_for_its_place_loses_it)
{
    is_alive(0, true);
    is_alive(1, true);
    apply(ONE);
    stat_set(&slot(1)->waiting_since, 1); /* it hangs */
    begin_on(&q[0], 0);
    ck_assert(q[0].r.is_waiting);
    UNTIL(q[0].ready);
    begin_on(&q[1], 0);
    ck_assert(q[1].r.is_waiting); /* behind q[0], */
    finish(&q[0], false);
    ck_assert(!q[1].r.is_waiting); /* not behind the one that hangs */
    UNTIL(q[1].ready);
    finish(&q[1], false);
    stat_set(&slot(1)->waiting_since, 0);
}
END_TEST

START_TEST(a_worker_begins_with_nobody_waiting)
{
    ck_assert_int_eq(segment_add(seg, STATS_backend, "b"), 0);
    stat_set(&slot(0)->waiting_since, 77); /* who had the slot before died */
    apply(ONE);
    ck_assert_uint_eq(slot(0)->waiting_since, 0);
}
END_TEST

/* Places that another worker freed, or leaves to this one, are empty until then. */
START_TEST(places_are_looked_for_at_each_tick)
{
    apply(ONE);
    begin_on(&q[0], 1);
    UNTIL(q[0].ready);
    begin_on(&q[1], 0);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t due = backends[0]->queue_timer.due_us;

        ck_assert_uint_gt(due, loop.now_us);
        ck_assert_uint_le(due - loop.now_us, TIMER_TICK_US);
        UNTIL(backends[0]->queue_timer.due_us != due);
    }
    finish(&q[0], false);
    UNTIL(q[1].ready);
    finish(&q[1], false);
}
END_TEST

/* Who waits while others are busy waits for them: backups are for when they are out. */
START_TEST(a_backup_that_is_free_again_does_not_take_who_waits)
{
    apply("server = %0 name=s0 max_conns=1\nserver = %1 name=s1 max_conns=1 backup\n");
    operator_sets(&shared_of("s0")->admin, ADMIN_DOWN);
    ck_assert_str_eq(get(&q[0]), "s1");
    begin_req(&q[1]);
    operator_sets(&shared_of("s0")->admin, ADMIN_READY);
    UNTIL(q[1].ready);
    ck_assert_str_eq(q[1].server, "s0");
    begin_req(&q[2]);
    ck_assert(q[2].r.is_waiting);
    finish(&q[0], false);
    ck_assert(q[2].r.is_waiting);
    finish(&q[1], false);
    UNTIL(q[2].ready);
    ck_assert_str_eq(q[2].server, "s0");
    finish(&q[2], false);
}
END_TEST

/* A further try, whose kept connection had died, and whose server was taken out at that. */
START_TEST(who_was_elsewhere_does_not_hold_up_the_queue)
{
    apply("server = %0 name=s0 max_conns=1\nserver = %1 name=s1\n"
          "server = %2 name=s2 max_conns=1\n");
    ck_assert_str_eq(get(&q[0]), "s0");
    q[0].r.retries = 1;
    ck_assert(up_seek(&q[0].r, CONF_FAIL_CONNECT));
    conn_close(&q[0].c);
    q[0].ready = 0;
    up_again(&q[0].r, &(struct up_result){ .why = END_SERVER_CLOSED });
    UNTIL(q[0].ready);
    ck_assert_str_eq(q[0].server, "s1");
    operator_sets(&shared_of("s1")->admin, ADMIN_DOWN);
    for (unsigned i = 1; i < 4; i += 2) { /* at s0, at s2 */
        begin_on(&q[i], 1);
        UNTIL(q[i].ready);
    }
    conn_close(&q[0].c);
    q[0].ready = 0;
    up_anew(&q[0].r);
    begin_req(&q[2]);
    ck_assert(q[0].r.is_waiting && q[2].r.is_waiting);
    finish(&q[1], false); /* only looks at places show it to worker 0 */
    UNTIL(q[0].ready);
    finish(&q[0], false);
    UNTIL(q[2].ready);
    finish(&q[2], false);
    finish(&q[3], false);
}
END_TEST

START_TEST(without_limits_nobody_asks)
{
    is_alive(1, true);
    apply("server = %0 name=s0\n");
    stat_set(&slot(1)->waiting_since, 1);
    begin_on(&q[0], 0);
    ck_assert(!q[0].r.is_waiting);
    UNTIL(q[0].ready);
    finish(&q[0], false);
    stat_set(&slot(1)->waiting_since, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        waiting_is_told, the_longest_wait_of_all_workers_goes_first,
        who_comes_anew_does_not_overtake_another_workers, the_dead_are_not_waited_for,
        who_does_not_come_for_its_place_loses_it, a_worker_begins_with_nobody_waiting,
        places_are_looked_for_at_each_tick,
        a_backup_that_is_free_again_does_not_take_who_waits,
        who_was_elsewhere_does_not_hold_up_the_queue, without_limits_nobody_asks,
    };

    return run_up_tests("up_queue", tests, sizeof tests / sizeof tests[0]);
}
