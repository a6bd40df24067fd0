/* Addresses and networks. */
#include "common/base/addr.h"

#include <arpa/inet.h>
#include "t/unit/unit.h"

static void assert_round(const char *text, const char *expected)
{
    struct addr a;
    struct slice name;
    char buf[ADDR_TEXT_MAX];

    ck_assert_msg(addr_parse(slice_str(text), &a, &name) == ADDR_OK, "%s", text);
    ck_assert_str_eq(addr_format(&a, buf), expected);
    ck_assert_ptr_null(name.p);
}

static void assert_bad(const char *text, enum addr_parse expected)
{
    struct addr a;
    struct slice name;

    ck_assert_msg(addr_parse(slice_str(text), &a, &name) == expected, "%s", text);
    ck_assert_uint_eq(a.len, 0);
    ck_assert_ptr_null(name.p);
}

static struct ip ip(const char *text)
{
    struct ip out;

    ck_assert_msg(ip_parse(slice_str(text), &out), "%s", text);
    return out;
}

static bool contains(const char *net_text, const char *ip_text)
{
    struct net net;
    struct ip addr = ip(ip_text);
    const char *why;

    ck_assert_msg(net_parse(slice_str(net_text), &net, &why), "%s", net_text);
    return net_contains(&net, &addr);
}

START_TEST(parses_and_formats)
{
    assert_round("127.0.0.1:80", "127.0.0.1:80");
    assert_round("255.255.255.255:65535", "255.255.255.255:65535");
    assert_round("[::1]:8080", "[::1]:8080");
    assert_round("[2001:DB8:0:0::1]:1", "[2001:db8::1]:1");
    assert_round(":443", "[::]:443");
    assert_round("unix:/run/app.sock", "unix:/run/app.sock");
    assert_round("unix:/with:colons:80", "unix:/with:colons:80");
}
END_TEST

START_TEST(lengths_are_what_bind_wants)
{
    struct addr a;
    struct slice name;

    ck_assert_int_eq(addr_parse(SLICE("1.2.3.4:5"), &a, &name), ADDR_OK);
    ck_assert_uint_eq(a.len, sizeof(struct sockaddr_in));
    ck_assert_int_eq(addr_parse(SLICE(":5"), &a, &name), ADDR_OK);
    ck_assert_uint_eq(a.len, sizeof(struct sockaddr_in6));
    ck_assert_uint_eq(ntohs(a.in6.sin6_port), 5);
    ck_assert_int_eq(addr_parse(SLICE("unix:/x"), &a, &name), ADDR_OK);
    ck_assert_uint_eq(a.len, offsetof(struct sockaddr_un, sun_path) + 3);
}
END_TEST

START_TEST(names_are_left_to_a_resolver)
{
    static const char *const good[] = { "localhost:80", "a-b.example.com:80", "app_1:80",
                                        "xn--bcher-kva.example:80", "example.com.:80", "1a:80",
                                        "4.example:80" };
    struct addr a;
    struct slice name;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ck_assert_msg(addr_parse(slice_str(good[i]), &a, &name) == ADDR_NAME, "%s", good[i]);
        ck_assert_ptr_eq(name.p, good[i]);
        ck_assert_uint_eq(name.n, strlen(good[i]) - 3);
        ck_assert_uint_eq(ntohs(a.in4.sin_port), 80);
        ck_assert_uint_eq(a.len, 0);
    }
}
END_TEST

START_TEST(says_what_is_wrong)
{
    assert_bad("", ADDR_BAD_HOST);
    assert_bad("127.0.0.1", ADDR_NO_PORT);
    assert_bad("localhost", ADDR_NO_PORT);
    assert_bad("[::1]", ADDR_NO_PORT);
    assert_bad("[::1", ADDR_NO_PORT);
    assert_bad("127.0.0.1:", ADDR_BAD_PORT);
    assert_bad(":0", ADDR_BAD_PORT);
    assert_bad("127.0.0.1:65536", ADDR_BAD_PORT);
    assert_bad("127.0.0.1:+80", ADDR_BAD_PORT);
    assert_bad("127.0.0.1:80 ", ADDR_BAD_PORT);
    assert_bad("[::1]80", ADDR_BAD_HOST);
    assert_bad("[]:80", ADDR_BAD_HOST);
    assert_bad("[127.0.0.1]:80", ADDR_BAD_HOST);
    assert_bad("::1:80", ADDR_BAD_HOST);
    assert_bad("256.0.0.1:80", ADDR_BAD_HOST);
    assert_bad("1.2.3:80", ADDR_BAD_HOST);
    assert_bad("a..b:80", ADDR_BAD_HOST);
    assert_bad(".:80", ADDR_BAD_HOST);
    assert_bad("-a:80", ADDR_BAD_HOST);
    assert_bad("a b:80", ADDR_BAD_HOST);
    assert_bad("a/b:80", ADDR_BAD_HOST);
    assert_bad("unix:", ADDR_BAD_HOST);
    assert_bad("unix:relative", ADDR_BAD_HOST);
}
END_TEST

