/* Kept connections, and what a reload does to servers in use. */
#include <stdio.h>
#include <string.h>
#include "t/unit/up_fixture.h"

#define ONE "server = %0 name=s0\n"

static struct req q[8];

static uint64_t idle(const char *name)
{
    return stats_of(name, 0)->idle;
}

static void get_keeping(struct req *r)
{
    r->r.can_reuse = true;
    get(r);
    ck_assert_uint_ne(r->ready, 0);
}

START_TEST(the_last_used_first)
{
    struct conn *first, *second;

    apply(ONE);
    get_keeping(&q[0]);
    get_keeping(&q[1]);
    first = q[0].c;
    second = q[1].c;
    finish(&q[0], true);
    finish(&q[1], true);
    ck_assert_uint_eq(idle("s0"), 2);
    get_keeping(&q[0]);
    ck_assert(q[0].is_reused && q[0].c == second);
    get_keeping(&q[1]);
    ck_assert(q[1].is_reused && q[1].c == first);
    ck_assert_uint_eq(idle("s0"), 0);
    get_keeping(&q[2]);
    ck_assert(!q[2].is_reused);
    ck_assert_uint_eq(stats_of("s0", 0)->connections_total, 3);
    ck_assert_uint_eq(stats_of("s0", 0)->connections_reused, 2);
    for (unsigned i = 0; i < 3; i++)
        finish(&q[i], true);
}
END_TEST

START_TEST(no_more_than_keepalive)
{
    apply("keepalive = 2\n" ONE);
    for (unsigned i = 0; i < 4; i++)
        get_keeping(&q[i]);
    for (unsigned i = 0; i < 4; i++)
        finish(&q[i], true);
    ck_assert_uint_eq(idle("s0"), 2);
    apply("keepalive = 1\n" ONE); /* a reload that wants fewer */
    ck_assert_uint_eq(idle("s0"), 1);
    apply("keepalive = 0\n" ONE);
    ck_assert_uint_eq(idle("s0"), 0);
    get_keeping(&q[0]);
    ck_assert(!q[0].is_reused);
    finish(&q[0], true);
    ck_assert_uint_eq(idle("s0"), 0);
}
END_TEST

START_TEST(not_for_ever)
{
    apply("keepalive_timeout = 10ms\n" ONE);
    get_keeping(&q[0]);
    finish(&q[0], true);
    ck_assert_uint_eq(idle("s0"), 1);
    UNTIL(idle("s0") == 0);
}
END_TEST

