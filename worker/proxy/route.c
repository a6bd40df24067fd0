/* Router: host -> path prefix -> route, all by hashing. Called by the proxy for each request. */
#include "worker/proxy/route.h"

#include <stdlib.h>
#include "common/base/hash.h"
#include "common/base/mem.h"

/* The routes of one host, one wildcard, or any host. */
struct host_node {
    struct slice name;
    struct smap paths;      /* prefix without trailing slash -> conf_route; "" is every path */
    unsigned max_segments;  /* of the prefixes */
};

struct router {
    struct smap exact, wildcard; /* name -> host_node; a wildcard's name begins with its dot */
    struct host_node any;
    const struct conf_route *tcp;
    VEC(struct host_node *) nodes;
};

static unsigned segments(struct slice path)
{
    unsigned n = 0;

    for (size_t i = 0; i < path.n; i++)
        n += path.p[i] == '/';
    return n;
}

static void node_init(struct host_node *node, struct slice name)
{
    node->name = name;
    node->max_segments = 0;
    smap_init(&node->paths, false);
}

static struct host_node *node_of(struct router *r, const struct conf_host *host)
{
    struct smap *map = host->is_wildcard ? &r->wildcard : &r->exact;
    struct host_node *node = smap_get(map, host->name);

    if (node)
        return node;
    node = xmalloc(sizeof *node);
    node_init(node, host->name);
    smap_put(map, host->name, node);
    *VEC_PUSH(&r->nodes) = node;
    return node;
}

static void node_add(struct host_node *node, const struct conf_route *route)
{
    struct slice path = route->path;
    unsigned n;

    if (slice_eq(path, SLICE("/")))
        path = SLICE("");
    n = segments(path);
    if (smap_get(&node->paths, path))
        return; /* the first in file order stays */
    smap_put(&node->paths, path, (void *)(uintptr_t)route);
    if (n > node->max_segments)
        node->max_segments = n;
}

struct router *router_new(const struct conf *conf, const struct conf_listener *listener)
{
    struct router *r = xcalloc(1, sizeof *r);

    smap_init(&r->exact, true);
    smap_init(&r->wildcard, true);
    node_init(&r->any, SLICE(""));
    for (size_t i = 0; i < conf->nroutes; i++) {
        const struct conf_route *route = &conf->routes[i];

        if (!conf_route_belongs(route, listener) || route->tls == CONF_ROUTE_PASSTHROUGH)
            continue;
        if (!r->tcp && listener->mode == CONF_MODE_TCP)
            r->tcp = route;
        if (route->host.n == 0)
            node_add(&r->any, route);
        for (size_t h = 0; h < route->host.n; h++)
            node_add(node_of(r, &route->host.v[h]), route);
    }
    return r;
}

void router_free(struct router **rp)
{
    struct router *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    for (size_t i = 0; i < r->nodes.n; i++) {
        smap_fini(&r->nodes.v[i]->paths);
        free(r->nodes.v[i]);
    }
    VEC_FREE(&r->nodes);
    smap_fini(&r->any.paths);
    smap_fini(&r->exact);
    smap_fini(&r->wildcard);
    free(r);
}

/* The longest prefix: the path cut at its slashes, from the deepest that any route has. */
static const struct conf_route *find_path(const struct host_node *node, struct slice path)
{
    unsigned n = 0;
    size_t end = 0;

    if (node->paths.count == 0)
        return NULL;
    /* A prefix of k segments ends before slash k+1, or at the path's end. */
    while (end < path.n && !(path.p[end] == '/' && n++ == node->max_segments))
        end++;
    while (end > 0) {
        const struct conf_route *route = smap_get(&node->paths, slice_of(path.p, end));

        if (route)
            return route;
        do
            end--;
        while (end > 0 && path.p[end] != '/');
    }
    return smap_get(&node->paths, SLICE(""));
}

const struct conf_route *router_find(const struct router *r, struct slice host,
                                     struct slice path)
{
    const struct conf_route *route;
    const struct host_node *node;

    if (host.n > 0 && host.n <= HOST_MAX) {
        if (host.p[host.n - 1] == '.')
            host.n--; /* the root's dot */
        node = smap_get(&r->exact, host);
        if (node && (route = find_path(node, path)) != NULL)
            return route;
        for (size_t i = 1; r->wildcard.count > 0 && i < host.n; i++) {
            if (host.p[i] != '.')
                continue;
            node = smap_get(&r->wildcard, slice_of(host.p + i, host.n - i));
            if (node && (route = find_path(node, path)) != NULL)
                return route;
        }
    }
    return find_path(&r->any, path);
}

const struct conf_route *router_tcp(const struct router *r)
{
    return r->tcp;
}