START_TEST(a_nul_is_never_the_end)
{
    struct addr a;
    struct slice name;
    struct ip out;

    ck_assert_int_eq(addr_parse(SLICE("1.2.3.4\0:80"), &a, &name), ADDR_BAD_HOST);
    ck_assert_int_eq(addr_parse(SLICE("unix:/a\0b"), &a, &name), ADDR_BAD_HOST);
    ck_assert(!ip_parse(SLICE("1.2.3.4\0"), &out));
}
END_TEST

START_TEST(too_long_is_said)
{
    char text[400];
    struct addr a;
    struct slice name;

    memset(text, 'p', sizeof text);
    memcpy(text, "unix:/", 6);
    ck_assert_int_eq(addr_parse(slice_of(text, 5 + 107), &a, &name), ADDR_OK);
    ck_assert_int_eq(addr_parse(slice_of(text, 5 + 108), &a, &name), ADDR_TOO_LONG);

    memset(text, 'a', sizeof text);
    for (size_t i = 50; i < sizeof text; i += 50)
        text[i] = '.';
    memcpy(text + 253, ":80", 3);
    ck_assert_int_eq(addr_parse(slice_of(text, 256), &a, &name), ADDR_NAME);
    memcpy(text + 253, "a:80", 4);
    ck_assert_int_eq(addr_parse(slice_of(text, 257), &a, &name), ADDR_TOO_LONG);
    memset(text, 'a', 64);
    memcpy(text + 64, ":80", 3);
    ck_assert_int_eq(addr_parse(slice_of(text, 67), &a, &name), ADDR_BAD_HOST);
}
END_TEST

START_TEST(every_outcome_has_words)
{
    for (int e = ADDR_OK; e <= ADDR_TOO_LONG; e++)
        ck_assert_uint_gt(strlen(addr_parse_error((enum addr_parse)e)), 5);
}
END_TEST

START_TEST(formats_the_odd_ones)
{
    struct addr a = { .len = 0 };
    char buf[ADDR_TEXT_MAX];

    ck_assert_str_eq(addr_format(&a, buf), "-");
    a.un.sun_family = AF_UNIX;
    a.len = offsetof(struct sockaddr_un, sun_path);
    ck_assert_str_eq(addr_format(&a, buf), "unix:");
    memcpy(a.un.sun_path, "\0name", 5);
    a.len += 5;
    ck_assert_str_eq(addr_format(&a, buf), "unix:@name");
    memset(a.un.sun_path, 'x', sizeof a.un.sun_path); /* full, without a NUL */
    a.len = sizeof a.un;
    ck_assert_uint_eq(strlen(addr_format(&a, buf)), 5 + 108);
}
END_TEST

START_TEST(equality)
{
    static const char *const text[] = { "1.2.3.4:5", "1.2.3.4:6", "1.2.3.5:5", "[::1]:5", "[::1]:6",
                                        "[::2]:5", "unix:/a", "unix:/b", "unix:/aa" };
    const size_t n = sizeof text / sizeof text[0];

    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            struct addr a, b;
            struct slice name;

            (void)addr_parse(slice_str(text[i]), &a, &name);
            (void)addr_parse(slice_str(text[k]), &b, &name);
            ck_assert_msg(addr_eq(&a, &b) == (i == k), "%s %s", text[i], text[k]);
        }
    }
}
END_TEST

START_TEST(ips_round)
{
    static const char *const text[] = { "0.0.0.0", "127.0.0.1", "10.20.30.99", "255.100.9.199",
                                        "::", "::1", "2001:db8::5" };
    static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "01.2.3.4", "[::1]", "::1:80:",
                                       "1.2.3.4:80", "fe80::1%lo", " 1.2.3.4", "unix" };
    char buf[ADDR_TEXT_MAX];
    struct ip out;

    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        out = ip(text[i]);
        ck_assert_uint_eq(ip_format(&out, buf), strlen(text[i]));
        ck_assert_str_eq(buf, text[i]);
        ck_assert_uint_eq(out.port, 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!ip_parse(slice_str(bad[i]), &out), "%s", bad[i]);
}
END_TEST

