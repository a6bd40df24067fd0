/* A second try beside a first that takes long: who wins, what the other costs, and when there is
 * none. */
#include "t/unit/two_servers.h"

#define BUSY_5 "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello"
#define SOON "hedge_after = 10ms\n"

/* A client whose request is at both servers. */
static int hedged(const char *request, int s[2])
{
    int c = connect_client();

    say(c, request);
    for (unsigned i = 0; i < 2; i++) {
        s[i] = accept_at(i);
        read_head(s[i]);
    }
    ck_assert_uint_eq(backend()->hedges, 1);
    return c;
}

static void ends_well(int c, int s[2])
{
    read_head(c);
    HAS("200 OK");
    expect(c, "hello");
    UNTIL(route()->requests_total == 1);
    ck_assert_uint_eq(backend()->requests_total, 1);
    ck_assert_uint_eq(backend()->active, 0);
    ck_assert_uint_eq(backend()->retries, 0);
    ck_assert_uint_eq(route()->retries, 0);
    ck_assert_uint_eq(route()->status_2xx, 1);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_eq(server(i)->active, 0);
        close(s[i]);
    }
    close(c);
    proxy_end();
}

START_TEST(the_second_wins)
{
    int s[2], c;

    begin(SOON);
    c = hedged(GET, s);
    say(s[1], OK_5);
    ck_assert_int_eq(ends(s[0]), 0);
    ck_assert_uint_eq(backend()->hedges_won, 1);
    ck_assert_uint_eq(server(0)->failures, 0);
    ck_assert_uint_eq(server(0)->requests_total, 1);
    ck_assert_uint_eq(server(0)->latency.count, 1); /* it took that long at least */
    ends_well(c, s);
}
END_TEST

START_TEST(the_first_wins)
{
    int s[2], c;

    begin(SOON);
    c = hedged(GET, s);
    say(s[0], OK_5);
    ck_assert_int_eq(ends(s[1]), 0);
    ck_assert_uint_eq(backend()->hedges_won, 0);
    ck_assert_uint_eq(server(1)->failures, 0);
    ck_assert_uint_eq(server(1)->requests_total, 1);
    ends_well(c, s);
}
END_TEST

/* Whichever of them fails, and however: the other goes on, and is not begun anew. */
START_TEST(one_fails)
{
    static const char *const said[] = { NULL, "nonsense\r\n\r\n", BUSY_5 };

    for (unsigned i = 0; i < 6; i++) {
        unsigned bad = i % 2;
        int s[2], c;

        begin(SOON "retry_on = reset, 503");
        c = hedged(GET, s);
        if (said[i / 2])
            say(s[bad], said[i / 2]);
        else
            shutdown(s[bad], SHUT_WR);
        ck_assert_int_eq(ends(s[bad]), 0);
        ck_assert_uint_eq(server(bad)->failures, i / 2 < 2);
        ck_assert_uint_eq(server(bad)->status_5xx, i / 2 == 2);
        ck_assert_uint_eq(backend()->active, 1);
        ck_assert_uint_eq(backend()->requests_total, 0);
        say(s[!bad], OK_5);
        ends_well(c, s);
    }
}
END_TEST

START_TEST(both_fail)
{
    int s[2], c;

    begin(SOON "retry_on = reset\nretries = 3");
    c = hedged(GET, s);
    close(s[1]);
    UNTIL(server(1)->failures == 1);
    close(s[0]);
    read_head(c);
    HAS("HTTP/1.1 502 ");
    ck_assert_uint_eq(server(0)->failures, 1);
    ck_assert_uint_eq(backend()->retries, 0); /* nobody is left */
    ck_assert_uint_eq(backend()->hedges_won, 0);
    close(c);
    proxy_end();
}
END_TEST

START_TEST(both_are_busy)
{
    int s[2], c;

    begin(SOON "retry_on = 503");
    c = hedged(GET, s);
    say(s[0], BUSY_5);
    ck_assert_int_eq(ends(s[0]), 0);
    say(s[1], BUSY_5);
    read_head(c);
    HAS("503 Busy");
    expect(c, "hello");
    ck_assert_uint_eq(backend()->hedges_won, 1);
    close(c);
    close(s[0]);
    close(s[1]);
    proxy_end();
}
END_TEST

START_TEST(both_take_too_long)
{
    int s[2], c;

    begin(SOON "retry_on = timeout\nretry_timeout = 40ms\ntimeout_response = 80ms");
    c = hedged(GET, s);
    ck_assert_int_eq(ends(s[0]), 0);
    read_head(c);
    HAS("HTTP/1.1 504 ");
    ck_assert_uint_eq(server(0)->timeouts, 1);
    ck_assert_uint_eq(server(1)->timeouts, 1);
    close(c);
    close(s[0]);
    close(s[1]);
    proxy_end();
}
END_TEST

