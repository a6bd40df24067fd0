/* Which route takes a TLS connection: names, wildcards, listeners, passthrough beside the rest. */
#include <stdio.h>
#include "t/unit/unit.h"
#include "common/route/route.h"
#include "worker/proxy/sni_route.h"

#define ROUTES_MAX 6000

static struct {
    struct conf conf;
    struct conf_listener listeners[2];
    struct conf_route routes[ROUTES_MAX];
    struct conf_host hosts[ROUTES_MAX];
    const struct conf_listener *only[1];
    struct sni_router *router;
} w;

/* host NULL: any; "*.x": wildcard. The text must live on. */
static struct conf_route *route(const char *host, enum conf_route_tls tls)
{
    size_t i = w.conf.nroutes++;
    struct conf_route *r = &w.routes[i];

    *r = (struct conf_route){ .index = i, .tls = tls };
    if (!host)
        return r;
    w.hosts[i].is_wildcard = host[0] == '*';
    w.hosts[i].name = slice_str(host + w.hosts[i].is_wildcard);
    r->host.v = &w.hosts[i];
    r->host.n = 1;
    return r;
}

static void begin(void)
{
    memset(&w, 0, sizeof w);
    w.conf.listeners = w.listeners;
    w.conf.nlisteners = 2;
    w.conf.routes = w.routes;
    w.listeners[0].tls = true;
    w.listeners[1].index = 1;
    w.only[0] = &w.listeners[1];
}

/* Index of the route; one for any host: 1000 more; none: -1. */
static int find(const char *name)
{
    const struct conf_route *r;
    bool is_named;

    if (!w.router)
        w.router = sni_router_new(&w.conf, &w.listeners[0]);
    r = sni_router_find(w.router, slice_str(name), &is_named);
    ck_assert(!is_named || r);
    return !r ? -1 : (int)r->index + (is_named ? 0 : 1000);
}

static bool passes(const char *host)
{
    if (!w.router)
        w.router = sni_router_new(&w.conf, &w.listeners[0]);
    return sni_router_is_passthrough(w.router, slice_str(host));
}

static void end(void)
{
    sni_router_free(&w.router);
}

START_TEST(exact_then_longest_wildcard_then_any)
{
    begin();
    route(NULL, CONF_ROUTE_TERMINATE);
    route("*.example.com", CONF_ROUTE_TERMINATE);
    route("*.api.example.com", CONF_ROUTE_PASSTHROUGH);
    route("a.example.com", CONF_ROUTE_PASSTHROUGH);
    ck_assert_int_eq(find("a.example.com"), 3);
    ck_assert_int_eq(find("A.Example.com"), 3);
    ck_assert_int_eq(find("b.example.com"), 1);
    ck_assert_int_eq(find("x.api.example.com"), 2);
    ck_assert_int_eq(find("y.x.api.example.com"), 2);
    ck_assert_int_eq(find("example.com"), 1000);
    ck_assert_int_eq(find("evilexample.com"), 1000);
    ck_assert_int_eq(find(".example.com"), 1000);
    ck_assert_int_eq(find(""), 1000);
    end();
}
END_TEST

START_TEST(none_for_any_host)
{
    begin();
    route("a.example", CONF_ROUTE_TERMINATE);
    ck_assert_int_eq(find("b.example"), -1);
    ck_assert_int_eq(find(""), -1);
    end();
}
END_TEST

START_TEST(the_first_of_equals_wins)
{
    begin();
    route("a.example", CONF_ROUTE_TERMINATE);
    route("a.example", CONF_ROUTE_PASSTHROUGH);
    route(NULL, CONF_ROUTE_PASSTHROUGH);
    route(NULL, CONF_ROUTE_TERMINATE);
    ck_assert_int_eq(find("a.example"), 0);
    ck_assert_int_eq(find("b.example"), 1002);
    end();
}
END_TEST

/* Without a listener: a passthrough route has all with TLS, another one all http ones. */
START_TEST(whose_routes_they_are)
{
    begin();
    route("pass.example", CONF_ROUTE_PASSTHROUGH);
    route("end.example", CONF_ROUTE_TERMINATE);
    route("other.example", CONF_ROUTE_PASSTHROUGH);
    w.routes[2].listener.v = w.only;
    w.routes[2].listener.n = 1;
    ck_assert_int_eq(find("pass.example"), 0);
    ck_assert_int_eq(find("end.example"), 1);
    ck_assert_int_eq(find("other.example"), -1);
    end();
    w.listeners[0].mode = CONF_MODE_TCP;
    ck_assert_int_eq(find("pass.example"), 0);
    ck_assert_int_eq(find("end.example"), -1);
    end();
    w.listeners[0].tls = false;
    ck_assert_int_eq(find("pass.example"), -1);
    end();
}
END_TEST

START_TEST(hosts_that_are_asked_for_elsewhere)
{
    begin();
    route("*.example", CONF_ROUTE_PASSTHROUGH);
    route("here.example", CONF_ROUTE_TERMINATE);
    ck_assert(passes("there.example"));
    ck_assert(passes("There.Example."));
    ck_assert(!passes("here.example"));
    ck_assert(!passes("example"));
    ck_assert(!passes(""));
    end();
    ck_assert(!sni_router_is_passthrough(NULL, SLICE("there.example")));
    w.conf.nroutes = 0;
    route(NULL, CONF_ROUTE_PASSTHROUGH);
    route("here.example", CONF_ROUTE_TERMINATE);
    ck_assert(passes("there.example"));
    ck_assert(passes(""));
    ck_assert(!passes("here.example"));
    end();
}
END_TEST

/* What is not decrypted has no path to be routed by. */
START_TEST(requests_are_not_routed_by_them)
{
    const struct route_request q = { .host = SLICE("pass.example"), .path = SLICE("/") };
    struct router *r;

    begin();
    route("pass.example", CONF_ROUTE_PASSTHROUGH);
    route(NULL, CONF_ROUTE_TERMINATE);
    r = router_new(&w.conf, &w.listeners[0]);
    ck_assert_ptr_eq(router_find(r, &q, NULL), &w.routes[1]);
    router_free(&r);
}
END_TEST

START_TEST(thousands_of_hosts)
{
    static char hosts[ROUTES_MAX][32];

    begin();
    for (int i = 0; i < ROUTES_MAX; i++) {
        snprintf(hosts[i], sizeof hosts[i], "%sh%d.example", i % 3 ? "" : "*.", i);
        route(hosts[i], i % 2 ? CONF_ROUTE_PASSTHROUGH : CONF_ROUTE_TERMINATE);
    }
    for (int i = 0; i < ROUTES_MAX; i++) {
        char name[64];

        snprintf(name, sizeof name, "%sh%d.example", i % 3 ? "" : "w.", i);
        ck_assert_int_eq(find(name), i);
        ck_assert_int_eq(passes(name), i % 2);
    }
    end();
}
END_TEST

UNIT_MAIN("sni_route", exact_then_longest_wildcard_then_any, none_for_any_host,
          the_first_of_equals_wins, whose_routes_they_are, hosts_that_are_asked_for_elsewhere,
          requests_are_not_routed_by_them, thousands_of_hosts)
