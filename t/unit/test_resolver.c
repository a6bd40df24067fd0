/* The resolver against a name server in the same loop: what it reports, and when it asks again. */
#include "helper/resolver.h"

#include <arpa/nameser.h>
#include <fcntl.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "t/unit/conf_fixture.h"

#define SILENT 99

struct answer {
    int rcode;
    uint32_t ttl;
    const char *v4[4], *v6[4]; /* NULL ends */
    const char *target;        /* SRV: port 8000 + priority, weight 7, priority 1, then 2, ... */
    unsigned targets;
};

static struct loop loop;
static struct watch watch;
static int server_fd;
static struct answer says;
static unsigned asked, reports;
static struct names names;
static struct resolver resolver;
static struct conf_fixture cf;
static struct addr at;
static bool takes = true;

/* ---- the name server ---- */

static size_t put_record(unsigned char *out, unsigned type, const void *data, size_t n)
{
    unsigned char *p = out;

    NS_PUT16(0xc00c, p);
    NS_PUT16(type, p);
    NS_PUT16(ns_c_in, p);
    NS_PUT32(says.ttl, p);
    NS_PUT16(n, p);
    memcpy(p, data, n);
    return (size_t)(p - out) + n;
}

static size_t put_addresses(unsigned char *out, unsigned type, const char *const *list,
                            unsigned *count)
{
    size_t n = 0;

    for (unsigned i = 0; i < 4 && list[i]; i++, ++*count) {
        struct ip ip;

        ck_assert(ip_parse(slice_str(list[i]), &ip));
        n += type == ns_t_a ? put_record(out + n, type, ip.b + 12, 4)
                            : put_record(out + n, type, ip.b, 16);
    }
    return n;
}

static size_t put_targets(unsigned char *out, unsigned *count)
{
    size_t n = 0;

    for (unsigned i = 1; i <= says.targets; i++, ++*count) {
        unsigned char data[64], *p = data;
        size_t length = strlen(says.target);

        NS_PUT16(i, p);
        NS_PUT16(7, p);
        NS_PUT16(8000 + i, p);
        *p++ = (unsigned char)length;
        memcpy(p, says.target, length + 1);
        n += put_record(out + n, ns_t_srv, data, (size_t)(p - data) + length + 1);
    }
    return n;
}

static void on_query(struct watch *w, uint32_t events)
{
    unsigned char query[512], out[1024];
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    ssize_t got;

    (void)w;
    (void)events;
    while ((got = recvfrom(server_fd, query, sizeof query, 0, (void *)&peer, &len)) > 0) {
        size_t end = 12 + strlen((const char *)query + 12) + 1, n = end + 4;
        unsigned type = ns_get16(query + end), count = 0;

        asked++;
        if (says.rcode == SILENT)
            continue;
        memcpy(out, query, n);
        if (says.rcode == 0 && type == ns_t_a)
            n += put_addresses(out + n, type, says.v4, &count);
        else if (says.rcode == 0 && type == ns_t_aaaa)
            n += put_addresses(out + n, type, says.v6, &count);
        else if (says.rcode == 0 && type == ns_t_srv)
            n += put_targets(out + n, &count);
        memcpy(out + 2, (unsigned char[]){ 0x85, (unsigned char)(0x80 | says.rcode), 0, 1, 0,
                                           (unsigned char)count, 0, 0, 0, 0 }, 10);
        (void)sendto(server_fd, out, n, 0, (void *)&peer, len);
    }
}

/* ---- the test's side ---- */

static bool on_answer(struct resolver *r, const char *name, const struct conf_addresses *found)
{
    (void)r;
    reports++;
    if (takes)
        ck_assert(names_set(&names, slice_str(name), found));
    return takes;
}

static void begin(void)
{
    socklen_t len = sizeof at.in4;
    struct slice none;

    fixture_begin(&cf);
    ck_assert_int_eq(loop_init(&loop), 0);
    server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(addr_parse(SLICE("127.0.0.1:1"), &at, &none), ADDR_OK);
    at.in4.sin_port = 0;
    ck_assert_int_eq(bind(server_fd, &at.sa, at.len), 0);
    ck_assert_int_eq(getsockname(server_fd, &at.sa, &len), 0);
    watch.fn = on_query;
    ck_assert_int_eq(loop_add_input(&loop, server_fd, &watch), 0);
    says = (struct answer){ .ttl = 300 };
    asked = reports = 0;
    takes = true;
    names_init(&names);
    resolver_init(&resolver, &loop, &names, on_answer);
}

static void end(void)
{
    resolver_fini(&resolver);
    names_fini(&names);
    fd_close(&server_fd);
    loop_fini(&loop);
    fixture_end(&cf);
}