START_TEST(a_mapped_address_is_ipv4)
{
    struct addr a;
    struct slice name;
    struct ip from_v6, from_v4;
    char buf[ADDR_TEXT_MAX];

    ck_assert_int_eq(addr_parse(SLICE("[::ffff:9.8.7.6]:99"), &a, &name), ADDR_OK);
    from_v6 = ip_of(&a.sa);
    ck_assert_int_eq(addr_parse(SLICE("9.8.7.6:99"), &a, &name), ADDR_OK);
    from_v4 = ip_of(&a.sa);
    ck_assert_mem_eq(from_v6.b, from_v4.b, 16);
    ck_assert_uint_eq(from_v6.family, AF_INET);
    ck_assert_uint_eq(from_v4.port, 99);
    (void)ip_format(&from_v6, buf);
    ck_assert_str_eq(buf, "9.8.7.6");
}
END_TEST

START_TEST(ip_to_addr_and_back)
{
    static const char *const text[] = { "1.2.3.4:5", "[2001:db8::1]:65535" };
    struct addr a, b;
    struct slice name;
    struct ip peer;
    char buf[ADDR_TEXT_MAX];

    for (size_t i = 0; i < 2; i++) {
        (void)addr_parse(slice_str(text[i]), &a, &name);
        peer = ip_of(&a.sa);
        ip_to_addr(&peer, &b);
        ck_assert(addr_eq(&a, &b));
        ck_assert_uint_eq(a.len, b.len);
    }
    (void)addr_parse(SLICE("unix:/x"), &a, &name);
    peer = ip_of(&a.sa);
    ck_assert_uint_eq(peer.family, AF_UNIX);
    ck_assert_uint_eq(peer.port, 0);
    ck_assert_uint_eq(ip_format(&peer, buf), 4);
    ck_assert_str_eq(buf, "unix");
    ip_to_addr(&peer, &b);
    ck_assert_str_eq(addr_format(&b, buf), "unix:");
}
END_TEST

START_TEST(networks_contain)
{
    ck_assert(contains("10.0.0.0/8", "10.255.0.1"));
    ck_assert(!contains("10.0.0.0/8", "11.0.0.0"));
    ck_assert(contains("192.168.128.0/17", "192.168.200.1"));
    ck_assert(!contains("192.168.128.0/17", "192.168.127.255"));
    ck_assert(contains("127.0.0.1", "127.0.0.1"));
    ck_assert(!contains("127.0.0.1", "127.0.0.2"));
    ck_assert(contains("0.0.0.0/0", "8.8.8.8"));
    ck_assert(!contains("0.0.0.0/0", "::1"));
    ck_assert(contains("::/0", "2001::"));
    ck_assert(!contains("::/0", "8.8.8.8"));
    ck_assert(contains("2001:db8::/32", "2001:db8:ffff::1"));
    ck_assert(!contains("2001:db8::/32", "2001:db9::"));
    ck_assert(contains("2001:db8::/33", "2001:db8:7fff::"));
    ck_assert(!contains("2001:db8::/33", "2001:db8:8000::"));
    ck_assert(contains("::1", "::1"));
    ck_assert(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
}
END_TEST

START_TEST(unix_is_a_network)
{
    struct net net;
    struct ip peer = { .family = AF_UNIX }, other = ip("::");
    const char *why;

    ck_assert(net_parse(SLICE("unix"), &net, &why));
    ck_assert(net_contains(&net, &peer));
    ck_assert(!net_contains(&net, &other));
    ck_assert(net_parse(SLICE("::/0"), &net, &why));
    ck_assert(!net_contains(&net, &peer));
}
END_TEST

START_TEST(bad_networks_say_why)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        { "", "not a network" },
        { "10.0.0/8", "not a network" },
        { "ten", "not a network" },
        { "10.0.0.0/33", "0 to 32" },
        { "10.0.0.0/", "0 to 32" },
        { "10.0.0.0/-1", "0 to 32" },
        { "10.0.0.0/8/8", "0 to 32" },
        { "::/129", "0 to 128" },
        { "10.0.0.1/8", "bits are set" },
        { "10.1.0.0/15", "bits are set" },
        { "2001:db8::1/127", "bits are set" },
        { "::ffff:0.0.0.0/90", "bits are set" },
    };
    struct net net;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *why = NULL;

        ck_assert_msg(!net_parse(slice_str(bad[i].text), &net, &why), "%s", bad[i].text);
        ck_assert_msg(strstr(why, bad[i].part) != NULL, "%s: %s", bad[i].text, why);
    }
}
END_TEST

UNIT_MAIN("addr", parses_and_formats, lengths_are_what_bind_wants, names_are_left_to_a_resolver,
          says_what_is_wrong, a_nul_is_never_the_end, too_long_is_said, every_outcome_has_words,
          formats_the_odd_ones, equality, ips_round, a_mapped_address_is_ipv4,
          ip_to_addr_and_back, networks_contain, unix_is_a_network, bad_networks_say_why)
