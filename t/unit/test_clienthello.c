/* ClientHellos: however they are cut, whatever is wrong with them. */
#include "worker/io/clienthello.h"

#include <stdio.h>
#include <time.h>
#include "t/unit/unit.h"

#define ROOM (1 << 18)
#define NAME "www.example.com"

/* Bytes being put together. */
struct text {
    uint8_t p[ROOM];
    size_t n;
};

static struct text body, wire;
static struct buf_pool pool;
static struct bufq in;
static struct clienthello hello;

static void add(struct text *t, const void *p, size_t n)
{
    ck_assert_uint_le(t->n + n, ROOM);
    if (n > 0)
        memcpy(t->p + t->n, p, n);
    t->n += n;
}

static void add_number(struct text *t, unsigned size, size_t value)
{
    while (size-- > 0) {
        uint8_t byte = (uint8_t)(value >> 8 * size);

        add(t, &byte, 1);
    }
}

static void add_zeros(struct text *t, size_t n)
{
    while (n-- > 0)
        add_number(t, 1, 0);
}

/* The length of what was added since `at`, put before it. */
static void close_vector(struct text *t, size_t at, unsigned size)
{
    size_t n = t->n - at;
    static uint8_t copy[ROOM];

    memcpy(copy, t->p + at, n);
    t->n = at;
    add_number(t, size, n);
    add(t, copy, n);
}

static void add_extension(unsigned type, const void *p, size_t n)
{
    add_number(&body, 2, type);
    add_number(&body, 2, n);
    add(&body, p, n);
}

/* A list of names as server_name has it; each begins with its type. */
static void add_names(const char *const *names, size_t count)
{
    struct text *t = &body;
    size_t extension, list;

    add_number(t, 2, 0);
    extension = list = t->n;
    for (size_t i = 0; i < count; i++) {
        add_number(t, 1, (size_t)(names[i][0] - '0'));
        add_number(t, 2, strlen(names[i] + 1));
        add(t, names[i] + 1, strlen(names[i] + 1));
    }
    close_vector(t, list, 2);
    close_vector(t, extension, 2);
}

static void add_name(const char *name, size_t n)
{
    struct text *t = &body;
    size_t extension, list;

    add_number(t, 2, 0);
    extension = list = t->n;
    add_number(t, 1, 0);
    add_number(t, 2, n);
    add(t, name, n);
    close_vector(t, list, 2);
    close_vector(t, extension, 2);
}

/* Up to the extensions; returns where they begin. */
static size_t begin_body(unsigned version)
{
    body.n = 0;
    add_number(&body, 2, version);
    add_zeros(&body, 32);
    add_number(&body, 1, 32);
    add_zeros(&body, 32);
    add_number(&body, 2, 4);
    add_number(&body, 4, 0x1a1a1301); /* GREASE, and one that is */
    add_number(&body, 2, 0x0100);
    return body.n;
}

static void end_body(size_t extensions)
{
    close_vector(&body, extensions, 2);
}

/* As a browser of today says it: GREASE, a name, a key share of so many bytes. */
static void usual_body(const char *name, size_t key_share)
{
    static uint8_t key[ROOM];
    size_t at = begin_body(0x0303);

    add_extension(0x2a2a, NULL, 0);
    add_extension(23, NULL, 0);
    if (name)
        add_name(name, strlen(name));
    add_extension(16, "\0\14\2h2\10http/1.1", 14);
    add_extension(43, "\4\3\4\3\3", 5);
    add_extension(51, key, key_share);
    add_extension(0xfafa, "", 1);
    end_body(at);
}

/* The message of `body` in records of so many bytes (the last may be shorter). */
static void wrap(size_t record, unsigned version)
{
    static struct text message;

    message.n = wire.n = 0;
    add_number(&message, 1, 1);
    add_number(&message, 3, body.n);
    add(&message, body.p, body.n);
    for (size_t at = 0; at < message.n; at += record) {
        size_t n = message.n - at < record ? message.n - at : record;

        add_number(&wire, 1, 22);
        add_number(&wire, 2, version);
        add_number(&wire, 2, n);
        add(&wire, message.p + at, n);
    }
}

