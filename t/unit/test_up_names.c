/* Servers that come and go while a generation is in force: in place, and in that backend only. */
#include "t/unit/up_fixture.h"

static struct req q[4];

/* As when a name has another answer: objects there, and no new generation. */
static void change(const char *lines)
{
    const struct conf_backend *b;

    write_ini(lines);
    b = &cf.conf->backends[0];
    for (size_t i = 0; i < b->server.n; i++) {
        char name[STATS_NAME_MAX];

        snprintf(name, sizeof name, "b/%s", b->server.v[i].name);
        ck_assert_int_eq(segment_add(seg, STATS_server, name), 0);
        stat_set(&STATS_SHARED(seg, server, name)->weight, b->server.v[i].weight);
    }
    backend_servers(backends[0], b, &b->server);
}

static const char *once(void)
{
    const char *name = get(&q[0]);

    finish(&q[0], false);
    return name;
}

START_TEST(those_that_come_are_picked)
{
    unsigned seen[SERVERS] = { 0 };

    apply("server = %0 name=s0\n");
    change("server = %0 name=s0\nserver = %1 name=s1\nserver = %2 name=s2\n"
           "server = %3 name=s3\n");
    for (unsigned i = 0; i < 8; i++)
        seen[once()[1] - '0']++;
    for (unsigned i = 0; i < SERVERS; i++)
        ck_assert_uint_eq(seen[i], 2);
}
END_TEST

START_TEST(those_that_go_finish_what_they_have)
{
    apply("server = %0 name=s0\nserver = %1 name=s1\n");
    q[1].r.can_reuse = q[2].r.can_reuse = true;
    get(&q[1]);
    get(&q[2]);
    ck_assert_str_eq(q[1].server, "s0");
    finish(&q[2], true);
    ck_assert_uint_eq(stats_of("s1", 0)->idle, 1);
    change("server = %2 name=s2\n");
    ck_assert_uint_eq(stats_of("s1", 0)->idle, 0);
    ck_assert_uint_eq(stats_of("s0", 0)->active, 1);
    ck_assert_str_eq(once(), "s2");
    finish(&q[1], true); /* not kept: nobody would use it */
    ck_assert_uint_eq(stats_of("s0", 0)->active, 0);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
    ck_assert_str_eq(once(), "s2");
}
END_TEST

START_TEST(those_that_stay_keep_their_connections)
{
    apply("server = %0 name=s0\nserver = %1 name=s1\n");
    q[1].r.can_reuse = true;
    get(&q[1]);
    finish(&q[1], true);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 1);
    change("server = %0 name=s0\nserver = %2 name=s2\n");
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 1);
    /* Behind another address is another machine. */
    change("server = %3 name=s0\nserver = %2 name=s2\n");
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
}
END_TEST

START_TEST(a_server_that_returns_counts_on)
{
    apply("server = %0 name=s0\n");
    once();
    once();
    change("server = %1 name=s1\n");
    once();
    change("server = %0 name=s0\n");
    once();
    ck_assert_uint_eq(stats_of("s0", 0)->connections_total, 3);
}
END_TEST

START_TEST(who_waits_gets_one_that_comes)
{
    apply("server = %0 name=s0 max_conns=1\n");
    get(&q[1]);
    begin_req(&q[2]);
    ck_assert(!q[2].ready && !q[2].failed);
    change("server = %0 name=s0 max_conns=1\nserver = %1 name=s1\n");
    UNTIL(q[2].ready || q[2].failed);
    ck_assert_str_eq(q[2].server, "s1");
    finish(&q[2], false);
    finish(&q[1], false);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        those_that_come_are_picked, those_that_go_finish_what_they_have,
        those_that_stay_keep_their_connections, a_server_that_returns_counts_on,
        who_waits_gets_one_that_comes,
    };

    return run_up_tests("up_names", tests, sizeof tests / sizeof tests[0]);
}
