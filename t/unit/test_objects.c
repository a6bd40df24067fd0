/* Objects of servers that names have: made, taken out, and kept for when they come back. */
#include "master/objects.h"

#include "t/unit/conf_fixture.h"

static struct conf_fixture cf;
static struct segment *seg;
static struct names names;

static void begin(const char *servers)
{
    char text[512];

    fixture_begin(&cf);
    names_init(&names);
    seg = segment_create("stats");
    ck_assert_ptr_nonnull(seg);
    segment_use_slots(seg, 1);
    snprintf(text, sizeof text, "[listener l]\nbind = 127.0.0.1:1\ndefault_backend = b\n"
             "[backend b]\nserver = %s\n", servers);
    fixture_good(&cf, text);
    ck_assert(objects_apply(seg, &names, cf.conf, NULL, &cf.report));
}

static void end(void)
{
    segment_close(&seg);
    names_fini(&names);
    fixture_end(&cf);
}

static struct conf_address address(const char *text, uint32_t weight)
{
    struct conf_address a = { .host = "", .weight = weight };
    struct slice none;

    ck_assert_int_eq(addr_parse(slice_str(text), &a.addr, &none), ADDR_OK);
    return a;
}

/* The name has these addresses (NULL: only the first) from now on. */
static struct objects_count change(const char *one, const char *two, uint32_t weight)
{
    struct conf_address v[2] = { address(one, weight), address(two ? two : one, weight) };
    const struct conf_backend *b = &cf.conf->backends[0];
    struct names_view was, now;
    struct objects_count count = { 0, 0 };
    const struct conf_backend *before = names_view(&was, &names, b);

    (void)names_set(&names, slice_str(b->server.v[0].text), &(struct conf_addresses){ v, 2 });
    ck_assert(objects_change(seg, names_view(&now, &names, b), before, &count, &cf.report));
    names_view_fini(&now);
    names_view_fini(&was);
    return count;
}

static struct stats_server_shared *server(const char *name)
{
    char object[STATS_NAME_MAX];
    struct stats_server_shared *s;

    snprintf(object, sizeof object, "b/%s", name);
    s = STATS_SHARED(seg, server, object);
    ck_assert_ptr_nonnull(s);
    return s;
}

START_TEST(test_one_that_is_found)
{
    begin("api.test:80");
    ck_assert_uint_eq(server("api.test:80")->state, SERVER_DOWN);
    ck_assert_uint_eq(server("api.test:80")->why, SERVER_WHY_NO_NAME);
    ck_assert_uint_eq(server("api.test:80")->last_error, SERVER_ERROR_UNRESOLVED);
    ck_assert_uint_eq(change("10.0.0.1:80", NULL, 0).added, 0);
    ck_assert_uint_eq(server("api.test:80")->state, SERVER_UNCHECKED);
    ck_assert_uint_eq(server("api.test:80")->why, SERVER_WHY_NAME);
    ck_assert_uint_eq(server("api.test:80")->last_error, SERVER_ERROR_NONE);
    ck_assert_str_eq(server("api.test:80")->address, "10.0.0.1:80");
    end();
}
END_TEST

START_TEST(test_those_that_come_and_go)
{
    struct objects_count n;

    begin("api.test:80 weight=3, 10.0.0.9:80");
    n = change("10.0.0.1:80", "[2001:db8::1]:80", 0);
    ck_assert_uint_eq(n.added, 2);
    ck_assert_uint_eq(n.removed, 1);
    ck_assert_uint_eq(server("10.0.0.1:80")->weight, 3);
    ck_assert_uint_eq(server("[2001:db8::1]:80")->state, SERVER_UNCHECKED);
    n = change("10.0.0.1:80", "10.0.0.2:80", 0);
    ck_assert_uint_eq(n.added, 1);
    ck_assert_uint_eq(n.removed, 1);
    ck_assert_str_eq(server("10.0.0.9:80")->address, "10.0.0.9:80");
    end();
}
END_TEST

/* Of one that stays, an operator's word stays; one that comes back is as the configuration says. */
START_TEST(test_what_an_operator_said)
{
    begin("api.test:80");
    change("10.0.0.1:80", "10.0.0.2:80", 0);
    server("10.0.0.1:80")->admin = ADMIN_DRAIN;
    server("10.0.0.1:80")->weight = 9;
    change("10.0.0.1:80", "10.0.0.3:80", 0);
    ck_assert_uint_eq(server("10.0.0.1:80")->admin, ADMIN_DRAIN);
    ck_assert_uint_eq(server("10.0.0.1:80")->weight, 9);
    change("10.0.0.2:80", "10.0.0.3:80", 0);
    change("10.0.0.1:80", "10.0.0.3:80", 0);
    ck_assert_uint_eq(server("10.0.0.1:80")->admin, ADMIN_READY);
    ck_assert_uint_eq(server("10.0.0.1:80")->weight, 1);
    end();
}
END_TEST

START_TEST(test_weights_of_records)
{
    begin("srv:_http._tcp.api.test");
    change("10.0.0.1:80", "10.0.0.2:81", 40);
    ck_assert_uint_eq(server("10.0.0.2:81")->weight, 40);
    change("10.0.0.1:80", "10.0.0.2:81", 50);
    ck_assert_uint_eq(server("10.0.0.2:81")->weight, 50);
    end();
}
END_TEST

/* Behind another address is another machine. */
START_TEST(test_a_server_that_moves)
{
    begin("api.test:80");
    change("10.0.0.1:80", NULL, 0);
    server("api.test:80")->state = SERVER_DOWN;
    change("10.0.0.2:80", NULL, 0);
    ck_assert_uint_eq(server("api.test:80")->state, SERVER_UNCHECKED);
    ck_assert_str_eq(server("api.test:80")->address, "10.0.0.2:80");
    end();
}
END_TEST

UNIT_MAIN("objects", test_one_that_is_found, test_those_that_come_and_go,
          test_what_an_operator_said, test_weights_of_records, test_a_server_that_moves)