static void begin(void)
{
    buf_pool_init(&pool, 4, 0, 0);
    bufq_init(&in);
    hello = (struct clienthello){ 0 };
}

static void end(void)
{
    bufq_clear(&in);
    ck_assert_uint_eq(pool.demand.used, 0);
    buf_pool_fini(&pool);
}

/* One packet. */
static enum clienthello_result packet(const uint8_t *p, size_t n)
{
    ck_assert(bufq_add(&in, &pool, slice_of((const char *)p, n)));
    return clienthello_read(&hello, &in);
}

/* In packets of so many bytes; what comes after the hello, or what is bad, stays unread. */
static enum clienthello_result packets(size_t size)
{
    enum clienthello_result r = CLIENTHELLO_MORE;

    begin();
    for (size_t at = 0; at < wire.n && r == CLIENTHELLO_MORE; at += size)
        r = packet(wire.p + at, wire.n - at < size ? wire.n - at : size);
    end();
    return r;
}

static void expect_name(enum clienthello_result r, const char *name)
{
    struct slice sni = clienthello_sni(&hello);

    ck_assert_int_eq(r, CLIENTHELLO_DONE);
    ck_assert_msg(slice_eq(sni, slice_str(name)), "'%.*s'", SLICE_ARG(sni));
}

static void expect_alert(enum clienthello_result r, enum clienthello_alert alert)
{
    ck_assert_int_eq(r, CLIENTHELLO_BAD);
    ck_assert_int_eq(hello.alert, alert);
}

/* What the message of `body` is, in one record, in one packet. */
static enum clienthello_result whole(void)
{
    wrap(CLIENTHELLO_MAX, 0x0301);
    return packets(ROOM);
}

/* ---- cuts ---- */

START_TEST(split_anywhere_in_two_packets)
{
    usual_body(NAME, 36);
    wrap(CLIENTHELLO_MAX, 0x0301);
    for (size_t cut = 1; cut < wire.n; cut++) {
        begin();
        ck_assert_int_eq(packet(wire.p, cut), CLIENTHELLO_MORE);
        expect_name(packet(wire.p + cut, wire.n - cut), NAME);
        end();
    }
}
END_TEST

START_TEST(split_anywhere_in_two_records)
{
    usual_body(NAME, 36);
    for (size_t cut = 1; cut < body.n + 4; cut++) {
        static struct text second;

        wrap(CLIENTHELLO_MAX, 0x0303);
        second.n = 0;
        add(&second, wire.p + 5 + cut, wire.n - 5 - cut);
        wire.n = 3;
        add_number(&wire, 2, cut);
        wire.n += cut;
        add_number(&wire, 3, 0x160303);
        add_number(&wire, 2, second.n);
        add(&wire, second.p, second.n);
        expect_name(packets(ROOM), NAME);
        expect_name(packets(1), NAME);
    }
}
END_TEST

START_TEST(records_and_packets_of_any_size)
{
    for (size_t key = 36; key < 2100; key += 400) {
        usual_body(NAME, key);
        for (size_t record = 1; record < body.n + 8; record += 1 + record / 3) {
            wrap(record, 0x0301);
            for (size_t size = 1; size < wire.n + 8; size += 1 + size / 2)
                expect_name(packets(size), NAME);
        }
    }
}
END_TEST

/* Each byte counts: a prefix is never enough, and never wrong. */
START_TEST(no_byte_too_early)
{
    usual_body(NAME, 1216);
    wrap(1, 0x0301);
    begin();
    for (size_t i = 0; i + 1 < wire.n; i++)
        ck_assert_int_eq(packet(wire.p + i, 1), CLIENTHELLO_MORE);
    expect_name(packet(wire.p + wire.n - 1, 1), NAME);
    end();
}
END_TEST

START_TEST(what_follows_is_not_looked_at)
{
    usual_body(NAME, 36);
    wrap(CLIENTHELLO_MAX, 0x0301);
    add(&wire, "\x14\x03\x03\x00\x01\x01 early data, or nonsense", 30);
    expect_name(packets(ROOM), NAME);
}
END_TEST

