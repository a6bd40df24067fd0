/* From accept to who serves: PROXY headers, ClientHellos, what is refused and how. */
#include "t/unit/proxy_fixture.h"

#define ALERT_SIZE 7
#define UNEXPECTED_MESSAGE 10
#define DECODE_ERROR 50
#define UNRECOGNIZED_NAME 112

static char hello[1 << 17];
static size_t hello_size;

static void begin_with(const char *listener, const char *route, const char *backend)
{
    char text[2048];

    snprintf(text, sizeof text,
             "[listener web]\nbind = 127.0.0.1:1\ntls = on\n%s\n[route r]\ntls = passthrough\n"
             "host = pass.example, *.pass.example\nbackend = b\n%s\n[backend b]\n"
             "server = %%0 name=s0\n%s\n", listener, route, backend);
    proxy_begin(text);
}

static void begin(void)
{
    begin_with("", "", "");
}

static struct stats_listener *stats(void)
{
    return STATS_SLOT(seg, listener, "web", 0);
}

static void put(size_t *at, unsigned size, size_t value)
{
    while (size-- > 0)
        hello[(*at)++] = (char)(value >> 8 * size);
}

/* A ClientHello with that name and as much padding, in records of so many bytes. */
static void make_hello(const char *name, size_t padding, size_t record)
{
    static char body[1 << 15];
    size_t n = strlen(name), at = 0, size;

    put(&at, 1, 1);
    put(&at, 3, 2 + 32 + 1 + 4 + 2 + 2 + (9 + n) + (4 + padding));
    put(&at, 2, 0x0303);
    memset(hello + at, 'r', 32);
    at += 32;
    put(&at, 1, 0);
    put(&at, 4, 0x00021301);
    put(&at, 2, 0x0100);
    put(&at, 2, (9 + n) + (4 + padding));
    put(&at, 4, 5 + n);
    put(&at, 2, 3 + n);
    put(&at, 3, n);
    memcpy(hello + at, name, n);
    at += n;
    put(&at, 2, 21);
    put(&at, 2, padding);
    memset(hello + at, 0, padding);
    at += padding;
    size = at;
    memcpy(body, hello, size);
    hello_size = 0;
    for (at = 0; at < size; at += record) {
        size_t piece = size - at < record ? size - at : record;

        put(&hello_size, 3, 0x160301);
        put(&hello_size, 2, piece);
        memcpy(hello + hello_size, body + at, piece);
        hello_size += piece;
    }
}

static void send_bytes(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);

        ck_assert(w > 0 || errno == EAGAIN);
        if (w > 0)
            p += w, n -= (size_t)w;
        spin(1);
    }
}

static void expect_alert(int c, int alert)
{
    const char record[ALERT_SIZE] = { 21, 3, 3, 0, 2, 2, (char)alert };

    takes(c, record, sizeof record);
    ck_assert_int_eq(ends(c), 0); /* and not a reset */
}

static void finish(int a, int b)
{
    close(a);
    if (b >= 0)
        close(b);
    UNTIL(px.gate.open == 0);
}

/* ---- passed through ---- */

START_TEST(passed_through_as_it_is_however_it_comes)
{
    begin();
    make_hello("www.pass.example", 30, 16384);
    memcpy(hello + hello_size, "early", 5);
    for (size_t cut = 0; cut < hello_size; cut += 1 + cut % 3) {
        int c = connect_client(), s;

        send_bytes(c, hello, cut);
        spin(2);
        send_bytes(c, hello + cut, hello_size + 5 - cut);
        s = accept_at(0);
        takes(s, hello, hello_size + 5);
        say(s, "hello");
        expect(c, "hello");
        say(c, "bye");
        expect(s, "bye");
        shutdown(c, SHUT_WR);
        ck_assert_int_eq(ends(s), 0);
        say(s, "last");
        expect(c, "last");
        finish(c, s);
    }
    ck_assert_uint_eq(stats()->tls_passthrough, stats()->connections_total);
    ck_assert_uint_eq(stats()->tls_passthrough, stats()->requests_total);
    ck_assert_uint_eq(stats()->tls_failed + stats()->refused, 0);
    ck_assert_uint_eq(STATS_SLOT(seg, route, "r", 0)->requests_total, stats()->requests_total);
    ck_assert_uint_eq(STATS_SLOT(seg, route, "r", 0)->bytes_in, stats()->bytes_in);
    proxy_end();
}
END_TEST

