/* Which route takes a request: hosts, prefixes, listeners, file order. */
#include "t/unit/unit.h"
#include "common/route/route.h"

#define ROUTES_MAX 20000

static struct {
    struct conf conf;
    struct conf_listener listeners[2];
    struct conf_route routes[ROUTES_MAX];
    struct conf_host hosts[ROUTES_MAX];
    const struct conf_listener *only[2];
    struct router *router;
} w;

/* host NULL: any; "*.x": wildcard. The text must live on. */
static void route(const char *host, const char *path)
{
    size_t i = w.conf.nroutes++;
    struct conf_route *r = &w.routes[i];

    *r = (struct conf_route){ .index = i, .path = slice_str(path) };
    if (!host)
        return;
    w.hosts[i].is_wildcard = host[0] == '*';
    w.hosts[i].name = slice_str(host + w.hosts[i].is_wildcard);
    r->host.v = &w.hosts[i];
    r->host.n = 1;
}

static void begin(void)
{
    memset(&w, 0, sizeof w);
    w.conf.listeners = w.listeners;
    w.conf.nlisteners = 2;
    w.conf.routes = w.routes;
    w.listeners[1].index = 1;
}

static void ignore(struct route_trace *trace, const struct route_seen *seen)
{
    (void)trace;
    (void)seen;
}

/* Index of the route, or -1. */
static int find(const char *host, const char *path)
{
    struct route_request q = {
        .host = slice_str(host), .path = slice_str(path), .method = SLICE("GET"),
    };
    const struct conf_route *r;

    if (!w.router)
        w.router = router_new(&w.conf, &w.listeners[0]);
    r = router_find(w.router, &q, NULL);
    return r ? (int)r->index : -1;
}

/* How often a lookup of it hashes, or looks at a route. */
static size_t looks(const char *host, const char *path)
{
    struct route_trace trace = { .saw = ignore };
    struct route_request q = {
        .host = slice_str(host), .path = slice_str(path), .method = SLICE("GET"),
    };

    ck_assert_ptr_nonnull(router_find(w.router, &q, &trace));
    return trace.looks;
}

static void end(void)
{
    router_free(&w.router);
}

START_TEST(host_is_exact_then_wildcard_then_any)
{
    begin();
    route(NULL, "");
    route("*.example.com", "");
    route("*.api.example.com", "");
    route("a.example.com", "");
    ck_assert_int_eq(find("a.example.com", "/"), 3);
    ck_assert_int_eq(find("A.Example.COM", "/"), 3);
    ck_assert_int_eq(find("a.example.com.", "/"), 3);
    ck_assert_int_eq(find("b.example.com", "/"), 1);
    ck_assert_int_eq(find("x.api.example.com", "/"), 2);
    ck_assert_int_eq(find("y.x.api.example.com", "/"), 2);
    ck_assert_int_eq(find("example.com", "/"), 0);
    ck_assert_int_eq(find("evilexample.com", "/"), 0);
    ck_assert_int_eq(find("", "/"), 0);
    end();
}
END_TEST

START_TEST(prefixes_are_whole_segments)
{
    begin();
    route(NULL, "/api");
    route(NULL, "/api/v2");
    route(NULL, "/static/img/big");
    ck_assert_int_eq(find("h", "/api"), 0);
    ck_assert_int_eq(find("h", "/api/"), 0);
    ck_assert_int_eq(find("h", "/api/v1/x"), 0);
    ck_assert_int_eq(find("h", "/api/v2"), 1);
    ck_assert_int_eq(find("h", "/api/v2/x/y/z/w"), 1);
    ck_assert_int_eq(find("h", "/api/v22"), 0);
    ck_assert_int_eq(find("h", "/apis"), -1);
    ck_assert_int_eq(find("h", "/static/img"), -1);
    ck_assert_int_eq(find("h", "/static/img/big/one"), 2);
    ck_assert_int_eq(find("h", "/"), -1);
    end();
}
END_TEST

