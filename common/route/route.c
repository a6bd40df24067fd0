/* Router: host -> path -> rules, by hashing; only rules of the same host and path are looked at one
 * after the other. */
#include "common/route/route.h"

#include <stdlib.h>
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/route/rule.h"

/* The most specific first. In the arena; room doubles: n alone tells whether there is some. */
struct rules {
    struct rule **v;
    size_t n;
};

/* The routes of one host, one wildcard, or any host. */
struct host_node {
    const struct conf_host *host; /* NULL: any */
    struct smap exact;            /* path -> struct rules */
    struct smap prefixes;         /* prefix without trailing slash -> struct rules */
    struct rules patterns, any;
    unsigned max_segments;        /* of the prefixes */
};

struct router {
    struct smap exact, wildcard; /* name -> host_node; a wildcard's name begins with its dot */
    struct host_node any;
    const struct conf_route *tcp;
    struct arena arena;
    VEC(struct host_node *) nodes;
};

/* ---- building ---- */

static unsigned segments(struct slice path)
{
    unsigned n = 0;

    for (size_t i = 0; i < path.n; i++)
        n += path.p[i] == '/';
    return n;
}

static void node_init(struct host_node *node, const struct conf_host *host)
{
    *node = (struct host_node){ .host = host };
    smap_init(&node->exact, false);
    smap_init(&node->prefixes, false);
}

static void node_fini(struct host_node *node)
{
    smap_fini(&node->exact);
    smap_fini(&node->prefixes);
}

static struct host_node *node_of(struct router *r, const struct conf_host *host)
{
    struct smap *map = host->is_wildcard ? &r->wildcard : &r->exact;
    struct host_node *node = smap_get(map, host->name);

    if (node)
        return node;
    node = xmalloc(sizeof *node);
    node_init(node, host);
    smap_put(map, host->name, node);
    *VEC_PUSH(&r->nodes) = node;
    return node;
}

/* Behind those that are as specific: they stand before it in the file. */
static void rules_add(struct rules *rules, struct rule *rule, struct arena *arena)
{
    size_t at = rules->n;

    if ((rules->n & (rules->n - 1)) == 0) {
        struct rule **v = arena_xalloc(arena, (rules->n ? rules->n * 2 : 1) * sizeof(*v));

        if (rules->n > 0)
            memcpy(v, rules->v, rules->n * sizeof(*v));
        rules->v = v;
    }
    for (; at > 0 && rule_is_before(rule, rules->v[at - 1]); at--)
        rules->v[at] = rules->v[at - 1];
    rules->v[at] = rule;
    rules->n++;
}

static struct rules *rules_of(struct smap *map, struct slice path, struct arena *arena)
{
    struct rules *rules = smap_get(map, path);

    if (!rules) {
        rules = arena_xalloc(arena, sizeof *rules);
        *rules = (struct rules){ NULL, 0 };
        smap_put(map, path, rules);
    }
    return rules;
}

static void node_add(struct host_node *node, struct rule *rule, struct arena *arena)
{
    const struct conf_route *route = rule->route;
    struct rules *rules = &node->any;

    if (route->path_exact.n > 0) {
        rules = rules_of(&node->exact, route->path_exact, arena);
    } else if (route->path_regex.re) {
        rules = &node->patterns;
    } else if (route->path.n > 1) { /* "/" is any */
        unsigned n = segments(route->path);

        rules = rules_of(&node->prefixes, route->path, arena);
        node->max_segments = n > node->max_segments ? n : node->max_segments;
    }
    rules_add(rules, rule, arena);
}

static void router_add(struct router *r, const struct conf_route *route)
{
    struct rule *rule = rule_new(route, &r->arena);

    if (route->host.n == 0)
        node_add(&r->any, rule, &r->arena);
    for (size_t h = 0; h < route->host.n; h++)
        node_add(node_of(r, &route->host.v[h]), rule, &r->arena);
}

struct router *router_new(const struct conf *conf, const struct conf_listener *listener)
{
    struct router *r = xcalloc(1, sizeof *r);

