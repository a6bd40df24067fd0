/* tcp sessions: bytes both ways, half-closes, resets, idle time, other servers. */
#include "t/unit/proxy_fixture.h"

static void begin_with(const char *listener, const char *route, const char *backend)
{
    char text[2048];

    snprintf(text, sizeof text,
             "[listener web]\nbind = 127.0.0.1:1\nmode = tcp\n%s\n[route r]\nlistener = web\n"
             "backend = b\n%s\n[backend b]\n%s\n", listener, route, backend);
    proxy_begin(text);
}

static void begin(void)
{
    begin_with("", "", "server = %0 name=s0");
}

static struct stats_route *route(void)
{
    return STATS_SLOT(seg, route, "r", 0);
}

static void finish(int a, int b)
{
    close(a);
    close(b);
    UNTIL(px.gate.open == 0);
}

START_TEST(both_ways)
{
    int c, s;

    begin();
    c = connect_client();
    say(c, "before there is a server");
    s = accept_at(0);
    expect(s, "before there is a server");
    say(s, "hello");
    expect(c, "hello");
    say(c, "bye");
    expect(s, "bye");
    ck_assert_uint_eq(route()->active, 1);
    finish(c, s);
    ck_assert_uint_eq(route()->requests_total, 1);
    ck_assert_uint_eq(route()->aborted, 0);
    ck_assert_uint_eq(route()->bytes_in, 27);
    ck_assert_uint_eq(route()->bytes_out, 5);
    ck_assert_uint_eq(route()->latency.count, 1);
    ck_assert_uint_eq(px.stats->requests, 1);
    proxy_end();
}
END_TEST

/* One way at a time, each after the other's end. */
START_TEST(half_closes_are_kept)
{
    int c, s;

    for (unsigned first = 0; first < 2; first++) {
        begin();
        c = connect_client();
        s = accept_at(0);
        say(first ? s : c, "last words");
        shutdown(first ? s : c, SHUT_WR);
        expect(first ? c : s, "last words");
        ck_assert_int_eq(ends(first ? c : s), 0);
        say(first ? c : s, "and mine");
        expect(first ? s : c, "and mine");
        ck_assert_uint_eq(px.gate.open, 1);
        shutdown(first ? c : s, SHUT_WR);
        ck_assert_int_eq(ends(first ? s : c), 0);
        UNTIL(px.gate.open == 0);
        ck_assert_uint_eq(route()->aborted, 0);
        finish(c, s);
        proxy_end();
    }
}
END_TEST

