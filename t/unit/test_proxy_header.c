/* The PROXY protocol: what is taken, what is refused, and that every part of what is taken asks
 * for more. */
#include <stdio.h>
#include "t/unit/unit.h"
#include "worker/io/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
/* Bytes with a NUL in them. */
#define BYTES(lit) slice_of(lit, sizeof(lit) - 1)

static struct ip src, dst;
static size_t used;

/* A copy of its own size, so that a byte read behind it is seen by ASan. */
static enum proxy_header parse(struct slice s)
{
    char *copy = malloc(s.n ? s.n : 1);

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, s.p, s.n);
    enum proxy_header r = proxy_header_parse(slice_of(copy, s.n), &src, &dst, &used);
    free(copy);
    return r;
}

/* Whole, in parts, and with bytes behind. */
static void takes(struct slice s, enum proxy_header expected)
{
    char longer[PROXY_HEADER_MAX + 64];

    for (size_t n = 0; n < s.n; n++)
        ck_assert_int_eq(parse(slice_of(s.p, n)), PROXY_HEADER_MORE);
    ck_assert_int_eq(parse(s), expected);
    ck_assert_uint_eq(used, s.n);
    memcpy(longer, s.p, s.n);
    memset(longer + s.n, 'G', 64);
    used = 0;
    ck_assert_int_eq(parse(slice_of(longer, s.n + 64)), expected);
    ck_assert_uint_eq(used, s.n);
}

static void refuses(struct slice s)
{
    bool is_bad = false;

    /* Once bad it stays so. */
    for (size_t n = 0; n <= s.n; n++) {
        enum proxy_header r = parse(slice_of(s.p, n));
        ck_assert(r == (is_bad ? PROXY_HEADER_BAD : r));
        ck_assert(r == PROXY_HEADER_MORE || r == PROXY_HEADER_BAD);
        is_bad = r == PROXY_HEADER_BAD;
    }
    ck_assert_msg(is_bad, "taken: %.*s", SLICE_ARG(s));
}

static void is_text(const struct ip *ip, const char *text, unsigned port)
{
    char buf[ADDR_TEXT_MAX];

    ip_format(ip, buf);
    ck_assert_str_eq(buf, text);
    ck_assert_uint_eq(ip->port, port);
}