/* As much memory as the bytes need, however small the pieces. */
START_TEST(the_largest_in_the_smallest_records)
{
    int c, s;

    begin();
    make_hello("pass.example", 16000, 1);
    ck_assert_uint_gt(hello_size, 90000);
    c = connect_client();
    for (size_t at = 0; at + 1 < hello_size; at += 1400) {
        send_bytes(c, hello + at, hello_size - 1 - at < 1400 ? hello_size - 1 - at : 1400);
        ck_assert_uint_le(px.bufs.demand.used, 7);
    }
    spin(50);
    ck_assert_uint_eq(stats()->tls_passthrough, 0);
    send_bytes(c, hello + hello_size - 1, 1);
    s = accept_at(0);
    takes(s, hello, hello_size);
    finish(c, s);
    proxy_end();
}
END_TEST

START_TEST(proxy_headers_before_and_behind)
{
    static const char header[] = "PROXY TCP4 192.0.2.1 198.51.100.2 1111 22\r\n";
    int c, s;

    begin_with("accept_proxy = on", "", "send_proxy = v1");
    make_hello("pass.example", 0, 16384);
    for (size_t cut = 0; cut < sizeof header - 1; cut += 7) {
        c = connect_client();
        send_bytes(c, header, cut);
        spin(2);
        send_bytes(c, header + cut, sizeof header - 1 - cut);
        if (cut % 2)
            spin(2);
        send_bytes(c, hello, hello_size);
        s = accept_at(0);
        expect(s, header);
        takes(s, hello, hello_size);
        finish(c, s);
    }
    c = connect_client();
    send_bytes(c, hello, hello_size);
    ck_assert_int_le(ends(c), 0);
    finish(c, -1);
    ck_assert_uint_eq(stats()->refused, 1);
    ck_assert_uint_eq(stats()->tls_failed, 0);
    proxy_end();
}
END_TEST

/* As in any tcp session: what was read is kept until there is one. */
START_TEST(another_server_is_tried)
{
    int c, s;

    begin_with("", "", "server = %1 name=s1");
    fd_close(&origins[0]);
    make_hello("pass.example", 0, 16384);
    c = connect_client();
    send_bytes(c, hello, hello_size);
    s = accept_at(1);
    takes(s, hello, hello_size);
    finish(c, s);
    ck_assert_uint_eq(STATS_SLOT(seg, route, "r", 0)->retries, 1);
    proxy_end();
}
END_TEST

/* ---- refused ---- */

static void refused(const char *bytes, size_t n, int alert)
{
    int c = connect_client();

    send_bytes(c, bytes, n);
    expect_alert(c, alert);
    finish(c, -1);
}

START_TEST(what_is_bad_gets_an_alert)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: pass.example\r\n\r\n";
    int c;

    begin();
    refused(http, sizeof http - 1, UNEXPECTED_MESSAGE);
    make_hello("pass.example", 0, 16384);
    hello[5 + 4 + 2 + 32] = 120; /* the session id's length */
    refused(hello, hello_size, DECODE_ERROR);
    make_hello("other.example", 0, 16384);
    refused(hello, hello_size, UNRECOGNIZED_NAME);
    ck_assert_uint_eq(stats()->tls_failed, 3);
    ck_assert_uint_eq(stats()->tls_failed_hello, 2);
    ck_assert_uint_eq(stats()->tls_failed_name, 1);
    c = connect_client(); /* one that goes on sending before it reads */
    send_bytes(c, http, 1);
    for (unsigned i = 0; i < 50; i++)
        send_bytes(c, big, 10000);
    expect_alert(c, UNEXPECTED_MESSAGE);
    finish(c, -1);
    ck_assert_uint_eq(stats()->refused + stats()->requests_total, 0);
    proxy_end();
}
END_TEST

