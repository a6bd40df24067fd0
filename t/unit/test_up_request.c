/* Requests for a server: turns, further tries, the queue, places over workers. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "t/unit/up_fixture.h"

#define THREE "server = %0 name=s0\nserver = %1 name=s1\nserver = %2 name=s2\n"
#define MANY 3000

static struct req q[8];

START_TEST(servers_take_turns)
{
    apply(THREE);
    for (unsigned i = 0; i < 9; i++) {
        char expected[4] = { 's', (char)('0' + i % 3), '\0' };

        ck_assert_str_eq(get(&q[0]), expected);
        ck_assert(!q[0].is_reused);
        finish(&q[0], false);
    }
    ck_assert_uint_eq(stats_of("s1", 0)->requests_total, 3);
    ck_assert_uint_eq(stats_of("s1", 0)->connections_total, 3);
    ck_assert_uint_eq(stats_of("s1", 0)->status_2xx, 3);
    ck_assert_uint_eq(stats()->requests_total, 9);
}
END_TEST

START_TEST(least_connections_first)
{
    apply("balance = least_conn\n" THREE);
    for (unsigned i = 0; i < 3; i++)
        get(&q[i]);
    ck_assert_str_eq(q[1].server, "s1");
    finish(&q[1], false);
    ck_assert_str_eq(get(&q[1]), "s1");
    ck_assert_str_eq(get(&q[3]), "s0");
    finish(&q[2], false);
    finish(&q[1], false);
    ck_assert_str_eq(get(&q[1]), "s2"); /* who waited longest of the least busy */
    ck_assert_str_eq(get(&q[2]), "s1");
    for (unsigned i = 0; i < 4; i++)
        finish(&q[i], false);
}
END_TEST

START_TEST(another_server_is_tried)
{
    apply(THREE);
    fd_close(&listeners[0]);
    q[0].r.retries = 1;
    ck_assert_str_eq(get(&q[0]), "s1");
    ck_assert_uint_eq(q[0].r.retried, 1);
    ck_assert_uint_eq(q[0].chosen, 2);
    ck_assert_uint_eq(stats_of("s0", 0)->connect_errors, 1);
    ck_assert_uint_eq(stats_of("s0", 0)->failures, 1);
    ck_assert_uint_eq(shared_of("s0")->last_error, SERVER_ERROR_REFUSED);
    ck_assert_uint_eq(stats_of("s0", 0)->active, 0);
    finish(&q[0], false);
    fd_close(&listeners[1]);
    fd_close(&listeners[2]);
    q[0].r.retries = 9;
    ck_assert_str_eq(get(&q[0]), "-");
    ck_assert_int_eq(q[0].r.why, END_CONNECT_REFUSED);
    ck_assert_uint_eq(q[0].r.retried, 2); /* each server once */
    q[0].r.retries = 0;
    ck_assert_str_eq(get(&q[0]), "-");
    ck_assert_uint_eq(q[0].chosen, 1);
    ck_assert_uint_eq(stats()->requests_total, 3);
}
END_TEST

/* A failure is never told from within the call that meets it. */
START_TEST(a_socket_file_that_is_not_there)
{
    apply("server = unix:/nonexistent/a name=s0\nserver = unix:/nonexistent/b name=s1\n");
    q[0].r.retries = 1;
    begin_req(&q[0]);
    ck_assert_uint_eq(q[0].failed, 0);
    UNTIL(q[0].failed);
    ck_assert_int_eq(q[0].r.why, END_CONNECT_REFUSED);
    ck_assert_uint_eq(q[0].r.retried, 1);
    begin_req(&q[0]);
    up_end(&q[0].r, NULL); /* before it is told */
    spin(3);
    ck_assert_uint_eq(q[0].failed, 0);
}
END_TEST

