/* sni_router: name -> route, by hashing. Called by front.c for each ClientHello and by l7.c for
 * each request that came over TLS. */
#include "worker/proxy/sni_route.h"

#include <stdlib.h>
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/route/route.h"

struct sni_router {
    struct smap exact, wildcard; /* name -> conf_route; a wildcard's name begins with its dot */
    const struct conf_route *any;
    bool has_passthrough;
};

static void add_host(struct sni_router *r, const struct conf_host *host,
                     const struct conf_route *route)
{
    struct smap *map = host->is_wildcard ? &r->wildcard : &r->exact;

    if (!smap_get(map, host->name))
        smap_put(map, host->name, (void *)(uintptr_t)route);
}

struct sni_router *sni_router_new(const struct conf *conf, const struct conf_listener *listener)
{
    struct sni_router *r = xcalloc(1, sizeof *r);

    smap_init(&r->exact, true);
    smap_init(&r->wildcard, true);
    for (size_t i = 0; i < conf->nroutes; i++) {
        const struct conf_route *route = &conf->routes[i];

        if (!conf_route_belongs(route, listener))
            continue;
        if (route->tls == CONF_ROUTE_PASSTHROUGH)
            r->has_passthrough = true;
        if (route->host.n == 0 && !r->any)
            r->any = route;
        for (size_t h = 0; h < route->host.n; h++)
            add_host(r, &route->host.v[h], route);
    }
    return r;
}

void sni_router_free(struct sni_router **rp)
{
    struct sni_router *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    smap_fini(&r->exact);
    smap_fini(&r->wildcard);
    free(r);
}

static const struct conf_route *find_named(const struct sni_router *r, struct slice name)
{
    const struct conf_route *route = smap_get(&r->exact, name);

    for (size_t i = 1; !route && r->wildcard.count > 0 && i < name.n; i++)
        if (name.p[i] == '.')
            route = smap_get(&r->wildcard, slice_of(name.p + i, name.n - i));
    return route;
}

const struct conf_route *sni_router_find(const struct sni_router *r, struct slice name,
                                         bool *is_named)
{
    const struct conf_route *route = NULL;

    if (name.n > 0 && name.n <= HOST_MAX)
        route = find_named(r, name);
    *is_named = route != NULL;
    return route ? route : r->any;
}

bool sni_router_is_passthrough(const struct sni_router *r, struct slice host)
{
    const struct conf_route *route;
    bool is_named;

    if (!r || !r->has_passthrough)
        return false;
    if (host.n > 0 && host.p[host.n - 1] == '.')
        host.n--; /* the root's dot */
    route = sni_router_find(r, host, &is_named);
    return route && route->tls == CONF_ROUTE_PASSTHROUGH;
}