/* As much as a peer can make of it: the work is by the byte, not by its square. */
START_TEST(the_worst_costs_little)
{
    clock_t from = clock();

    usual_body(NAME, CLIENTHELLO_MAX - 300);
    wrap(1, 0x0301);
    ck_assert_uint_gt(wire.n, 95000);
    expect_name(packets(1), NAME);
    ck_assert_int_lt((long)(clock() - from), CLOCKS_PER_SEC);
}
END_TEST

/* ---- what is said ---- */

START_TEST(names)
{
    static const char *const table[][2] = {
        { "www.example.com", "www.example.com" },
        { "WWW.Example.COM", "www.example.com" },
        { "www.example.com.", "www.example.com" },
        { "x", "x" },
        { "under_score.example", "under_score.example" },
        { "xn--bcher-kva.example", "xn--bcher-kva.example" },
        { ".", "" },
        { "192.0.2.1", "" },
        { "192.0.2.1.", "" },
        { "2001:db8::1", "" },
        { "::ffff:192.0.2.1", "" },
        { "1.2.3.4.example", "1.2.3.4.example" },
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        usual_body(table[i][0], 36);
        expect_name(whole(), table[i][1]);
    }
}
END_TEST

START_TEST(no_name_at_all)
{
    size_t at;

    usual_body(NULL, 36);
    expect_name(whole(), "");
    at = begin_body(0x0303); /* no extension */
    end_body(at);
    expect_name(whole(), "");
    begin_body(0x0301); /* nor a list of them, as before TLS 1.2 */
    expect_name(whole(), "");
    begin_body(0x0300);
    expect_name(whole(), "");
}
END_TEST

START_TEST(versions_of_records_do_not_matter)
{
    usual_body(NAME, 36);
    for (unsigned minor = 0; minor < 256; minor += 3) {
        wrap(40, 0x0300 + minor);
        expect_name(packets(ROOM), NAME);
    }
}
END_TEST

START_TEST(key_shares_of_after_quantum_size)
{
    for (size_t n = 1120; n < 2100; n += 96) {
        usual_body(NAME, n);
        expect_name(whole(), NAME);
    }
}
END_TEST

START_TEST(long_names)
{
    static char name[300];
    size_t at;

    memset(name, 'a', sizeof name);
    for (size_t n = 250; n < 260; n++) {
        at = begin_body(0x0303);
        add_name(name, n);
        end_body(at);
        if (n <= CLIENTHELLO_NAME_MAX) {
            ck_assert_int_eq(whole(), CLIENTHELLO_DONE);
            ck_assert_uint_eq(clienthello_sni(&hello).n, n);
        } else {
            expect_alert(whole(), CLIENTHELLO_ILLEGAL_PARAMETER);
        }
    }
}
END_TEST

START_TEST(bytes_that_no_name_has)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char name[] = "www.example.com";
        size_t at = begin_body(0x0303);

        name[5] = (char)byte;
        add_name(name, sizeof name - 1);
        end_body(at);
        if (byte > ' ' && byte < 0x7f)
            ck_assert_int_eq(whole(), CLIENTHELLO_DONE);
        else
            expect_alert(whole(), CLIENTHELLO_ILLEGAL_PARAMETER);
    }
}
END_TEST

START_TEST(several_names)
{
    static const char *const two[] = { "0a.example", "0b.example" };
    static const char *const kinds[] = { "1whatever", "0a.example", "7" };
    static const char *const no_host[] = { "1whatever" };
    static const char *const empty[] = { "0" };
    size_t at = begin_body(0x0303);

    add_names(two, 2);
    end_body(at);
    expect_alert(whole(), CLIENTHELLO_ILLEGAL_PARAMETER);
    at = begin_body(0x0303);
    add_names(kinds, 3);
    end_body(at);
    expect_name(whole(), "a.example");
    at = begin_body(0x0303);
    add_names(no_host, 1);
    end_body(at);
    expect_name(whole(), "");
    at = begin_body(0x0303);
    add_names(empty, 1);
    end_body(at);
    expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
    at = begin_body(0x0303);
    add_names(NULL, 0);
    end_body(at);
    expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
    at = begin_body(0x0303);
    add_extension(0, NULL, 0);
    end_body(at);
    expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
    at = begin_body(0x0303);
    add_name("a.example", 9);
    add_extension(0x2a2a, NULL, 0);
    add_name("a.example", 9);
    end_body(at);
    expect_alert(whole(), CLIENTHELLO_ILLEGAL_PARAMETER);
}
END_TEST