START_TEST(a_server_that_closes_or_speaks)
{
    int fd;

    apply(ONE);
    for (unsigned i = 0; i < 3; i++) {
        struct linger at_once = { 1, 0 };

        get_keeping(&q[0]);
        fd = accept(listeners[0], NULL, NULL);
        finish(&q[0], true);
        spin(2);
        ck_assert_uint_eq(idle("s0"), 1);
        if (i == 1)
            ck_assert_int_eq(write(fd, "HTTP/1.1 408 \r\n", 15), 15);
        if (i == 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        if (i != 1)
            close(fd);
        UNTIL(idle("s0") == 0);
        if (i == 1)
            close(fd);
    }
    get_keeping(&q[0]);
    fd = accept(listeners[0], NULL, NULL);
    close(fd);
    UNTIL(q[0].c->is_hup);
    finish(&q[0], true); /* closed already */
    ck_assert_uint_eq(idle("s0"), 0);
}
END_TEST

/* Its end is there, but not yet seen: no matter for what can be said again. */
START_TEST(what_is_said_once_is_not_said_to_the_dead)
{
    apply(ONE);
    for (unsigned i = 0; i < 2; i++) {
        int fd;

        get_keeping(&q[0]);
        fd = accept(listeners[0], NULL, NULL);
        finish(&q[0], true);
        close(fd);
        q[0].r.is_said_once = i == 1;
        get_keeping(&q[0]);
        ck_assert_int_eq(q[0].is_reused, i == 0);
        finish(&q[0], false);
        q[0].r.is_said_once = false;
    }
}
END_TEST

/* A read that ended just where the response did leaves is_readable behind. */
START_TEST(what_only_seems_readable_is_kept)
{
    apply(ONE);
    get_keeping(&q[0]);
    q[0].c->is_readable = true;
    finish(&q[0], true);
    spin(3);
    ck_assert_uint_eq(idle("s0"), 1);
    ck_assert_uint_eq(bufs.demand.used, 0);
    get_keeping(&q[0]);
    ck_assert(q[0].is_reused);
    finish(&q[0], false);
}
END_TEST

/* ---- reloads ---- */

START_TEST(a_server_is_removed_while_in_use)
{
    int fd;

    apply(ONE "server = %1 name=s1\n");
    get_keeping(&q[0]);
    get_keeping(&q[1]);
    get_keeping(&q[2]);
    ck_assert_str_eq(q[0].server, "s0");
    ck_assert_str_eq(q[2].server, "s0");
    finish(&q[2], true);
    ck_assert_uint_eq(idle("s0"), 1);
    fd = accept(listeners[0], NULL, NULL);
    apply("server = %1 name=s1\n");
    ck_assert_uint_eq(idle("s0"), 0);
    ck_assert_uint_eq(stats_of("s0", 0)->active, 1);
    for (unsigned i = 2; i < 6; i++) {
        get_keeping(&q[i]);
        ck_assert_str_eq(q[i].server, "s1");
    }
    apply(ONE "server = %1 name=s1\n"); /* back under its name: another one */
    finish(&q[0], true);
    ck_assert_uint_eq(idle("s0"), 0);
    ck_assert_uint_eq(stats_of("s0", 0)->active, 0);
    ck_assert_uint_eq(stats_of("s0", 0)->requests_total, 2);
    for (unsigned i = 1; i < 6; i++)
        if (q[i].c)
            finish(&q[i], true);
    close(fd);
}
END_TEST

START_TEST(a_server_that_moves)
{
    apply(ONE);
    get_keeping(&q[0]);
    get_keeping(&q[1]);
    finish(&q[0], true);
    apply("server = %1 name=s0\n");
    ck_assert_uint_eq(idle("s0"), 0);
    finish(&q[1], true);
    ck_assert_uint_eq(idle("s0"), 0); /* it is one to where the server was */
    get_keeping(&q[0]);
    ck_assert(!q[0].is_reused);
    ck_assert_int_eq(fd_nonblock(listeners[1]), 0);
    int fd = accept(listeners[1], NULL, NULL);
    ck_assert_int_ge(fd, 0);
    close(fd);
    finish(&q[0], false);
}
END_TEST

/* Connections and turns of what did not change stay. */
START_TEST(reloads_that_change_nothing)
{
    apply(ONE "server = %1 name=s1\n");
    get_keeping(&q[0]);
    finish(&q[0], true);
    for (unsigned i = 0; i < 100; i++)
        apply(ONE "server = %1 name=s1\n");
    ck_assert_uint_eq(idle("s0"), 1);
    q[0].r.can_reuse = q[1].r.can_reuse = true;
    get(&q[0]);
    get(&q[1]);
    ck_assert_int_eq(q[0].is_reused + q[1].is_reused, 1);
    finish(&q[0], false);
    finish(&q[1], false);
}
END_TEST

START_TEST(reloads_while_requests_wait)
{
    apply("max_conns = 1\n" ONE);
    get(&q[0]);
    begin_req(&q[1]);
    begin_req(&q[2]);
    ck_assert(q[2].r.is_waiting);
    apply("max_conns = 2\n" ONE);
    UNTIL(q[1].ready);
    apply("max_conns = 2\nserver = %1 name=s1\n");
    UNTIL(q[2].ready);
    ck_assert_str_eq(q[2].server, "s1");
    for (unsigned i = 0; i < 3; i++)
        finish(&q[i], true);
}
END_TEST

START_TEST(a_primary_becomes_a_backup)
{
    apply("balance = least_conn\n" ONE "server = %1 name=s1\n");
    get(&q[0]);
    apply("balance = round_robin\nserver = %0 name=s0 backup\nserver = %1 name=s1\n");
    get(&q[1]);
    get(&q[2]);
    ck_assert_str_eq(q[1].server, "s1");
    ck_assert_str_eq(q[2].server, "s1");
    for (unsigned i = 0; i < 3; i++)
        finish(&q[i], false);
}
END_TEST

START_TEST(all_idle_are_closed_at_the_end)
{
    apply(ONE);
    get_keeping(&q[0]);
    finish(&q[0], true);
    up_close_idle(&ups[0]);
    ck_assert_uint_eq(idle("s0"), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_last_used_first, no_more_than_keepalive, not_for_ever, a_server_that_closes_or_speaks,
        what_only_seems_readable_is_kept, what_is_said_once_is_not_said_to_the_dead,
        a_server_is_removed_while_in_use, a_server_that_moves,
        reloads_that_change_nothing, reloads_while_requests_wait, a_primary_becomes_a_backup,
        all_idle_are_closed_at_the_end,
    };

    return run_up_tests("up_idle", tests, sizeof tests / sizeof tests[0]);
}