START_TEST(the_second_is_refused)
{
    int s[2], c;

    begin(SOON);
    fd_close(&origins[1]);
    c = connect_client();
    say(c, GET);
    s[0] = accept_at(0);
    s[1] = -1;
    read_head(s[0]);
    UNTIL(server(1)->connect_errors == 1);
    say(s[0], OK_5);
    ck_assert_uint_eq(backend()->hedges, 1);
    ends_well(c, s);
}
END_TEST

/* It has not even a connection: by the time that it gives up, or is given up. */
START_TEST(the_first_hangs_in_connecting)
{
    for (unsigned is_late = 0; is_late < 2; is_late++) {
        struct sockaddr_in at;
        socklen_t n = sizeof at;
        int s[2] = { -1, -1 }, crowd[8], c;

        begin(is_late ? SOON "timeout_connect = 50ms" : SOON);
        ck_assert_int_eq(getsockname(origins[0], (struct sockaddr *)&at, &n), 0);
        ck_assert_int_eq(listen(origins[0], 0), 0);
        for (unsigned i = 0; i < 8; i++) {
            crowd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            (void)!connect(crowd[i], (struct sockaddr *)&at, sizeof at);
        }
        c = connect_client();
        say(c, GET);
        s[1] = accept_at(1);
        read_head(s[1]);
        if (is_late)
            UNTIL(server(0)->timeouts == 1);
        ck_assert_uint_eq(backend()->active, 1);
        say(s[1], OK_5);
        for (unsigned i = 0; i < 8; i++)
            close(crowd[i]);
        ck_assert_uint_eq(server(0)->requests_total, 0);
        ends_well(c, s);
    }
}
END_TEST

START_TEST(the_client_leaves)
{
    int s[2], c;

    begin(SOON);
    c = hedged(GET, s);
    close(c);
    ck_assert_int_eq(ends(s[0]), 0);
    ck_assert_int_eq(ends(s[1]), 0);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(route()->aborted, 1);
    ck_assert_uint_eq(server(0)->failures + server(1)->failures, 0);
    close(s[0]);
    close(s[1]);
    proxy_end();
}
END_TEST

START_TEST(a_body_that_is_kept)
{
    int s[2], c;

    begin(SOON "retry_on = reset");
    c = connect_client();
    say(c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n");
    s[0] = accept_at(0);
    read_head(s[0]);
    ck_assert_int_eq(write(c, big, 50000), 50000);
    takes(s[0], big, 1000);
    s[1] = accept_at(1);
    read_head(s[1]);
    takes(s[1], big, 50000);
    takes(s[0], big + 1000, 49000);
    say(s[1], OK_5);
    ends_well(c, s);
}
END_TEST

/* A client of s0 stays its client when that is slow this once, but not when it has failed. */
START_TEST(a_cookie_outlives_a_slow_answer)
{
    for (unsigned fails = 0; fails < 2; fails++) {
        char request[256];
        int s[2], c;

        proxy_begin("[listener web]\nbind = 127.0.0.1:1\n[route r]\nbackend = b\n" SOON
                    "[backend b]\nserver = %0 name=s0\nserver = %1 name=s1\n"
                    "sticky = cookie id\n");
        snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\nCookie: id=%016llx\r\n"
                 "\r\n", (unsigned long long)ring_hash("b/s0", 4));
        c = hedged(request, s);
        if (fails) {
            shutdown(s[0], SHUT_WR);
            ck_assert_int_eq(ends(s[0]), 0);
        }
        say(s[1], OK_5);
        read_head(c);
        ck_assert(!fails == !strstr(head, "Set-Cookie: id="));
        expect(c, "hello");
        UNTIL(route()->requests_total == 1);
        close(s[0]);
        close(s[1]);
        close(c);
        proxy_end();
    }
}
END_TEST

/* By the time that another's second try has come, theirs would have. */
START_TEST(what_is_not_hedged)
{
    static const char *const requests[] = {
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", /* it is not kept */
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    };

    for (unsigned i = 0; i < 4; i++) {
        int c, other, s[3];

        begin(SOON);
        c = connect_client();
        say(c, requests[i]);
        s[0] = accept_at(0);
        read_head(s[0]);
        other = connect_client();
        say(other, GET);
        s[1] = accept_at(1);
        s[2] = accept_at(0);
        ck_assert_uint_eq(backend()->hedges, 1);
        close(c);
        close(other);
        UNTIL(px.gate.open == 0);
        for (unsigned k = 0; k < 3; k++)
            close(s[k]);
        proxy_end();
    }
}
END_TEST

START_TEST(by_what_it_takes_lately)
{
    int s[2], c;

    begin("hedge_after = p90");
    for (unsigned i = 0; i < 100; i++)
        histogram_add(&server(1)->latency, 10000);
    c = hedged(GET, s);
    say(s[0], OK_5);
    ends_well(c, s);
}
END_TEST

UNIT_MAIN("hedge", the_second_wins, the_first_wins, one_fails, both_fail, both_are_busy,
          both_take_too_long, the_second_is_refused, the_first_hangs_in_connecting,
          the_client_leaves, a_body_that_is_kept, a_cookie_outlives_a_slow_answer,
          what_is_not_hedged, by_what_it_takes_lately)
