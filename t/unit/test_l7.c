/* Requests from a client to a server and back: what is tried again, who may leave when, answers
 * made here, bodies taken in, and every way for memory to end. */
#include "t/unit/proxy_fixture.h"

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static void begin_with(const char *listener, const char *route, const char *backend)
{
    char text[2048];

    snprintf(text, sizeof text,
             "[listener web]\nbind = 127.0.0.1:1\n%s\n[route r]\n%s\n[backend b]\n%s\n",
             listener, route, backend);
    proxy_begin(text);
}

static void begin(const char *route)
{
    char text[1024];

    snprintf(text, sizeof text, "backend = b\n%s", route);
    begin_with("", text, "server = %0 name=s0");
}

/* Routes with an answer of their own; the backend is another's. */
static void begin_canned(const char *route)
{
    char text[1024];

    snprintf(text, sizeof text, "%s\n[route z]\npath = /z\nbackend = b\n", route);
    begin_with("", text, "server = %0 name=s0");
}

static struct stats_route *route(void)
{
    return STATS_SLOT(seg, route, "r", 0);
}

static struct stats_server *server(void)
{
    return STATS_SLOT(seg, server, "b/s0", 0);
}

START_TEST(there_and_back)
{
    int c, s;

    begin("");
    c = connect_client();
    say(c, "GET /p?q HTTP/1.1\r\nHost: Site.test:80\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
           "X-Request-Id: forged\r\n\r\n");
    s = accept_at(0);
    read_head(s);
    ck_assert_ptr_eq(strstr(head, "GET /p?q HTTP/1.1\r\nHost: Site.test:80\r\n"), head);
    HAS("X-Forwarded-For: 127.0.0.1\r\n");
    HAS("X-Forwarded-Proto: http\r\n");
    HAS("X-Forwarded-Host: Site.test:80\r\n");
    HAS("Via: 1.1 rpd\r\n");
    HAS_NOT("X-Hop");
    HAS_NOT("forged");
    say(s, OK_5);
    read_head(c);
    HAS("Via: 1.1 rpd\r\n");
    expect(c, "hello");
    UNTIL(route()->requests_total == 1);
    say(c, GET); /* the same connections again */
    read_head(s);
    say(s, OK_5);
    read_head(c);
    expect(c, "hello");
    UNTIL(route()->requests_total == 2);
    ck_assert_uint_eq(server()->connections_total, 1);
    ck_assert_uint_eq(server()->connections_reused, 1);
    ck_assert_uint_eq(server()->status_2xx, 2);
    ck_assert_uint_eq(route()->status_2xx, 2);
    ck_assert_uint_eq(route()->aborted, 0);
    ck_assert_uint_eq(px.bufs.demand.used, 0);
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* ---- kept connections that had died ---- */

/* The client's end; *s is a kept connection of the server's. */
static int keep_one(int *s)
{
    int c = connect_client();

    say(c, GET);
    *s = accept_at(0);
    read_head(*s);
    say(*s, OK_5);
    read_head(c);
    expect(c, "hello");
    UNTIL(server()->idle == 1);
    return c;
}

/* The server closes just when the next request is on its way. */
static void race(int c, int s, const char *request)
{
    say(c, request);
    read_head(s);
    close(s);
}

START_TEST(safe_requests_are_said_again)
{
    int c, s;

    begin("");
    c = keep_one(&s);
    race(c, s, GET);
    s = accept_at(0);
    read_head(s);
    say(s, OK_5);
    read_head(c);
    HAS("200 OK");
    expect(c, "hello");
    UNTIL(server()->idle == 1);
    ck_assert_uint_eq(server()->requests_total, 2);
    ck_assert_uint_eq(server()->failures, 0);
    ck_assert_uint_eq(route()->retries, 0);
    close(s);
    close(c);
    proxy_end();
}
END_TEST

START_TEST(unsafe_ones_are_not)
{
    int c, s;

    begin("");
    c = keep_one(&s);
    race(c, s, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    read_head(c);
    HAS("HTTP/1.1 502 ");
    HAS("Proxy-Status: rpd; error=connection_terminated");
    ck_assert_int_lt(accept(origins[0], NULL, NULL), 0);
    close(c);
    proxy_end();
}
END_TEST

/* Its body is on its way: what comes between two servers would be lost. */
START_TEST(nor_are_those_with_a_body_under_way)
{
    int c, s;

    begin("");
    c = keep_one(&s);
    race(c, s, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    say(c, "hello");
    read_head(c);
    HAS("HTTP/1.1 502 ");
    ck_assert_int_lt(accept(origins[0], NULL, NULL), 0);
    close(c);
    proxy_end();
}
END_TEST

START_TEST(bodies_taken_in_are_said_again)
{
    int c, s;

    begin("buffer_request = on");
    c = keep_one(&s);
    race(c, s, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nworld");
    s = accept_at(0);
    read_head(s);
    expect(s, "world");
    say(s, OK_5);
    read_head(c);
    HAS("200 OK");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

START_TEST(a_slow_server_is_not_asked_twice)
{
    int c, s;

    begin("timeout_response = 30ms");
    c = keep_one(&s);
    say(c, GET);
    read_head(s);
    read_head(c);
    HAS("HTTP/1.1 504 ");
    ck_assert_int_lt(accept(origins[0], NULL, NULL), 0);
    ck_assert_uint_eq(server()->timeouts, 1);
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* ---- ends out of turn ---- */

START_TEST(a_client_leaves_and_frees_the_server)
{
    int c, s;

    for (unsigned is_rst = 0; is_rst < 2; is_rst++) {
        begin("");
        c = connect_client();
        say(c, GET);
        s = accept_at(0);
        read_head(s);
        if (is_rst)
            reset_fd(c);
        else
            close(c);
        ck_assert_int_eq(ends(s), 0);
        UNTIL(px.gate.open == 0);
        ck_assert_uint_eq(route()->requests_total, 1);
        ck_assert_uint_eq(route()->aborted, 1);
        ck_assert_uint_eq(server()->failures, 0);
        ck_assert_uint_eq(server()->active, 0);
        close(s);
        proxy_end();
    }
}
END_TEST

START_TEST(a_server_that_breaks_off)
{
    int c, s;

    begin("");
    c = connect_client();
    say(c, GET);
    s = accept_at(0);
    read_head(s);
    say(s, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    close(s);
    read_head(c);
    expect(c, "hello");
    ck_assert_int_eq(ends(c), 0); /* short, and so known to be */
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(route()->aborted, 1);
    ck_assert_uint_eq(server()->failures, 1);
    close(c);
    proxy_end();
}
END_TEST

START_TEST(a_server_that_answers_early)
{
    int c, s;

    begin("");
    c = connect_client();
    say(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc");
    s = accept_at(0);
    read_head(s);
    expect(s, "abc");
    say(s, "HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno");
    read_head(c);
    HAS("HTTP/1.1 413 Too Much\r\n");
    HAS("Connection: close\r\n");
    expect(c, "no");
    ck_assert_int_eq(ends(c), 0);
    ck_assert_int_eq(ends(s), 0);
    ck_assert_uint_eq(route()->status_4xx, 1);
    ck_assert_uint_eq(route()->aborted, 0);
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* What came after would be taken for the tunnel's. */
START_TEST(an_upgrade_before_the_request_is_in)
{
    int c, s;

    begin("");
    c = connect_client();
    say(c, "POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: ws\r\n"
           "Content-Length: 10\r\n\r\nabc");
    s = accept_at(0);
    read_head(s);
    say(s, "HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n");
    read_head(c);
    HAS("HTTP/1.1 502 ");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

static void tunnel(const char *settings, const char *request, const char *body)
{
    int c, s;

    begin(settings);
    c = connect_client();
    say(c, request);
    say(c, body);
    s = accept_at(0);
    read_head(s);
    HAS("Upgrade: ws\r\n");
    expect(s, body);
    say(s, "HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\nfrom server");
    read_head(c);
    HAS("101 Up");
    expect(c, "from server");
    for (unsigned way = 0; way < 2; way++) {
        int from = way ? c : s, to = way ? s : c;

        for (size_t sent = 0; sent < 1000000; sent += 10000) { /* more than any credit */
            ck_assert_int_eq(write(from, big + sent, 10000), 10000);
            takes(to, big + sent, 10000);
        }
    }
    shutdown(c, SHUT_WR);
    ck_assert_int_eq(ends(s), 0);
    say(s, "the rest");
    expect(c, "the rest");
    close(s);
    ck_assert_int_eq(ends(c), 0);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(route()->status_1xx, 1);
    ck_assert_uint_eq(route()->aborted, 0);
    close(c);
    proxy_end();
}

START_TEST(tunnels)
{
    tunnel("", "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n", "");
    tunnel("buffer_request = on", "POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
                                  "Upgrade: ws\r\nContent-Length: 5\r\n\r\n", "world");
}
END_TEST

START_TEST(a_silent_tunnel)
{
    int c, s;

    begin("timeout_stream = 20ms");
    c = connect_client();
    say(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n");
    s = accept_at(0);
    read_head(s);
    say(s, "HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n");
    read_head(c);
    ck_assert_int_eq(ends(c), -1);
    ck_assert_int_eq(ends(s), 0);
    ck_assert_uint_eq(route()->aborted, 1);
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* ---- answers made here ---- */

static void canned(const char *request, const char *status, bool stays)
{
    int c;

    begin_canned("respond = 200 hi $method");
    c = connect_client();
    say(c, request);
    read_head(c);
    HAS(status);
    expect(c, "hi POST");
    ck_assert_int_eq(strstr(head, "Connection: close") == NULL, stays);
    if (stays) {
        say(c, GET);
        read_head(c);
        expect(c, "hi GET");
    } else {
        ck_assert_int_eq(ends(c), 0);
    }
    close(c);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(route()->requests_total, stays ? 2 : 1);
    proxy_end();
}

START_TEST(canned_answers_take_small_bodies_in)
{
    static char text[70000];
    size_t n;

    canned("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "200 OK", true);
    canned("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
           "0\r\n\r\n", "200 OK", true);
    memset(text, 'x', sizeof text);
    n = (size_t)sprintf(text, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65536\r\n\r\n");
    text[n] = 'x';
    text[n + 65536] = '\0';
    canned(text, "200 OK", true);
    memset(text, 'x', sizeof text);
    n = (size_t)sprintf(text, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "fffff\r\n");
    text[n] = 'x';
    text[sizeof text - 1] = '\0';
    canned(text, "200 OK", false);
    canned("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n", "200 OK", false);
    /* who asks first is told at once, and may send the body or not: nobody knows */
    canned("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
           "200 OK", false);
}
END_TEST

START_TEST(a_redirect_is_one_field)
{
    int c;

    begin_canned("redirect = 301 https://$host$uri");
    c = connect_client();
    say(c, "GET /a%0d%0aX:%20y?b HTTP/1.1\r\nHost: HOST\r\n\r\n");
    read_head(c);
    HAS("\r\nLocation: https://host/a%0D%0AX:%20y?b\r\n");
    HAS_NOT("\r\nX:");
    say(c, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    read_head(c);
    HAS("301 ");
    close(c);
    proxy_end();
}
END_TEST

START_TEST(nobody_takes_it)
{
    int c;

    begin_with("", "host = other\nbackend = b", "server = %0 name=s0");
    c = connect_client();
    say(c, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" GET);
    read_head(c);
    HAS("404 Not Found");
    HAS("Proxy-Status: rpd; error=destination_not_found");
    read_head(c);
    expect(c, "404 Not Found: no route\n");
    ck_assert_uint_eq(STATS_SLOT(seg, listener, "web", 0)->requests_total, 2);
    close(c);
    proxy_end();
}
END_TEST

START_TEST(max_forwards)
{
    int c, s;

    begin("");
    c = connect_client();
    say(c, "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n");
    read_head(c);
    HAS("200 OK");
    say(c, "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 7\r\n\r\n");
    s = accept_at(0);
    read_head(s);
    ck_assert_ptr_eq(strstr(head, "OPTIONS * HTTP/1.1\r\n"), head);
    HAS("Max-Forwards: 6\r\n");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* ---- bodies taken in first ---- */

START_TEST(a_body_taken_in)
{
    int c, s;

    begin("buffer_request = on");
    c = connect_client();
    say(c, "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTrailer: X-T\r\n"
           "Transfer-Encoding: chunked\r\n\r\n");
    expect(c, "HTTP/1.1 100 Continue\r\n\r\n");
    say(c, "30d40\r\n"); /* 200000 */
    for (size_t sent = 0; sent < 200000; sent += 10000) {
        ck_assert_int_eq(write(c, big + sent, 10000), 10000);
        spin(2);
    }
    ck_assert_int_lt(accept(origins[0], NULL, NULL), 0);
    ck_assert_uint_le(px.bufs.demand.used, 2);
    say(c, "\r\n0\r\nX-T: v\r\n\r\n");
    s = accept_at(0);
    read_head(s);
    HAS("Content-Length: 200000\r\n");
    HAS_NOT("Expect");
    HAS_NOT("Trailer");
    HAS_NOT("Transfer-Encoding");
    takes(s, big, 200000);
    say(s, OK_5);
    read_head(c);
    expect(c, "hello");
    close(c);
    close(s);
    proxy_end();
}
END_TEST

/* ---- memory at its end ---- */

/* Asks once, whatever comes of it; whether it was a good answer. */
static bool try_request(void)
{
    char got[16384], path[1500]; /* a few to a block */
    size_t n = 0;
    int c = connect_client(), s = -1;

    memset(path, 'p', sizeof path);
    say(c, "POST /");
    ck_assert_int_eq(write(c, path, sizeof path), sizeof path);
    say(c, " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
           "0\r\nT: v\r\n\r\n");
    for (unsigned i = 0; i < 100 && n < 4; i++) {
        ssize_t r;

        ck_assert_int_eq(loop_once(&px.loop, 1), 0);
        if (s < 0 && (s = accept4(origins[0], NULL, NULL, SOCK_NONBLOCK)) >= 0)
            say(s, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
                   "Transfer-Encoding: chunked\r\nX-A: b\r\n\r\n5\r\nhello\r\n0\r\nT: v\r\n\r\n");
        while ((r = read(c, got + n, sizeof got - 1 - n)) > 0)
            n += (size_t)r;
        if (r == 0 || (n >= 7 && memcmp(got + n - 7, " v\r\n\r\n", 6) == 0))
            break;
    }
    got[n] = '\0';
    close(c);
    if (s >= 0)
        close(s);
    UNTIL(px.gate.open == 0);
    return strstr(got, " 200 OK\r\n") && strstr(got, "hello") && strstr(got, "T: v");
}

/* With ever more to be had, until it works: no way to fail leaves anything behind. */
static void exhaust(const char *settings, bool by_arena)
{
    bool is_done = false;

    for (size_t max = 1; !is_done; max++) {
        begin(settings);
        struct buf *held = buf_get(&px.bufs);
        if (by_arena)
            px.arenas.used_max = max;
        else
            px.bufs.used_max = max;
        is_done = try_request();
        ck_assert_uint_eq(px.stats->shed_memory, !is_done);
        buf_put(&held);
        px.arenas.used_max = px.bufs.used_max = 0;
        ck_assert(try_request());
        proxy_end();
        ck_assert_uint_lt(max, 30);
    }
}

START_TEST(buffers_at_their_end)
{
    exhaust("", false);
    exhaust("buffer_request = on", false);
}
END_TEST

START_TEST(memory_of_requests_at_its_end)
{
    exhaust("", true);
    exhaust("buffer_request = on\nrequest_header = set X-A: $path, add X-B: $request_id\n"
            "response_header = set X-B: $path\nhost_header = $request_id.test", true);
}
END_TEST

UNIT_MAIN("l7", there_and_back, safe_requests_are_said_again, unsafe_ones_are_not,
          nor_are_those_with_a_body_under_way, bodies_taken_in_are_said_again,
          a_slow_server_is_not_asked_twice, a_client_leaves_and_frees_the_server,
          a_server_that_breaks_off, a_server_that_answers_early,
          an_upgrade_before_the_request_is_in, tunnels, a_silent_tunnel,
          canned_answers_take_small_bodies_in, a_redirect_is_one_field, nobody_takes_it,
          max_forwards, a_body_taken_in, buffers_at_their_end, memory_of_requests_at_its_end)