/* As much as the slow end takes, and not much more: by splice after the first reads. */
START_TEST(a_slow_reader)
{
    size_t sent = 0, at = 0, n = sizeof big, most = 0;
    /* A window smaller than a segment would open by the kernel's timers alone. */
    int c, s, size = 65536;

    begin();
    c = connect_client();
    s = accept_at(0);
    ck_assert_int_eq(setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    for (unsigned quiet = 0; quiet < 50;) {
        ssize_t w = sent < n ? write(c, big + sent, n - sent) : -1;

        if (w > 0)
            sent += (size_t)w;
        else
            quiet++;
        spin(1);
        most = px.bufs.demand.used + 4 * px.bufs.pipes.used;
        ck_assert_uint_le(most, 24);
    }
    while (sent < n) {
        ssize_t w = write(c, big + sent, n - sent);
        static char sink[65536];
        ssize_t r = read(s, sink, sizeof sink);

        if (w > 0)
            sent += (size_t)w;
        if (r > 0) {
            ck_assert_mem_eq(sink, big + at, (size_t)r);
            at += (size_t)r;
        }
        spin(1);
    }
    takes(s, big + at, n - at); /* kernels differ in how much of it they keep */
    finish(c, s);
    ck_assert_uint_eq(route()->bytes_in, n);
    proxy_end();
}
END_TEST

START_TEST(resets_end_both)
{
    int c, s;

    begin();
    c = connect_client();
    s = accept_at(0);
    reset_fd(c);
    ck_assert_int_le(ends(s), 0);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(route()->aborted, 1);
    close(s);
    c = connect_client();
    s = accept_at(0);
    UNTIL(STATS_SLOT(seg, server, "b/s0", 0)->connections_total == 2);
    say(s, "what was said before"); /* and not read yet */
    reset_fd(s);
    expect(c, "what was said before");
    ck_assert_int_le(ends(c), 0);
    close(c);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(route()->aborted, 2);
    ck_assert_uint_eq(STATS_SLOT(seg, server, "b/s0", 0)->failures, 1);
    proxy_end();
}
END_TEST

START_TEST(a_client_leaves_while_connecting)
{
    int c;

    begin();
    c = connect_client();
    reset_fd(c);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(route()->requests_total, 1);
    proxy_end();
}
END_TEST

START_TEST(silence_ends_a_session)
{
    int c, s;

    begin_with("", "timeout_stream = 300ms", "server = %0 name=s0");
    c = connect_client();
    s = accept_at(0);
    for (unsigned i = 0; i < 6; i++) { /* any byte either way is none */
        ck_assert_int_eq(loop_once(&px.loop, 100), 0);
        say(i % 2 ? c : s, "x");
        expect(i % 2 ? s : c, "x");
    }
    ck_assert_int_eq(ends(c), 0);
    ck_assert_int_eq(ends(s), 0);
    ck_assert_uint_eq(route()->aborted, 1);
    finish(c, s);
    proxy_end();
}
END_TEST

START_TEST(another_server_is_tried)
{
    int c, s;

    begin_with("", "", "server = %0 name=s0\nserver = %1 name=s1");
    fd_close(&origins[0]);
    c = connect_client();
    s = accept_at(1);
    say(c, "x");
    expect(s, "x");
    finish(c, s);
    ck_assert_uint_eq(route()->retries, 1);
    fd_close(&origins[1]);
    c = connect_client();
    ck_assert_int_eq(ends(c), 0);
    finish(c, -1);
    ck_assert_uint_eq(route()->aborted, 1);
    proxy_end();
}
END_TEST

START_TEST(proxy_headers_in_and_out)
{
    int c, s;

    begin_with("accept_proxy = on", "", "send_proxy = v1\nserver = %0 name=s0");
    c = connect_client();
    say(c, "PROXY TCP4 192.0.2.1 198.51.100.2 11");
    spin(2);
    say(c, "11 22\r\nrest");
    s = accept_at(0);
    expect(s, "PROXY TCP4 192.0.2.1 198.51.100.2 1111 22\r\nrest");
    finish(c, s);
    c = connect_client();
    say(c, "GET / HTTP/1.1\r\n\r\n");
    ck_assert_int_le(ends(c), 0);
    close(c);
    c = connect_client();
    reset_fd(c);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(STATS_SLOT(seg, listener, "web", 0)->refused, 2);
    c = connect_client(); /* and one is left when the worker ends */
    say(c, "PROXY");
    spin(2);
    proxy_end();
    close(c);
}
END_TEST

START_TEST(a_proxy_header_has_its_time)
{
    int c;

    begin_with("accept_proxy = on\ntimeout_header = 50ms", "", "server = %0 name=s0");
    c = connect_client();
    ck_assert_int_eq(ends(c), 0);
    close(c);
    ck_assert_uint_eq(STATS_SLOT(seg, listener, "web", 0)->refused, 1);
    proxy_end();
}
END_TEST

/* With ever more buffers to be had, until it works: no way to fail leaves anything behind. */
START_TEST(buffers_at_their_end)
{
    bool is_done = false;

    for (size_t max = 1; !is_done; max++) {
        char got[8];
        int c, s;

        begin();
        px.bufs.used_max = max;
        struct buf *held = buf_get(&px.bufs); /* used_max 0 is no limit */
        c = connect_client();
        say(c, "hello");
        s = accept_at(0);
        for (unsigned i = 0; i < 50 && read(s, got, 5) != 5; i++)
            ck_assert_int_eq(loop_once(&px.loop, 1), 0);
        is_done = px.gate.open == 1;
        close(c);
        close(s);
        UNTIL(px.gate.open == 0);
        ck_assert_uint_eq(px.stats->shed_memory, !is_done);
        buf_put(&held);
        proxy_end();
        ck_assert_uint_lt(max, 20);
    }
}
END_TEST

START_TEST(a_session_lives_on_over_reloads)
{
    int c, s;

    begin();
    c = connect_client();
    s = accept_at(0);
    for (unsigned i = 0; i < 20; i++)
        load("[listener web]\nbind = 127.0.0.1:1\nmode = tcp\n[route q]\n"
             "listener = web\nbackend = c\n[backend c]\nserver = %1 name=s1\n");
    say(c, "still");
    expect(s, "still");
    finish(c, s);
    c = connect_client();
    s = accept_at(1);
    finish(c, s);
    ck_assert_uint_eq(route()->requests_total, 1);
    proxy_end();
}
END_TEST

UNIT_MAIN("l4", both_ways, half_closes_are_kept, a_slow_reader, resets_end_both,
          a_client_leaves_while_connecting, silence_ends_a_session, another_server_is_tried,
          proxy_headers_in_and_out, a_proxy_header_has_its_time, buffers_at_their_end,
          a_session_lives_on_over_reloads)