/* All that wait fail one after the other: not each within the other. */
START_TEST(a_long_queue_for_a_dead_server)
{
    static struct req many[MANY];
    unsigned failed = 0;

    apply("queue = 10000\nserver = unix:/nonexistent/a name=s0 max_conns=1\n");
    for (unsigned i = 0; i < MANY; i++)
        begin_req(&many[i]);
    ck_assert_uint_eq(stats()->queued, MANY - 1);
    while (failed < MANY) {
        failed = 0;
        ck_assert_int_eq(loop_once(&loop, 5), 0);
        for (unsigned i = 0; i < MANY; i++)
            failed += many[i].failed;
    }
    ck_assert_uint_eq(stats()->requests_total, MANY);
}
END_TEST

START_TEST(no_server_at_all)
{
    apply(THREE);
    stat_set(&shared_of("s0")->state, SERVER_DOWN);
    stat_set(&shared_of("s1")->admin, ADMIN_DRAIN);
    stat_set(&shared_of("s2")->ejected_until, UINT64_MAX);
    operator_sets(&shared_of("s2")->state, SERVER_EJECTED);
    ck_assert_str_eq(get(&q[0]), "-");
    ck_assert_int_eq(q[0].r.why, END_NO_SERVER);
    ck_assert_uint_eq(stats()->no_server, 1);
    operator_sets(&shared_of("s1")->admin, ADMIN_READY);
    ck_assert_str_eq(get(&q[0]), "s1"); /* at once, however lately it was looked at */
    finish(&q[0], false);
}
END_TEST

START_TEST(backups_are_for_when_all_others_are_out)
{
    apply("server = %0 name=s0\nserver = %1 name=s1 backup max_conns=1\n"
          "server = %2 name=s2 backup\n");
    ck_assert_str_eq(get(&q[0]), "s0");
    finish(&q[0], false);
    operator_sets(&shared_of("s0")->state, SERVER_DOWN);
    for (unsigned i = 0; i < 4; i++) /* right behind each other */
        begin_req(&q[i]);
    for (unsigned i = 0; i < 4; i++) {
        UNTIL(q[i].ready);
        ck_assert_str_eq(q[i].server, i == 0 ? "s1" : "s2");
    }
    operator_sets(&shared_of("s0")->state, SERVER_UP);
    ck_assert_str_eq(get(&q[4]), "s0");
    for (unsigned i = 0; i < 5; i++)
        finish(&q[i], false);
}
END_TEST

START_TEST(backups_do_not_help_the_busy)
{
    apply("queue_timeout = 30ms\nserver = %0 name=s0 max_conns=1\nserver = %1 name=s1 backup\n");
    ck_assert_str_eq(get(&q[0]), "s0");
    ck_assert_str_eq(get(&q[1]), "-");
    ck_assert_int_eq(q[1].r.why, END_QUEUE_TIMEOUT);
    ck_assert_uint_eq(stats()->queue_timeouts, 1);
    finish(&q[0], false);
}
END_TEST

/* ---- the queue ---- */

START_TEST(who_waited_longest_goes_first)
{
    apply("max_conns = 1\nqueue = 3\nserver = %0 name=s0\n");
    get(&q[0]);
    for (unsigned i = 1; i < 5; i++)
        begin_req(&q[i]);
    spin(3);
    ck_assert_uint_eq(stats()->queued, 3);
    ck_assert_uint_eq(q[4].failed, 1);
    ck_assert_int_eq(q[4].r.why, END_QUEUE_FULL);
    up_end(&q[2].r, NULL); /* its client has left */
    ck_assert_uint_eq(stats()->queued, 2);
    finish(&q[0], false);
    UNTIL(q[1].ready);
    ck_assert_uint_eq(q[3].ready, 0);
    begin_req(&q[0]); /* nobody overtakes */
    finish(&q[1], false);
    UNTIL(q[3].ready);
    finish(&q[3], false);
    UNTIL(q[0].ready);
    finish(&q[0], false);
}
END_TEST

