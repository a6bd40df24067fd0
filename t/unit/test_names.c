/* Names: what an answer is, what it makes of a backend's servers, and how it is handed on. */
#include "common/core/names.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "t/unit/conf_fixture.h"

#define MAX 8

struct given {
    struct conf_address v[MAX];
    size_t n;
};

static void give(struct given *g, const char *addr, uint32_t weight, bool is_backup,
                 const char *host)
{
    struct slice name;
    struct conf_address *a = &g->v[g->n++];

    *a = (struct conf_address){ .host = host, .weight = weight, .is_backup = is_backup };
    ck_assert_int_eq(addr_parse(slice_str(addr), &a->addr, &name), ADDR_OK);
}

static bool set(struct names *n, const char *name, struct given *g)
{
    return names_set(n, slice_str(name), &(struct conf_addresses){ g->v, g->n });
}

static bool set_two(struct names *n, const char *name, const char *one, const char *two)
{
    struct given g = { .n = 0 };

    give(&g, one, 0, false, "");
    if (two)
        give(&g, two, 0, false, "");
    return set(n, name, &g);
}

static void expect_server(const struct conf_backend *b, size_t i, const char *name,
                          const char *text, const char *addr)
{
    const struct conf_server *s = &b->server.v[i];
    char buf[ADDR_TEXT_MAX];

    ck_assert_uint_lt(i, b->server.n);
    ck_assert_str_eq(s->name, name);
    ck_assert_str_eq(s->text, text);
    ck_assert_str_eq(s->addr.len > 0 ? addr_format(&s->addr, buf) : "-", addr);
}

START_TEST(test_order_and_duplicates_do_not_matter)
{
    struct names n;
    struct given g = { .n = 0 };

    names_init(&n);
    ck_assert(!set(&n, "a:1", &g)); /* nothing is no answer */
    ck_assert_ptr_null(names_get(&n, SLICE("a:1")));
    ck_assert(set_two(&n, "a:1", "10.0.0.2:1", "10.0.0.1:1"));
    ck_assert(!set_two(&n, "a:1", "10.0.0.1:1", "10.0.0.2:1"));
    give(&g, "10.0.0.1:1", 0, false, "");
    give(&g, "10.0.0.2:1", 0, false, "");
    give(&g, "10.0.0.1:1", 0, false, "");
    ck_assert(!set(&n, "a:1", &g));
    ck_assert_uint_eq(names_get(&n, SLICE("a:1"))->n, 2);
    ck_assert_uint_eq(n.serial, 1);
    give(&g, "[::1]:1", 0, false, "");
    ck_assert(set(&n, "a:1", &g));
    ck_assert_uint_eq(n.serial, 2);
    ck_assert_int_eq(names_get(&n, SLICE("a:1"))->v[2].addr.sa.sa_family, AF_INET6);
    names_fini(&n);
}
END_TEST

START_TEST(test_servers_of_a_backend)
{
    struct conf_fixture x;
    struct names n;
    struct names_view v;
    const struct conf_backend *b;

    fixture_begin(&x);
    names_init(&n);
    fixture_good(&x, "[listener l]\nbind = 127.0.0.1:1\ndefault_backend = b\n[backend b]\n"
                     "server = 10.0.0.1:80, api.test:80 name=api weight=3 backup, "
                     "late.test:80, 10.0.0.9:80\n");
    b = names_view(&v, &n, &x.conf->backends[0]);
    ck_assert_uint_eq(b->server.n, 4);
    expect_server(b, 1, "api", "api.test:80", "-");
    names_view_fini(&v);

    set_two(&n, "api.test:80", "10.0.0.2:80", NULL);
    b = names_view(&v, &n, &x.conf->backends[0]);
    ck_assert_uint_eq(b->server.n, 4);
    expect_server(b, 1, "api", "api.test:80", "10.0.0.2:80");
    names_view_fini(&v);

    /* One of them is there already: an entry before, or one behind, which is left out. */
    set_two(&n, "api.test:80", "10.0.0.2:80", "10.0.0.1:80");
    set_two(&n, "late.test:80", "[2001:db8::1]:80", "10.0.0.9:80");
    b = names_view(&v, &n, &x.conf->backends[0]);
    ck_assert_uint_eq(b->server.n, 4);
    expect_server(b, 0, "10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80");
    expect_server(b, 1, "10.0.0.2:80", "api.test:80", "10.0.0.2:80");
    ck_assert_uint_eq(b->server.v[1].weight, 3);
    ck_assert(b->server.v[1].is_backup && !b->server.v[0].is_backup);
    expect_server(b, 2, "10.0.0.9:80", "late.test:80", "10.0.0.9:80");
    expect_server(b, 3, "[2001:db8::1]:80", "late.test:80", "[2001:db8::1]:80");
    names_view_fini(&v);
    names_fini(&n);
    fixture_end(&x);
}
END_TEST

START_TEST(test_servers_of_records)
{
    struct conf_fixture x;
    struct names n;
    struct names_view v;
    struct given g = { .n = 0 };
    const struct conf_backend *b;

    fixture_begin(&x);
    names_init(&n);
    fixture_good(&x, "[listener l]\nbind = 127.0.0.1:1\ndefault_backend = b\n[backend b]\n"
                     "server = srv:_http._tcp.web.test max_conns=5\n[backend plain]\n"
                     "server = 10.0.0.1:1\n");
    ck_assert(x.conf->backends[0].server.v[0].is_srv);
    give(&g, "10.0.0.1:8000", 10, false, "a.test");
    give(&g, "10.0.0.2:8001", 20, true, "b.test");
    ck_assert(set(&n, "srv:_http._tcp.web.test", &g));
    b = names_view(&v, &n, &x.conf->backends[0]);
    ck_assert_uint_eq(b->server.n, 2);
    expect_server(b, 0, "10.0.0.1:8000", "a.test:8000", "10.0.0.1:8000");
    expect_server(b, 1, "10.0.0.2:8001", "b.test:8001", "10.0.0.2:8001");
    ck_assert_uint_eq(b->server.v[0].weight, 10);
    ck_assert_uint_eq(b->server.v[1].max_conns, 5);
    ck_assert(b->server.v[1].is_backup && !b->server.v[0].is_backup);
    names_view_fini(&v);
    ck_assert_ptr_eq(names_view(&v, &n, &x.conf->backends[1]), &x.conf->backends[1]);
    names_view_fini(&v);
    names_fini(&n);
    fixture_end(&x);
}
END_TEST