START_TEST(a_host_without_that_path_falls_back)
{
    begin();
    route("a.example.com", "/only");
    route("*.example.com", "/wild");
    route(NULL, "/");
    ck_assert_int_eq(find("a.example.com", "/only/x"), 0);
    ck_assert_int_eq(find("a.example.com", "/wild"), 1);
    ck_assert_int_eq(find("a.example.com", "/else"), 2);
    ck_assert_int_eq(find("a.example.com", "*"), 2);
    end();
}
END_TEST

START_TEST(the_first_of_equals_wins)
{
    begin();
    route("a", "/x");
    route("a", "/x");
    ck_assert_int_eq(find("a", "/x"), 0);
    end();
}
END_TEST

START_TEST(routes_of_other_listeners_do_not_count)
{
    begin();
    route(NULL, "/x");
    w.only[0] = &w.listeners[1];
    w.routes[0].listener.v = w.only;
    w.routes[0].listener.n = 1;
    ck_assert_int_eq(find("a", "/x"), -1);
    end();
}
END_TEST

START_TEST(a_tcp_listener_has_its_one_route)
{
    begin();
    w.listeners[0].mode = CONF_MODE_TCP;
    route(NULL, "");
    route(NULL, "");
    w.only[0] = &w.listeners[0];
    w.routes[1].listener.v = w.only;
    w.routes[1].listener.n = 1;
    w.router = router_new(&w.conf, &w.listeners[0]);
    ck_assert_ptr_eq(router_tcp(w.router), &w.routes[1]);
    end();
}
END_TEST

START_TEST(thousands_of_hosts_and_paths)
{
    static char hosts[ROUTES_MAX][32], paths[ROUTES_MAX][32];

    begin();
    for (int i = 0; i < ROUTES_MAX; i++) {
        snprintf(hosts[i], sizeof hosts[i], "%sh%d.example", i % 3 ? "" : "*.", i);
        snprintf(paths[i], sizeof paths[i], "/p%d", i);
        route(hosts[i], paths[i]);
    }
    for (int i = 0; i < ROUTES_MAX; i++) {
        char host[64], path[64];

        snprintf(host, sizeof host, "%sh%d.example", i % 3 ? "" : "w.", i);
        snprintf(path, sizeof path, "/p%d/deep/er", i);
        ck_assert_int_eq(find(host, path), i);
        ck_assert_int_eq(find(host, "/q"), -1);
    }
    end();
}
END_TEST

/* So many routes with a host of their own, and as many with a path of their own. */
static void begin_many(int n)
{
    static char names[ROUTES_MAX][32];

    begin();
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "%sh%d.example", i % 3 ? "" : "*.", i);
        route(names[i], "");
    }
    for (int i = n; i < 2 * n; i++) {
        snprintf(names[i], sizeof names[i], "/a/p%d", i - n);
        route(NULL, names[i]);
    }
}

/* What is counted does not grow with what there is. */
START_TEST(ten_thousand_hosts_and_paths_cost_what_ten_do)
{
    static const char *const asked[][2] = {
        { "h1.example", "/a/p3/x/y" }, { "w.h0.example", "/" }, { "a.b.c.h9.example", "/a/b" },
        { "none", "/a/p0" }, { "none", "/a/p9/x" }, { "", "/a/p5" },
    };
    size_t few[sizeof asked / sizeof *asked];

    begin_many(10);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        ck_assert_int_ge(find(asked[i][0], asked[i][1]), 0);
        few[i] = looks(asked[i][0], asked[i][1]);
    }
    end();
    begin_many(10000);
    ck_assert_int_eq(find("none", "/a/p9999/x"), 19999);
    ck_assert_int_eq(find("h9998.example", "/"), 9998);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        ck_assert_uint_eq(looks(asked[i][0], asked[i][1]), few[i]);
    end();
}
END_TEST

UNIT_MAIN("route", host_is_exact_then_wildcard_then_any, prefixes_are_whole_segments,
          a_host_without_that_path_falls_back, the_first_of_equals_wins,
          routes_of_other_listeners_do_not_count, a_tcp_listener_has_its_one_route,
          thousands_of_hosts_and_paths, ten_thousand_hosts_and_paths_cost_what_ten_do)