START_TEST(the_limit_holds_over_workers)
{
    apply("max_conns = 2\nserver = %0 name=s0\n");
    begin_on(&q[0], 0);
    begin_on(&q[1], 1);
    begin_on(&q[2], 0);
    begin_on(&q[3], 1);
    UNTIL(q[0].ready && q[1].ready);
    spin(5);
    ck_assert(q[2].r.is_waiting && q[3].r.is_waiting);
    ck_assert_uint_eq(stats_of("s0", 0)->active, 1);
    ck_assert_uint_eq(stats_of("s0", 1)->active, 1);
    finish(&q[1], false); /* its own worker's first */
    UNTIL(q[3].ready);
    ck_assert_uint_eq(q[2].ready, 0);
    finish(&q[3], false); /* nobody waits there: the other sees it soon */
    UNTIL(q[2].ready);
    finish(&q[0], false);
    finish(&q[2], false);
}
END_TEST

START_TEST(a_place_is_given_on_when_its_request_fails)
{
    apply("max_conns = 1\nserver = %0 name=s0\n");
    begin_req(&q[0]);
    begin_req(&q[1]);
    ck_assert(q[1].r.is_waiting);
    up_end(&q[0].r, NULL); /* while connecting */
    UNTIL(q[1].ready);
    finish(&q[1], false);
}
END_TEST

/* ---- connecting ---- */

START_TEST(a_connect_that_takes_too_long)
{
    struct addr full;
    int fd = listen_tcp(&full), clients[8];

    ck_assert_int_eq(listen(fd, 0), 0);
    for (unsigned i = 0; i < 8; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(clients[i], &full.sa, full.len);
    }
    at[3] = full;
    apply("server = %3 name=s0\n");
    q[0].r.connect_timeout_ms = 20;
    ck_assert_str_eq(get(&q[0]), "-");
    ck_assert_int_eq(q[0].r.why, END_CONNECT_TIMEOUT);
    ck_assert_uint_eq(stats_of("s0", 0)->timeouts, 1);
    for (unsigned i = 0; i < 8; i++)
        close(clients[i]);
    close(fd);
}
END_TEST

START_TEST(no_descriptor_to_connect_with)
{
    struct rlimit was, none;

    apply(THREE);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = was;
    none.rlim_cur = 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    q[0].r.retries = 5;
    begin_req(&q[0]);
    spin(2);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
    ck_assert_uint_eq(q[0].failed, 1);
    ck_assert_int_eq(q[0].r.why, END_NO_DESCRIPTORS);
    ck_assert_uint_eq(q[0].chosen, 1); /* another server would not help */
    ck_assert_uint_eq(stats_of("s0", 0)->failures, 0);
}
END_TEST

START_TEST(a_proxy_header_goes_first)
{
    char text[64];
    int fd;

    apply("send_proxy = v1\nserver = %0 name=s0\n");
    ck_assert(ip_parse(SLICE("192.0.2.7"), &q[0].r.client));
    q[0].r.client.port = 99;
    get(&q[0]);
    spin(2);
    fd = accept(listeners[0], NULL, NULL);
    ck_assert_int_eq(read(fd, text, sizeof text), 38);
    ck_assert_mem_eq(text, "PROXY TCP4 192.0.2.7 192.0.2.7 99 99\r\n", 38);
    finish(&q[0], true); /* such a connection is for one client */
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
    close(fd);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        servers_take_turns, least_connections_first, another_server_is_tried,
        a_socket_file_that_is_not_there, a_long_queue_for_a_dead_server, no_server_at_all,
        backups_are_for_when_all_others_are_out, backups_do_not_help_the_busy,
        who_waited_longest_goes_first, the_limit_holds_over_workers,
        a_place_is_given_on_when_its_request_fails, a_connect_that_takes_too_long,
        no_descriptor_to_connect_with, a_proxy_header_goes_first,
    };

    return run_up_tests("up_request", tests, sizeof tests / sizeof tests[0]);
}