START_TEST(test_v1)
{
    takes(SLICE("PROXY TCP4 1.2.3.4 255.255.255.255 56324 443\r\n"), PROXY_HEADER_DONE);
    is_text(&src, "1.2.3.4", 56324);
    is_text(&dst, "255.255.255.255", 443);
    takes(SLICE("PROXY TCP4 0.0.0.0 0.0.0.0 0 65535\r\n"), PROXY_HEADER_DONE);
    ck_assert_uint_eq(dst.port, 65535);
    takes(SLICE("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), PROXY_HEADER_DONE);
    is_text(&src, "2001:db8::1", 1);
    ck_assert_uint_eq(src.family, AF_INET6);
    is_text(&dst, "::1", 2);
    takes(SLICE("PROXY UNKNOWN\r\n"), PROXY_HEADER_LOCAL);
    takes(SLICE("PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n"), PROXY_HEADER_LOCAL);
}
END_TEST

START_TEST(test_v1_longest)
{
    char line[128];
    int n = snprintf(line, sizeof line, "PROXY UNKNOWN %091d\r\n", 0);

    ck_assert_int_eq(n, 107);
    takes(slice_of(line, 107), PROXY_HEADER_LOCAL);
    n = snprintf(line, sizeof line, "PROXY UNKNOWN %092d\r\n", 0);
    refuses(slice_of(line, (size_t)n));
}
END_TEST

START_TEST(test_v1_refused)
{
    static const char *const bad[] = {
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4  1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1  2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 000002\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 ::1 1.2.3.4 1 2\r\n",
        "PROXY TCP6 ::1%1 ::1 1 2\r\n",
        "PROXY TCP6 12345::1 ::1 1 2\r\n",
        "PROXY TCP5 ::1 ::1 1 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4\t1.2.3.4 1.2.3.4 1 2\r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN \n\r\n",
        "PROXY UNKNOWN a\rb\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(slice_str(bad[i]));
    refuses(BYTES("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"));
    refuses(BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 1\0 2\r\n"));
}
END_TEST

START_TEST(test_v2)
{
    takes(BYTES(SIGNATURE "\x21\x11\0\x0c\x01\x02\x03\x04\x0a\0\0\x01\x12\x34\x01\xbb"),
          PROXY_HEADER_DONE);
    is_text(&src, "1.2.3.4", 0x1234);
    is_text(&dst, "10.0.0.1", 443);
    ck_assert_uint_eq(dst.family, AF_INET);
    /* With a TLV behind. */
    takes(BYTES(SIGNATURE "\x21\x11\0\x11\x01\x02\x03\x04\x0a\0\0\x01\0\x01\0\x02\x04\0\x02hi"),
          PROXY_HEADER_DONE);
    takes(BYTES(SIGNATURE "\x21\x21\0\x24"
                          "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                          "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
                          "\0\x07\0\x08"),
          PROXY_HEADER_DONE);
    is_text(&src, "2001:db8::1", 7);
    is_text(&dst, "2001:db8::2", 8);
}
END_TEST

START_TEST(test_v2_unix_and_local)
{
    char unix_header[16 + 216] = SIGNATURE "\x21\x31\0\xd8/run/a";

    takes(slice_of(unix_header, sizeof unix_header), PROXY_HEADER_DONE);
    is_text(&src, "unix", 0);
    ck_assert_uint_eq(src.family, AF_UNIX);
    ck_assert_uint_eq(dst.family, AF_UNIX);
    takes(BYTES(SIGNATURE "\x20\0\0\0"), PROXY_HEADER_LOCAL);
    takes(BYTES(SIGNATURE "\x20\x11\0\x03xyz"), PROXY_HEADER_LOCAL);
    takes(BYTES(SIGNATURE "\x20\xff\0\0"), PROXY_HEADER_LOCAL);
    takes(BYTES(SIGNATURE "\x21\0\0\0"), PROXY_HEADER_LOCAL);
}
END_TEST

START_TEST(test_v2_sizes)
{
    static char h[PROXY_HEADER_MAX + 1] = SIGNATURE "\x21\x11\x0f\xf0";

    takes(slice_of(h, PROXY_HEADER_MAX), PROXY_HEADER_DONE);
    h[15] = (char)0xf1;
    refuses(slice_of(h, PROXY_HEADER_MAX + 1));
    h[14] = 0x10;
    refuses(slice_of(h, 16));
    h[14] = 0;
    h[15] = 11;
    refuses(slice_of(h, 16));
    h[13] = 0x21;
    h[15] = 35;
    refuses(slice_of(h, 16));
    h[13] = 0x31;
    h[15] = (char)215;
    refuses(slice_of(h, 16));
}
END_TEST

START_TEST(test_v2_refused)
{
    refuses(BYTES("\r\n\r\n\0\r\nQUIT\r"));
    refuses(BYTES("\r\n\r\nGET / HTTP/1.1"));
    refuses(BYTES(SIGNATURE "\x11\x11\0\x0c"));
    refuses(BYTES(SIGNATURE "\x22\x11\0\x0c"));
    refuses(BYTES(SIGNATURE "\x21\x12\0\x0c"));
    refuses(BYTES(SIGNATURE "\x21\x22\0\x24"));
    refuses(BYTES(SIGNATURE "\x21\x32\0\xd8"));
    refuses(BYTES(SIGNATURE "\x21\x01\0\x0c"));
    refuses(BYTES(SIGNATURE "\x21\x41\0\x0c"));
}
END_TEST

static struct ip ip_text(const char *text, uint16_t port)
{
    struct ip ip;

    ck_assert(ip_parse(slice_str(text), &ip));
    ip.port = port;
    return ip;
}

static void same(const struct ip *a, const struct ip *b)
{
    ck_assert_mem_eq(a->b, b->b, 16);
    ck_assert_uint_eq(a->port, b->port);
    ck_assert_uint_eq(a->family, b->family);
}

START_TEST(test_written_is_read)
{
    static const char *const texts[] = { "1.2.3.4", "255.255.255.255", "::1",
                                         "2001:db8:1234:5678:9abc:def0:1234:5678" };
    char buf[PROXY_HEADER_MAX];

    for (unsigned i = 0; i < 16; i++) {
        struct ip from = ip_text(texts[i / 4], 65535), to = ip_text(texts[i % 4], 1);
        enum proxy_header expected = i / 8 == i % 4 / 2 ? PROXY_HEADER_DONE : PROXY_HEADER_LOCAL;
        size_t n = proxy_header_write_v1(buf, &from, &to);
        ck_assert_uint_le(n, 108);
        takes(slice_of(buf, n), expected);
        if (expected == PROXY_HEADER_DONE) {
            same(&src, &from);
            same(&dst, &to);
        }
        n = proxy_header_write_v2(buf, &from, &to);
        ck_assert_uint_le(n, 108);
        src = dst = (struct ip){ .port = 0 };
        takes(slice_of(buf, n), expected);
        if (expected == PROXY_HEADER_DONE) {
            same(&src, &from);
            same(&dst, &to);
        }
    }
}
END_TEST

START_TEST(test_unix_is_written_unknown)
{
    struct ip none = { .family = AF_UNIX };
    char buf[PROXY_HEADER_MAX];
    size_t n = proxy_header_write_v1(buf, &none, &none);

    ck_assert(slice_eq(slice_of(buf, n), SLICE("PROXY UNKNOWN\r\n")));
    n = proxy_header_write_v2(buf, &none, &none);
    ck_assert(slice_eq(slice_of(buf, n), BYTES(SIGNATURE "\x20\0\0\0")));
}
END_TEST

/* Random bytes, and good headers with a few bytes changed: a result must hold for every longer
 * input, BAD must stay, and a header's length must lie within the bytes. */
START_TEST(test_random_bytes)
{
    static const char *const seeds[] = { "PROXY TCP4 1.2.3.4 10.20.30.40 1024 443\r\nGET /",
                                         "PROXY TCP6 2001:db8::1 ::1 1024 443\r\nGET /",
                                         "PROXY UNKNOWN a b c\r\nGET /" };
    static const char v2[] = SIGNATURE "\x21\x11\0\x0e\1\2\3\4\1\2\3\5\0\1\0\2ab";
    const char *rounds = getenv("PROXY_HEADER_ROUNDS");
    unsigned long n = rounds ? strtoul(rounds, NULL, 10) : 20000;

    srand(20261123);
    for (unsigned long i = 0; i < n; i++) {
        char b[64];
        enum proxy_header before = PROXY_HEADER_MORE;
        for (size_t k = 0; k < sizeof b; k++)
            b[k] = (char)rand();
        unsigned seed = (unsigned)rand() % 5;
        if (seed < 3)
            memcpy(b, seeds[seed], strlen(seeds[seed]));
        else if (seed == 3)
            memcpy(b, v2, sizeof v2 - 1);
        for (int changes = rand() % 4; changes > 0; changes--)
            b[(unsigned)rand() % sizeof b] = (char)rand();
        for (size_t k = 0; k <= sizeof b; k++) {
            used = SIZE_MAX;
            enum proxy_header r = parse(slice_of(b, k));
            ck_assert(before == PROXY_HEADER_MORE || r == before);
            if (r == PROXY_HEADER_DONE || r == PROXY_HEADER_LOCAL)
                ck_assert_uint_le(used, k);
            before = r;
        }
    }
}
END_TEST

UNIT_MAIN("proxy_header", test_v1, test_v1_longest, test_v1_refused, test_v2,
          test_v2_unix_and_local, test_v2_sizes, test_v2_refused, test_written_is_read,
          test_unix_is_written_unknown, test_random_bytes)
