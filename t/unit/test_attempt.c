/* Requests that are tried again at another server: after what, with what body, and when not. */
#include "t/unit/two_servers.h"

#define ANY "retry_on = connect-failure, reset, timeout, 502, 503, 504\n"

static void nobody_comes_to(unsigned origin)
{
    spin(3);
    ck_assert_int_lt(accept(origins[origin], NULL, NULL), 0);
}

static void expect_answer(int c, const char *status)
{
    read_head(c);
    HAS(status);
    expect(c, "hello");
}

/* The first server's end of a request that says `request`. */
static int asked(int *c, const char *request)
{
    int s;

    *c = connect_client();
    say(*c, request);
    s = accept_at(0);
    read_head(s);
    return s;
}

/* The same request at the second server, which answers it. */
static void answers_in_place(int c)
{
    int s = accept_at(1);

    read_head(s);
    say(s, OK_5);
    expect_answer(c, "200 OK");
    close(s);
    close(c);
    UNTIL(route()->requests_total == 1);
}

/* ---- after what ---- */

START_TEST(a_broken_connection)
{
    static const char *const said[] = {
        "", "HTTP/1.1 200 OK\r\nConte", "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    };

    for (unsigned i = 0; i < sizeof said / sizeof said[0]; i++) {
        int c, s;

        begin(ANY);
        s = asked(&c, GET);
        say(s, said[i]);
        close(s);
        answers_in_place(c);
        ck_assert_uint_eq(backend()->retries, 1);
        ck_assert_uint_eq(backend()->retries_reset, 1);
        ck_assert_uint_eq(backend()->requests_total, 1);
        ck_assert_uint_eq(route()->retries, 1);
        ck_assert_uint_eq(route()->status_2xx, 1);
        ck_assert_uint_eq(server(0)->failures, 1);
        ck_assert_uint_eq(server(0)->requests_total, 1);
        ck_assert_uint_eq(server(1)->failures, 0);
        proxy_end();
    }
}
END_TEST

START_TEST(an_answer_that_nobody_wants)
{
    int c, s;

    begin(ANY);
    s = asked(&c, GET);
    say(s, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    answers_in_place(c);
    ck_assert_int_eq(ends(s), 0);
    ck_assert_uint_eq(backend()->retries_status, 1);
    ck_assert_uint_eq(server(0)->status_5xx, 1);
    ck_assert_uint_eq(server(0)->failures, 0);
    ck_assert_uint_eq(route()->status_5xx, 0);
    close(s);
    proxy_end();
}
END_TEST

START_TEST(the_last_one_is_passed_on_as_it_is)
{
    int c, s;

    begin(ANY "retries = 5");
    s = asked(&c, GET);
    say(s, "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n");
    close(s);
    s = accept_at(1);
    read_head(s);
    say(s, "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\nX-Its: own\r\n\r\nhello");
    read_head(c);
    HAS("HTTP/1.1 503 Busy\r\n");
    HAS("X-Its: own\r\n");
    HAS_NOT("Proxy-Status");
    expect(c, "hello");
    close(c);
    UNTIL(route()->requests_total == 1);
    ck_assert_uint_eq(route()->retries, 1); /* each server once */
    close(s);
    proxy_end();
}
END_TEST

START_TEST(only_after_what_retry_on_names)
{
    static const char *const answers[] = {
        "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 404 None\r\nContent-Length: 5\r\n\r\nhello",
    };

    for (unsigned i = 0; i < 3; i++) {
        int c, s;

        begin(i == 0 ? "retry_on = reset, 502, 504" : ANY);
        s = asked(&c, GET);
        say(s, answers[i]);
        expect_answer(c, i == 0 ? "503 Busy" : i == 1 ? "500 Oops" : "404 None");
        nobody_comes_to(1);
        close(c);
        close(s);
        proxy_end();
    }
}
END_TEST

START_TEST(never_once_the_head_has_left)
{
    int c, s;

    begin(ANY);
    s = asked(&c, GET);
    say(s, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    expect_answer(c, "200 OK");
    close(s);
    ck_assert_int_eq(ends(c), 0);
    nobody_comes_to(1);
    close(c);
    proxy_end();
}
END_TEST

START_TEST(no_answer_in_time)
{
    int c, s, s1;

    begin(ANY "retry_timeout = 20ms\ntimeout_response = 60s");
    s = asked(&c, GET);
    s1 = accept_at(1);
    read_head(s1);
    ck_assert_int_eq(ends(s), 0);
    ck_assert_uint_eq(backend()->retries_timeout, 1);
    ck_assert_uint_eq(server(0)->timeouts, 1);
    /* there is no third: this one has all the time that there is */
    for (uint64_t until = px.loop.now_us + 60000; px.loop.now_us < until;)
        ck_assert_int_eq(loop_once(&px.loop, 10), 0);
    say(s1, OK_5);
    expect_answer(c, "200 OK");
    ck_assert_uint_eq(server(1)->timeouts, 0);
    close(c);
    close(s);
    close(s1);
    proxy_end();
}
END_TEST

START_TEST(none_in_timeout_response_either)
{
    int c, s, s1;

    begin("retry_on = timeout\ntimeout_response = 20ms");
    s = asked(&c, GET);
    s1 = accept_at(1);
    read_head(s1);
    read_head(c);
    HAS("HTTP/1.1 504 ");
    HAS("Proxy-Status: rpd; error=http_response_timeout");
    ck_assert_uint_eq(server(0)->timeouts, 1);
    ck_assert_uint_eq(server(1)->timeouts, 1);
    close(c);
    close(s);
    close(s1);
    proxy_end();
}
END_TEST

/* ---- what is not safe ---- */

START_TEST(what_has_a_side_effect_is_said_once)
{
    int c, s;

    begin(ANY);
    s = asked(&c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    close(s);
    read_head(c);
    HAS("HTTP/1.1 502 ");
    nobody_comes_to(1);
    ck_assert_uint_eq(backend()->retries, 0);
    close(c);
    proxy_end();
}
END_TEST

START_TEST(unless_nobody_has_heard_it)
{
    int c;

    begin(ANY);
    fd_close(&origins[0]);
    c = connect_client();
    say(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    answers_in_place(c);
    ck_assert_uint_eq(backend()->retries_connect, 1);
    ck_assert_uint_eq(server(0)->connect_errors, 1);
    proxy_end();
}
END_TEST

/* ---- bodies ---- */

START_TEST(a_body_is_said_again)
{
    int c, s;

    begin(ANY);
    s = asked(&c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n");
    ck_assert_int_eq(write(c, big, 6000), 6000);
    takes(s, big, 6000);
    close(s);
    s = accept_at(1);
    read_head(s);
    HAS("Content-Length: 10000\r\n");
    takes(s, big, 6000);
    ck_assert_int_eq(write(c, big + 6000, 4000), 4000);
    takes(s, big + 6000, 4000);
    say(s, OK_5);
    expect_answer(c, "200 OK");
    UNTIL(route()->requests_total == 1);
    ck_assert_uint_eq(px.bufs.demand.used, 0);
    close(c);
    close(s);
    proxy_end();
}
END_TEST

START_TEST(chunks_and_trailers_too)
{
    int c, s;

    begin(ANY);
    s = asked(&c, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "5\r\nhello\r\n0\r\nX-T: v\r\n\r\n");
    expect(s, "5\r\nhello\r\n0\r\nX-T: v\r\n\r\n");
    close(s);
    s = accept_at(1);
    read_head(s);
    expect(s, "5\r\nhello\r\n0\r\nX-T: v\r\n\r\n");
    say(s, OK_5);
    expect_answer(c, "200 OK");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* More than credit: what the first took is not asked of the client again, nor forgotten. */
START_TEST(a_long_one_with_room_for_it)
{
    int c, s;
    size_t sent = 0;

    begin(ANY "retry_buffer = 1m");
    s = asked(&c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n");
    while (sent < 200000) {
        ck_assert_int_eq(write(c, big + sent, 20000), 20000);
        takes(s, big + sent, 20000);
        sent += 20000;
    }
    ck_assert_uint_le(px.bufs.demand.used, 8);
    close(s);
    s = accept_at(1);
    read_head(s);
    takes(s, big, sent);
    while (sent < 500000) {
        ck_assert_int_eq(write(c, big + sent, 20000), 20000);
        takes(s, big + sent, 20000);
        sent += 20000;
    }
    say(s, OK_5);
    expect_answer(c, "200 OK");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* All of a message, up to these bytes. */
static void drain(int fd, const char *end)
{
    static char got[1 << 17];
    size_t n = 0, len = strlen(end);

    while (n < len || memcmp(got + n - len, end, len) != 0) {
        ssize_t r = read(fd, got + n, sizeof got - n);

        ck_assert_msg(r > 0 || (r < 0 && errno == EAGAIN), "the end");
        if (r > 0)
            n += (size_t)r;
        else
            ck_assert_int_eq(loop_once(&px.loop, 2), 0);
    }
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t r = write(fd, p, n);

        if (r > 0) {
            p += r;
            n -= (size_t)r;
        } else {
            ck_assert_int_eq(loop_once(&px.loop, 2), 0);
        }
    }
}

/* Too long, as is said before or turns out: no copy, and no further try. */
START_TEST(too_long_to_be_kept)
{
    static const char *const framing[] = { "Content-Length: 65542\r\n\r\n",
                                           "Transfer-Encoding: chunked\r\n\r\n10001\r\n" };

    for (unsigned i = 0; i < 2; i++) {
        int c, s;

        begin(ANY);
        c = connect_client();
        say(c, "PUT / HTTP/1.1\r\nHost: h\r\n");
        say(c, framing[i]);
        s = accept_at(0);
        read_head(s);
        write_all(c, big, 65537);
        say(c, i ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
        drain(s, "0\r\n\r\n");
        ck_assert_uint_eq(px.bufs.demand.used, 0); /* what was kept is not any more */
        close(s);
        read_head(c);
        HAS("HTTP/1.1 502 ");
        nobody_comes_to(1);
        ck_assert_uint_eq(backend()->retries_over_budget, 0);
        close(c);
        proxy_end();
    }
}
END_TEST

/* No copy where none could help. */
START_TEST(not_kept_in_vain)
{
    static const char *const with[] = { "retry_on = connect-failure", ANY "retries = 0",
                                        ANY "retry_buffer = 0", ANY };

    for (unsigned i = 0; i < 4; i++) {
        int c, s;

        begin(with[i]);
        s = asked(&c, i == 3 ? "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n"
                             : "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000\r\n\r\n");
        ck_assert_int_eq(write(c, big, 8000), 8000);
        takes(s, big, 8000);
        UNTIL(px.bufs.demand.used == 0);
        close(s);
        read_head(c);
        HAS("HTTP/1.1 502 ");
        nobody_comes_to(1);
        close(c);
        proxy_end();
    }
}
END_TEST

START_TEST(one_100_is_enough)
{
    int c, s;

    begin(ANY);
    s = asked(&c, "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                  "Content-Length: 5\r\n\r\n");
    HAS("Expect: 100-continue\r\n");
    say(s, "HTTP/1.1 100 Continue\r\n\r\n");
    expect(c, "HTTP/1.1 100 Continue\r\n\r\n");
    close(s);
    s = accept_at(1);
    read_head(s);
    HAS_NOT("Expect");
    say(s, "HTTP/1.1 100 Continue\r\n\r\n"); /* all the same */
    say(c, "world");
    expect(s, "world");
    say(s, OK_5);
    expect_answer(c, "HTTP/1.1 200 OK");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

START_TEST(who_was_not_told_100_is_told_by_the_next)
{
    int c, s;

    begin(ANY);
    s = asked(&c, "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                  "Content-Length: 5\r\n\r\n");
    say(s, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    close(s);
    s = accept_at(1);
    read_head(s);
    HAS("Expect: 100-continue\r\n");
    say(s, "HTTP/1.1 100 Continue\r\n\r\n");
    expect(c, "HTTP/1.1 100 Continue\r\n\r\n");
    say(c, "world");
    expect(s, "world");
    say(s, OK_5);
    expect_answer(c, "HTTP/1.1 200 OK");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

START_TEST(a_spooled_one)
{
    int c, s;

    begin(ANY "buffer_request = on");
    c = connect_client();
    say(c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
    write_all(c, big, 200000);
    s = accept_at(0);
    read_head(s);
    takes(s, big, 100000);
    reset_fd(s);
    s = accept_at(1);
    read_head(s);
    takes(s, big, 200000);
    say(s, OK_5);
    expect_answer(c, "200 OK");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* ---- how many ---- */

START_TEST(the_budget_is_spent)
{
    struct backend *b;
    int c, s;

    begin_with(ANY, "retry_budget = 0%\n" TWO);
    b = smap_get(&px.up.backends, SLICE("b"));
    b->budget.parts = 0;
    s = asked(&c, GET);
    say(s, "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello");
    expect_answer(c, "503 Busy");
    nobody_comes_to(1);
    ck_assert_uint_eq(backend()->retries, 0);
    ck_assert_uint_eq(backend()->retries_over_budget, 1);
    ck_assert_uint_eq(server(1)->active, 0);
    close(c);
    close(s);
    proxy_end();
}
END_TEST

START_TEST(a_kept_connection_that_died_costs_nothing)
{
    int c, s;

    begin_with(ANY, "server = %0 name=s0");
    s = asked(&c, GET);
    say(s, OK_5);
    expect_answer(c, "200 OK");
    UNTIL(server(0)->idle == 1);
    say(c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nwor");
    read_head(s);
    expect(s, "wor");
    close(s);
    s = accept_at(0);
    read_head(s);
    say(c, "ld");
    expect(s, "world");
    say(s, OK_5);
    expect_answer(c, "200 OK");
    ck_assert_uint_eq(backend()->retries, 0);
    ck_assert_uint_eq(server(0)->failures, 0);
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* ---- ends out of turn ---- */

START_TEST(the_client_leaves_between_two_tries)
{
    int c, s;

    begin(ANY);
    s = asked(&c, GET);
    close(s);
    s = accept_at(1);
    close(c);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(route()->requests_total, 1);
    ck_assert_uint_eq(route()->aborted, 1);
    ck_assert_uint_eq(server(1)->active, 0);
    ck_assert_uint_eq(server(1)->failures, 0);
    close(s);
    proxy_end();
}
END_TEST

/* A request with a body whose first server breaks off. */
static bool try_request(void)
{
    static char got[16384];
    size_t n = 0;
    int c = connect_client(), s[2] = { -1, -1 };

    say(c, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
           "5\r\nhello\r\n0\r\n\r\n");
    for (unsigned i = 0; i < 100 && n < 4; i++) {
        ssize_t r;

        ck_assert_int_eq(loop_once(&px.loop, 1), 0);
        for (unsigned o = 0; o < 2; o++)
            if (s[o] < 0 && (s[o] = accept4(origins[o], NULL, NULL, SOCK_NONBLOCK)) >= 0 && o)
                say(s[o], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            else if (s[o] >= 0 && !o && i > 3)
                shutdown(s[o], SHUT_RDWR);
        while ((r = read(c, got + n, sizeof got - 1 - n)) > 0)
            n += (size_t)r;
        if (r == 0)
            break;
    }
    got[n] = '\0';
    close(c);
    for (unsigned o = 0; o < 2; o++)
        if (s[o] >= 0)
            close(s[o]);
    UNTIL(px.gate.open == 0);
    return strstr(got, " 200 OK\r\n") != NULL;
}

/* With ever more to be had, until it works: no way to fail leaves anything behind. */
static void exhaust(bool by_arena)
{
    bool is_done = false;

    for (size_t max = 1; !is_done; max++) {
        begin(ANY);
        if (by_arena)
            px.arenas.used_max = max;
        else
            px.bufs.used_max = max;
        is_done = try_request();
        px.arenas.used_max = px.bufs.used_max = 0;
        proxy_end();
        ck_assert_uint_lt(max, 30);
    }
}

START_TEST(memory_at_its_end)
{
    exhaust(false);
    exhaust(true);
}
END_TEST

UNIT_MAIN("attempt", a_broken_connection, an_answer_that_nobody_wants,
          the_last_one_is_passed_on_as_it_is, only_after_what_retry_on_names,
          never_once_the_head_has_left, no_answer_in_time, none_in_timeout_response_either,
          what_has_a_side_effect_is_said_once, unless_nobody_has_heard_it, a_body_is_said_again,
          chunks_and_trailers_too, a_long_one_with_room_for_it, too_long_to_be_kept,
          not_kept_in_vain, one_100_is_enough, who_was_not_told_100_is_told_by_the_next,
          a_spooled_one, the_budget_is_spent, a_kept_connection_that_died_costs_nothing,
          the_client_leaves_between_two_tries, memory_at_its_end)