START_TEST(who_does_not_finish)
{
    int c;

    begin_with("timeout_header = 50ms", "", "");
    make_hello("pass.example", 0, 16384);
    c = connect_client(); /* says nothing */
    ck_assert_int_eq(ends(c), 0);
    finish(c, -1);
    c = connect_client();
    send_bytes(c, hello, hello_size - 1);
    ck_assert_int_eq(ends(c), 0);
    finish(c, -1);
    ck_assert_uint_eq(stats()->tls_failed_timeout, 2);
    ck_assert_uint_eq(stats()->tls_failed, 2);
    proxy_end();
    begin();
    c = connect_client();
    send_bytes(c, hello, 20);
    finish(c, -1);
    c = connect_client();
    send_bytes(c, hello, 20);
    spin(2);
    reset_fd(c);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(stats()->tls_failed_closed, 2);
    ck_assert_uint_eq(stats()->tls_failed, 2);
    c = connect_client(); /* and one is left when the worker ends */
    send_bytes(c, hello, 20);
    spin(2);
    proxy_end();
    close(c);
}
END_TEST

/* ---- over a reload, at the end ---- */

START_TEST(goes_on_under_the_rules_it_began_with)
{
    int c, s;

    begin();
    make_hello("pass.example", 0, 16384);
    c = connect_client();
    send_bytes(c, hello, 50);
    spin(2);
    for (unsigned i = 0; i < 20; i++)
        load("[listener web]\nbind = 127.0.0.1:1\n[route q]\nbackend = c\n"
             "[backend c]\nserver = %1 name=s1\n");
    send_bytes(c, hello + 50, hello_size - 50);
    s = accept_at(0);
    takes(s, hello, hello_size);
    finish(c, s);
    ck_assert_uint_eq(STATS_SLOT(seg, route, "r", 0)->requests_total, 1);
    proxy_end();
}
END_TEST

START_TEST(only_silent_ones_are_retired)
{
    int c, silent, s;

    begin();
    make_hello("pass.example", 0, 16384);
    silent = connect_client();
    c = connect_client();
    send_bytes(c, hello, 1);
    spin(2);
    front_retire(&px);
    ck_assert_int_eq(ends(silent), 0);
    close(silent);
    ck_assert_uint_eq(px.gate.open, 1);
    send_bytes(c, hello + 1, hello_size - 1);
    s = accept_at(0);
    takes(s, hello, hello_size);
    finish(c, s);
    ck_assert_uint_eq(stats()->tls_failed, 0);
    proxy_end();
}
END_TEST

/* With ever more buffers to be had, until it works: no way to fail leaves anything behind. */
START_TEST(buffers_at_their_end)
{
    bool is_done = false;

    for (size_t max = 1; !is_done; max++) {
        char got[64];
        int c, s;

        begin_with("accept_proxy = on", "", "send_proxy = v2");
        make_hello("pass.example", 3000, 2);
        px.bufs.used_max = max;
        struct buf *held = buf_get(&px.bufs); /* used_max 0 is no limit */
        c = connect_client();
        say(c, "PROXY UNKNOWN\r\n");
        for (size_t n, at = 0; at < hello_size; at += n) {
            n = hello_size - at < 4000 ? hello_size - at : 4000;
            if (write(c, hello + at, n) < 0)
                break;
            spin(2);
        }
        UNTIL(px.gate.open == 0 || px.up.conns->used == 2);
        is_done = px.gate.open == 1;
        s = is_done ? accept_at(0) : -1;
        for (unsigned i = 0; is_done && i < 50 && read(s, got, 28) != 28; i++)
            ck_assert_int_eq(loop_once(&px.loop, 1), 0);
        finish(c, s);
        ck_assert_uint_eq(px.stats->shed_memory, !is_done);
        buf_put(&held);
        proxy_end();
        ck_assert_uint_lt(max, 20);
    }
}
END_TEST

UNIT_MAIN("front", passed_through_as_it_is_however_it_comes,
          the_largest_in_the_smallest_records, proxy_headers_before_and_behind,
          another_server_is_tried, what_is_bad_gets_an_alert, who_does_not_finish,
          goes_on_under_the_rules_it_began_with, only_silent_ones_are_retired,
          buffers_at_their_end)