/* ---- what is wrong ---- */

/* A message that ends too early, at any byte. */
START_TEST(bodies_cut_short)
{
    size_t n, bare = begin_body(0x0303);

    usual_body(NAME, 36);
    n = body.n;
    for (size_t cut = 0; cut < n; cut++) {
        body.n = cut;
        if (cut == bare)
            expect_name(whole(), "");
        else
            expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
    }
}
END_TEST

/* A name's extension that ends too early, in a message that is whole. */
START_TEST(names_cut_short)
{
    static const uint8_t bytes[] = { 0, 12, 0, 0, 9, 'a', '.', 'e', 'x', 'a', 'm', 'p', 'l', 'e' };

    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        size_t at = begin_body(0x0303);

        add_extension(0, bytes, cut);
        end_body(at);
        if (cut == sizeof bytes)
            expect_name(whole(), "a.example");
        else
            expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
    }
}
END_TEST

/* Any byte another: whatever comes of it, it is decided with the message's last byte. */
START_TEST(any_byte_changed)
{
    static const uint8_t change[] = { 1, 2, 0x7f, 0x80, 0xff };

    usual_body(NAME, 36);
    wrap(CLIENTHELLO_MAX, 0x0301);
    for (size_t i = 0; i < wire.n; i++) {
        for (size_t c = 0; c < sizeof change; c++) {
            enum clienthello_result r;

            wire.p[i] ^= change[c];
            r = packets(ROOM);
            ck_assert_int_eq(packets(1), r);
            /* The lengths of record and message are all that can make it want more. */
            ck_assert(r != CLIENTHELLO_MORE || (i >= 3 && i < 9));
            wire.p[i] ^= change[c];
        }
    }
}
END_TEST

static void expect_bytes(const char *p, size_t n, enum clienthello_alert alert)
{
    wire.n = 0;
    add(&wire, p, n);
    expect_alert(packets(ROOM), alert);
    expect_alert(packets(1), alert);
}