    smap_init(&r->exact, true);
    smap_init(&r->wildcard, true);
    node_init(&r->any, NULL);
    arena_init(&r->arena, NULL);
    for (size_t i = 0; i < conf->nroutes; i++) {
        const struct conf_route *route = &conf->routes[i];

        if (!conf_route_belongs(route, listener) || route->tls == CONF_ROUTE_PASSTHROUGH)
            continue;
        if (listener->mode == CONF_MODE_HTTP)
            router_add(r, route);
        else if (!r->tcp)
            r->tcp = route;
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
        node_fini(r->nodes.v[i]);
        free(r->nodes.v[i]);
    }
    VEC_FREE(&r->nodes);
    node_fini(&r->any);
    smap_fini(&r->exact);
    smap_fini(&r->wildcard);
    arena_reset(&r->arena);
    free(r);
}

/* ---- finding ---- */

struct walk {
    const struct route_request *q;
    struct route_trace *trace;
    const struct conf_route *found;
    size_t looks;
};

/* true: that is all. */
static bool walk_rule(struct walk *w, const struct host_node *node, struct rule *rule)
{
    struct route_seen seen = { .route = rule->route, .host = node->host };

    w->looks++;
    seen.verdict = rule_ask(rule, w->q, w->found ? NULL : w->q->captures, &seen.condition);
    if (seen.verdict == ROUTE_TAKES && !w->found)
        w->found = rule->route;
    if (w->trace)
        w->trace->saw(w->trace, &seen);
    return w->found && !w->trace;
}

static bool walk_some(struct walk *w, const struct host_node *node, const struct rules *rules)
{
    for (size_t i = 0; i < rules->n; i++)
        if (walk_rule(w, node, rules->v[i]))
            return true;
    return false;
}

/* Most have one rule, and that asks for nothing. */
static inline bool walk_rules(struct walk *w, const struct host_node *node,
                              const struct rules *rules)
{
    if (rules->n == 0)
        return false;
    if (!rules->v[0]->is_plain || w->trace)
        return walk_some(w, node, rules);
    w->found = rules->v[0]->route;
    return true;
}

static bool walk_map(struct walk *w, const struct host_node *node, const struct smap *map,
                     struct slice path)
{
    const struct rules *rules = smap_get(map, path);

    w->looks++;
    return rules && walk_rules(w, node, rules);
}

/* From the deepest that any route has: the path cut at its slashes. A prefix of k segments ends
 * before slash k+1, or at the path's end. */
static bool walk_prefixes(struct walk *w, const struct host_node *node)
{
    struct slice path = w->q->path;
    unsigned n = 0;
    size_t end = 0;

    while (end < path.n && !(path.p[end] == '/' && n++ == node->max_segments))
        end++;
    while (end > 0) {
        if (walk_map(w, node, &node->prefixes, slice_of(path.p, end)))
            return true;
        do
            end--;
        while (end > 0 && path.p[end] != '/');
    }
    return false;
}

static bool walk_node(struct walk *w, const struct host_node *node)
{
    return (node->exact.count > 0 && walk_map(w, node, &node->exact, w->q->path)) ||
           (node->prefixes.count > 0 && walk_prefixes(w, node)) ||
           walk_rules(w, node, &node->patterns) || walk_rules(w, node, &node->any);
}

static bool walk_host(struct walk *w, const struct smap *map, struct slice name)
{
    const struct host_node *node = smap_get(map, name);

    w->looks++;
    return node && walk_node(w, node);
}

static bool walk_wildcards(struct walk *w, const struct smap *map, struct slice host)
{
    for (size_t i = 1; i < host.n; i++)
        if (host.p[i] == '.' && walk_host(w, map, slice_of(host.p + i, host.n - i)))
            return true;
    return false;
}

const struct conf_route *router_find(const struct router *r, const struct route_request *q,
                                     struct route_trace *trace)
{
    struct walk w = { q, trace, NULL, 0 };
    struct slice host = q->host;
    bool is_done = false;

    if (host.n > 0 && host.n <= HOST_MAX) {
        if (host.p[host.n - 1] == '.')
            host.n--; /* the root's dot */
        is_done = (r->exact.count > 0 && walk_host(&w, &r->exact, host)) ||
                  (r->wildcard.count > 0 && walk_wildcards(&w, &r->wildcard, host));
    }
    if (!is_done)
        (void)walk_node(&w, &r->any);
    if (trace)
        trace->looks = w.looks;
    return w.found;
}

const struct conf_route *router_tcp(const struct router *r)
{
    return r->tcp;
}