static void follow(const char *servers)
{
    char text[512], addr[ADDR_TEXT_MAX];

    snprintf(text, sizeof text, "[global]\nnameserver = %s\n[listener l]\nbind = 127.0.0.1:1\n"
             "default_backend = b\n[backend b]\nserver = %s\n", addr_format(&at, addr), servers);
    fixture_good(&cf, text);
    names_follow(&names, cf.conf);
    resolver_follow(&resolver, cf.conf);
}

#define UNTIL(condition)                     \
    do {                                     \
        while (!(condition))                 \
            ck_assert_int_eq(loop_once(&loop, 1000), 0); \
    } while (0)

static size_t count_of(const char *name)
{
    const struct conf_addresses *a = names_get(&names, slice_str(name));

    return a ? a->n : 0;
}

START_TEST(test_both_families)
{
    begin();
    says.v4[0] = "10.0.0.2";
    says.v4[1] = "10.0.0.1";
    says.v6[0] = "2001:db8::1";
    follow("api.test:80");
    UNTIL(reports == 1);
    ck_assert_uint_eq(asked, 2);
    ck_assert_uint_eq(count_of("api.test:80"), 3);

    char text[ADDR_TEXT_MAX];
    const struct conf_addresses *a = names_get(&names, SLICE("api.test:80"));
    ck_assert_str_eq(addr_format(&a->v[0].addr, text), "10.0.0.1:80");
    ck_assert_str_eq(addr_format(&a->v[2].addr, text), "[2001:db8::1]:80");
    end();
}
END_TEST

START_TEST(test_ttl_and_nothing_new)
{
    begin();
    says.v4[0] = "10.0.0.1";
    says.ttl = 0; /* as good as a second */
    follow("api.test:80");
    UNTIL(asked == 4);
    ck_assert_uint_eq(reports, 1);
    says.v4[0] = "10.0.0.2";
    UNTIL(reports == 2);
    end();
}
END_TEST

START_TEST(test_failures_keep_and_come_again)
{
    begin();
    says.v4[0] = "10.0.0.1";
    says.ttl = 1;
    follow("api.test:80");
    UNTIL(reports == 1);
    says.rcode = ns_r_nxdomain;
    UNTIL(asked == 6);
    says.rcode = ns_r_servfail;
    ck_assert_uint_eq(count_of("api.test:80"), 1);
    ck_assert_uint_eq(reports, 1);
    says.rcode = 0;
    says.v4[0] = "10.0.0.2";
    UNTIL(reports == 2);
    end();
}
END_TEST

START_TEST(test_records_and_their_targets)
{
    begin();
    says.target = "one";
    says.targets = 2;
    says.v4[0] = "10.0.0.1";
    follow("srv:_http._tcp.test");
    UNTIL(reports == 1);
    ck_assert_uint_eq(asked, 5);

    const struct conf_addresses *a = names_get(&names, SLICE("srv:_http._tcp.test"));
    ck_assert_uint_eq(a->n, 2);
    ck_assert_uint_eq(ntohs(a->v[0].addr.in4.sin_port), 8001);
    ck_assert_uint_eq(a->v[0].weight, 7);
    ck_assert(!a->v[0].is_backup && a->v[1].is_backup);
    ck_assert_str_eq(a->v[1].host, "one");
    end();
}
END_TEST

/* The master's channel may be full. */
START_TEST(test_an_answer_that_is_not_taken_comes_again)
{
    begin();
    takes = false;
    says.v4[0] = "10.0.0.1";
    follow("api.test:80");
    UNTIL(reports == 1);
    takes = true;
    UNTIL(reports == 2);
    ck_assert_uint_eq(count_of("api.test:80"), 1);
    end();
}
END_TEST

START_TEST(test_a_generation_while_it_waits)
{
    begin();
    says.rcode = SILENT;
    follow("api.test:80, old.test:80");
    UNTIL(asked == 4);
    says.rcode = 0;
    says.v4[0] = "10.0.0.1";
    follow("api.test:80, new.test:80");
    UNTIL(reports == 2);
    ck_assert_uint_eq(count_of("new.test:80"), 1);
    says.rcode = SILENT;
    follow("late.test:80");
    UNTIL(asked == 10);
    end(); /* with one under way */
}
END_TEST

START_TEST(test_localhost_is_ipv4)
{
    begin();
    follow("localhost:80");
    UNTIL(reports == 1);
    ck_assert_uint_eq(asked, 0);

    const struct conf_addresses *a = names_get(&names, SLICE("localhost:80"));
    ck_assert_uint_eq(a->n, 1);
    ck_assert_int_eq(a->v[0].addr.sa.sa_family, AF_INET);
    end();
}
END_TEST

UNIT_MAIN("resolver", test_both_families, test_ttl_and_nothing_new,
          test_failures_keep_and_come_again, test_records_and_their_targets,
          test_an_answer_that_is_not_taken_comes_again, test_a_generation_while_it_waits,
          test_localhost_is_ipv4)