START_TEST(other_bytes)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    static const char ssl2[] = "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10";
    static const char ssh[] = "SSH-2.0-OpenSSH_9.2\r\n";

    expect_bytes(http, sizeof http - 1, CLIENTHELLO_UNEXPECTED_MESSAGE);
    expect_bytes(http, 1, CLIENTHELLO_UNEXPECTED_MESSAGE);
    expect_bytes(ssh, sizeof ssh - 1, CLIENTHELLO_UNEXPECTED_MESSAGE);
    expect_bytes(ssl2, sizeof ssl2 - 1, CLIENTHELLO_PROTOCOL_VERSION);
    expect_bytes("\x16\x02\x00", 3, CLIENTHELLO_PROTOCOL_VERSION);
    expect_bytes("\x16\x04\x00", 3, CLIENTHELLO_PROTOCOL_VERSION);
    expect_bytes("\x15\x03\x03\x00\x02\x02\x28", 7, CLIENTHELLO_UNEXPECTED_MESSAGE);
    expect_bytes("\x17\x03\x03\x00\x02", 5, CLIENTHELLO_UNEXPECTED_MESSAGE);
    expect_bytes("\x14\x03\x03\x00\x01\x01", 6, CLIENTHELLO_UNEXPECTED_MESSAGE);
    expect_bytes("\x16\x03\x01\x00\x00", 5, CLIENTHELLO_UNEXPECTED_MESSAGE);
    expect_bytes("\x16\x03\x01\x40\x01", 5, CLIENTHELLO_RECORD_OVERFLOW);
    expect_bytes("\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9, CLIENTHELLO_UNEXPECTED_MESSAGE);
    expect_bytes("\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9, CLIENTHELLO_DECODE_ERROR);
    expect_bytes("\x16\x03\x01\x00\x04\x01\x00\x40\x01", 9, CLIENTHELLO_ILLEGAL_PARAMETER);
    expect_bytes("\x16\x03\x01\x00\x04\x01\xff\xff\xff", 9, CLIENTHELLO_ILLEGAL_PARAMETER);
    expect_bytes("\x16\x03\x01\x00\x06\x01\x00\x00\x02\x02\x00", 11,
                 CLIENTHELLO_PROTOCOL_VERSION);
}
END_TEST

/* A record of another type between the pieces of one message. */
START_TEST(nothing_comes_in_between)
{
    usual_body(NAME, 36);
    wrap(100, 0x0301);
    wire.n = 105;
    add(&wire, "\x15\x03\x01\x00\x02\x01\x00", 7);
    expect_alert(packets(ROOM), CLIENTHELLO_UNEXPECTED_MESSAGE);
    wire.n = 105;
    add(&wire, "\x80", 1);
    expect_alert(packets(ROOM), CLIENTHELLO_UNEXPECTED_MESSAGE);
}
END_TEST

START_TEST(fields_out_of_bounds)
{
    begin_body(0x0303);
    body.p[0] = 2;
    expect_alert(whole(), CLIENTHELLO_PROTOCOL_VERSION);
    begin_body(0x0303);
    body.p[34] = 33; /* session id */
    add_number(&body, 1, 0);
    expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
    body.n = 0; /* no cipher, an odd number of bytes of them, no compression */
    for (unsigned ciphers = 0; ciphers < 5; ciphers++) {
        body.n = 0;
        add_number(&body, 2, 0x0303);
        add_zeros(&body, 33);
        add_number(&body, 2, ciphers);
        add_zeros(&body, ciphers);
        add_number(&body, 2, 0x0100);
        if (ciphers == 2 || ciphers == 4)
            ck_assert_int_eq(whole(), CLIENTHELLO_DONE);
        else
            expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
    }
    body.n -= 2;
    add_number(&body, 1, 0);
    expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
    usual_body(NAME, 36); /* more behind the extensions */
    add_number(&body, 1, 0);
    expect_alert(whole(), CLIENTHELLO_DECODE_ERROR);
}
END_TEST

START_TEST(as_large_as_it_may_be)
{
    size_t fixed;

    usual_body(NAME, 0);
    fixed = body.n;
    usual_body(NAME, CLIENTHELLO_MAX - fixed);
    ck_assert_uint_eq(body.n, CLIENTHELLO_MAX);
    expect_name(whole(), NAME);
    wrap(1, 0x0301);
    expect_name(packets(700), NAME);
    usual_body(NAME, CLIENTHELLO_MAX - fixed + 1);
    expect_alert(whole(), CLIENTHELLO_ILLEGAL_PARAMETER);
}
END_TEST

START_TEST(alerts)
{
    char room[CLIENTHELLO_ALERT_SIZE];
    struct slice s = clienthello_alert_record(room, CLIENTHELLO_UNRECOGNIZED_NAME);

    ck_assert(slice_eq(s, SLICE("\x15\x03\x03\x00\x02\x02\x70")));
}
END_TEST

UNIT_MAIN("clienthello", split_anywhere_in_two_packets, split_anywhere_in_two_records,
          records_and_packets_of_any_size, no_byte_too_early, what_follows_is_not_looked_at,
          the_worst_costs_little, names, no_name_at_all, versions_of_records_do_not_matter,
          key_shares_of_after_quantum_size, long_names, bytes_that_no_name_has, several_names,
          bodies_cut_short, names_cut_short, any_byte_changed, other_bytes,
          nothing_comes_in_between, fields_out_of_bounds, as_large_as_it_may_be, alerts)
