/* Generations: counted by who uses them, gone with the last; reloads leave nothing behind. */
#include <malloc.h>
#include "t/unit/proxy_fixture.h"

#define A                                                                               \
    "[listener web]\nbind = 127.0.0.1:1\n[route r]\nbackend = b\n[backend b]\n"          \
    "server = %0 name=s0\n"
#define B                                                                               \
    "[listener web]\nbind = 127.0.0.1:1\n[route q]\nhost = *.x\nbackend = c\n"           \
    "[route p]\npath = /p\nrespond = 200 p\n[backend c]\nserver = %1 name=s1\n"
#define GET "GET /p HTTP/1.1\r\nHost: a.x\r\n\r\n"

static unsigned count_backends(void)
{
    unsigned n = 0;

    LIST_EACH(it, &px.up.all)
        n++;
    return n;
}

START_TEST(a_request_ends_under_the_rules_it_began_with)
{
    struct generation *first;
    int c, s;

    proxy_begin(A);
    first = px.generation;
    ck_assert_uint_eq(first->refs, 2); /* in force, and the listener's */
    c = connect_client();
    ck_assert_uint_eq(first->refs, 2); /* an idle connection holds none */
    say(c, GET);
    s = accept_at(0);
    ck_assert_uint_eq(first->refs, 3);
    load(B);
    ck_assert_uint_eq(first->refs, 1);
    ck_assert_uint_eq(count_backends(), 2);
    read_head(s);
    say(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    load(B);
    say(s, "hello");
    read_head(c);
    expect(c, "hello");
    UNTIL(STATS_SLOT(seg, route, "r", 0)->requests_total == 1);
    ck_assert_uint_eq(count_backends(), 1); /* with the first generation */
    ck_assert_int_eq(ends(s), 0);           /* and its kept connection */
    close(s);
    say(c, GET); /* the same connection, under the new one */
    s = accept_at(1);
    read_head(s);
    HAS("GET /p ");
    close(s);
    close(c);
    proxy_end();
}
END_TEST

START_TEST(one_that_cannot_be_built_changes_nothing)
{
    struct generation *g = NULL;

    proxy_begin(A);
    fixture_load(&cf, "[listener web]\nbind = nonsense\n");
    ck_assert_ptr_null(cf.conf);
    g = generation_new(&cf.text, 9, -1, &px.up, px.limits, &cf.report);
    ck_assert_ptr_null(g);
    ck_assert_uint_eq(px.generation->refs, 2);
    ck_assert_uint_eq(count_backends(), 1);
    generation_unref(&g);
    proxy_end();
}
END_TEST

static size_t heap(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static void request(int c, int s)
{
    say(c, GET);
    read_head(s);
    say(s, "HTTP/1.1 204 No\r\n\r\n");
    read_head(c);
    HAS("204 No");
}

/* The leak checker of a sanitizer build sees what is lost; this sees what is only kept. */
START_TEST(reloads_leave_nothing_behind)
{
    size_t before = 0, after;
    int c, s;

    proxy_begin(A);
    c = connect_client();
    say(c, GET);
    s = accept_at(0);
    read_head(s);
    say(s, "HTTP/1.1 204 No\r\n\r\n");
    read_head(c);
    for (unsigned i = 0; i < 600; i++) {
        if (i == 300) /* the allocator has the sizes that come and go */
            before = heap();
        load(A); /* keeps the connection */
        if (i % 10 == 0)
            request(c, s);
        ck_assert_uint_eq(px.generation->refs, 2);
        ck_assert_uint_eq(count_backends(), 1);
    }
    after = heap();
    ck_assert_uint_le(after, before + 4096);
    ck_assert_uint_eq(STATS_SLOT(seg, server, "b/s0", 0)->connections_total, 1);
    close(c);
    close(s);
    proxy_end();
}
END_TEST

START_TEST(reloads_back_and_forth)
{
    proxy_begin(A);
    for (unsigned i = 0; i < 100; i++) {
        int c, s;

        load(i % 2 ? A : B);
        c = connect_client();
        say(c, GET);
        s = accept_at(i % 2 ? 0 : 1);
        load(i % 3 ? A : B); /* with a request at a server */
        read_head(s);
        say(s, "HTTP/1.1 204 No\r\n\r\n");
        read_head(c);
        HAS("204 No");
        close(c);
        close(s);
        UNTIL(px.gate.open == 0);
        ck_assert_uint_eq(px.generation->refs, 2);
        ck_assert_uint_eq(count_backends(), 1);
    }
    proxy_end();
}
END_TEST

UNIT_MAIN("generation", a_request_ends_under_the_rules_it_began_with,
          one_that_cannot_be_built_changes_nothing, reloads_leave_nothing_behind,
          reloads_back_and_forth)