START_TEST(test_users_and_what_is_forgotten)
{
    struct conf_fixture x;
    struct names n;
    struct names_users users;

    fixture_begin(&x);
    names_init(&n);
    fixture_good(&x, "[listener l]\nbind = 127.0.0.1:1\ndefault_backend = b\n[backend b]\n"
                     "server = a.test:1, a.test:1 name=x, b.test:1\n"
                     "[backend c]\nserver = a.test:1\n");
    names_users_init(&users, x.conf);
    ck_assert_uint_eq(names_users_of(&users, SLICE("a.test:1"))->backends.n, 2);
    ck_assert_uint_eq(names_users_of(&users, SLICE("b.test:1"))->backends.n, 1);
    ck_assert_ptr_null(names_users_of(&users, SLICE("c.test:1")));
    names_users_fini(&users);

    set_two(&n, "a.test:1", "10.0.0.1:1", NULL);
    set_two(&n, "gone.test:1", "10.0.0.1:1", NULL);
    names_follow(&n, x.conf);
    ck_assert_ptr_nonnull(names_get(&n, SLICE("a.test:1")));
    ck_assert_ptr_null(names_get(&n, SLICE("gone.test:1")));
    ck_assert_ptr_null(names_get(&n, SLICE("b.test:1")));
    names_fini(&n);
    fixture_end(&x);
}
END_TEST

START_TEST(test_handed_on)
{
    struct names from, to;
    struct given g = { .n = 0 };
    int fd;

    names_init(&from);
    names_init(&to);
    set_two(&from, "a:1", "10.0.0.1:1", "[::1]:1");
    give(&g, "10.0.0.3:9", 65535, true, "target.test");
    set(&from, "srv:_x._tcp.y", &g);
    fd = names_seal(&from, 0);
    ck_assert_int_eq(names_open(fd, &to), 0);
    fd_close(&fd);
    ck_assert(!set(&to, "srv:_x._tcp.y", &g));
    ck_assert(!set_two(&to, "a:1", "10.0.0.1:1", "[::1]:1"));

    /* Only what is new. */
    set_two(&from, "a:1", "10.0.0.2:1", NULL);
    names_fini(&to);
    names_init(&to);
    fd = names_seal(&from, 3);
    ck_assert_int_eq(names_open(fd, &to), 0);
    fd_close(&fd);
    ck_assert_uint_eq(to.map.count, 1);
    ck_assert_uint_eq(names_get(&to, SLICE("a:1"))->n, 1);

    fd = names_seal_one(SLICE("srv:_x._tcp.y"), names_get(&from, SLICE("srv:_x._tcp.y")));
    ck_assert_int_eq(names_open(fd, &to), 0);
    fd_close(&fd);
    ck_assert_uint_eq(to.map.count, 2);
    names_fini(&to);
    names_fini(&from);
}
END_TEST

static int open_text(const char *text, bool is_sealed)
{
    int fd = memfd_create("t", MFD_ALLOW_SEALING), rc;
    struct names n;

    names_init(&n);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    if (is_sealed)
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS,
                               F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL), 0);
    errno = 0;
    rc = names_open(fd, &n);
    ck_assert(rc == 0 || errno == EINVAL);
    names_fini(&n);
    fd_close(&fd);
    return rc;
}

START_TEST(test_nothing_is_believed)
{
    static const char *const bad[] = {
        "10.0.0.1:1 0 primary -\n", "= \n10.0.0.1:1 0 primary -\n", "= a:1\n", "= a:1\n= b:1\n",
        "= a:1\nunix:/x 0 primary -\n", "= a:1\n10.0.0.1 0 primary -\n",
        "= a:1\nname:1 0 primary -\n", "= a:1\n10.0.0.1:1 65536 primary -\n",
        "= a:1\n10.0.0.1:1 x primary -\n", "= a:1\n10.0.0.1:1 0 second -\n",
        "= a:1\n10.0.0.1:1 0 primary a b\n", "= a:1\n10.0.0.1:1 0 primary 1.2.3.4\n", "\n",
    };
    struct strbuf text;

    ck_assert_int_eq(open_text("", true), 0);
    ck_assert_int_eq(open_text("= a:1\n10.0.0.1:1 0 primary -\n", true), 0);
    ck_assert_int_eq(open_text("= a:1\n10.0.0.1:1 0 primary -\n", false), -1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(open_text(bad[i], true) == -1, "taken: %s", bad[i]);
    strbuf_init(&text);
    strbuf_adds(&text, "= a:1\n");
    for (unsigned i = 0; i <= CONF_ADDRESSES_MAX; i++)
        strbuf_printf(&text, "10.0.%u.%u:1 0 primary -\n", i / 256, i % 256);
    ck_assert_int_eq(open_text(text.s, true), -1);
    strbuf_fini(&text);
}
END_TEST

UNIT_MAIN("names", test_order_and_duplicates_do_not_matter, test_servers_of_a_backend,
          test_servers_of_records, test_users_and_what_is_forgotten, test_handed_on,
          test_nothing_is_believed)
