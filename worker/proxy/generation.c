/* Generations: built from the bundle, given up with the last stream. */
#include "worker/proxy/generation.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"
#include "worker/proxy/jwt.h"
#include "worker/proxy/limit.h"

/* ---- TLS ---- */

static bool needs_tls(const struct conf *conf)
{
    for (size_t i = 0; i < conf->nlisteners; i++)
        if (conf->listeners[i].tls)
            return true;
    for (size_t i = 0; i < conf->nbackends; i++)
        if (conf->backends[i].tls)
            return true;
    return false;
}

/* Everything that can fail, before anything is touched that others have. */
struct contexts {
    struct tls_front **fronts;
    struct tls_back **backs;
    struct jwt_rings *jwt;
};

static void contexts_free(struct contexts *x, const struct conf *conf)
{
    for (size_t i = 0; i < conf->nlisteners; i++)
        tls_front_free(&x->fronts[i]);
    for (size_t i = 0; i < conf->nbackends; i++)
        tls_back_unref(&x->backs[i]);
    free(x->fronts);
    free(x->backs);
    jwt_rings_free(&x->jwt);
}

static bool build_contexts(struct contexts *x, const struct conf *conf, struct tls_process *tls,
                           int keyring, struct report *report)
{
    struct tls_certs *certs = tls_certs_new(tls, conf, keyring, report);
    bool is_good = certs != NULL;

    for (size_t i = 0; certs && i < conf->nlisteners; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        if (l->tls && !(x->fronts[i] = tls_front_new(tls, conf, l, certs, report)))
            is_good = false;
    }
    for (size_t i = 0; certs && i < conf->nbackends; i++) {
        const struct conf_backend *b = &conf->backends[i];

        if (b->tls && !(x->backs[i] = tls_back_new(tls, conf, b, certs, report)))
            is_good = false;
    }
    tls_certs_unref(&certs);
    return is_good;
}

static bool contexts_init(struct contexts *x, const struct conf *conf, struct tls_process *tls,
                          int keyring, struct report *report)
{
    x->fronts = xcalloc(conf->nlisteners + 1, sizeof *x->fronts);
    x->backs = xcalloc(conf->nbackends + 1, sizeof *x->backs);
    x->jwt = jwt_rings_new(conf, report);
    return x->jwt && (!needs_tls(conf) || build_contexts(x, conf, tls, keyring, report));
}

/* ---- canaries ---- */

static struct stats_canary_side *side_of(const struct up *up, const struct conf_canary *c,
                                         const char *side)
{
    struct strbuf name;
    struct stats_canary_side *slot;

    strbuf_init(&name);
    strbuf_printf(&name, "%s/%s", c->name, side);
    slot = STATS_SLOT(up->segment, canary_side, name.s, up->slot);
    assert(slot);
    strbuf_fini(&name);
    return slot;
}

static struct generation_canary *find_canaries(const struct up *up, const struct conf *conf)
{
    struct generation_canary *all = xcalloc(conf->ncanaries + 1, sizeof *all);

    for (size_t i = 0; i < conf->ncanaries; i++) {
        const struct conf_canary *c = &conf->canaries[i];

        all[i] = (struct generation_canary){
            .shared = STATS_SHARED(up->segment, canary, c->name),
            .stats = STATS_SLOT(up->segment, canary, c->name, up->slot),
            .stable = side_of(up, c, "stable"),
            .canary = side_of(up, c, "canary"),
        };
        assert(all[i].shared && all[i].stats);
    }
    return all;
}

/* ---- life ---- */

struct generation *generation_new(const struct conf_text *text, uint64_t number, int keyring,
                                  struct up *up, struct limits *limits, struct report *report)
{
    struct conf *conf = conf_build(text, report);
    struct contexts contexts;
    struct generation *g;
    struct limit *bound = NULL;

    if (!conf)
        return NULL;
    if (!contexts_init(&contexts, conf, up->conns->tls, keyring, report) ||
        !(bound = limits_of_generation(limits, conf, up->segment, up->slot, report))) {
        contexts_free(&contexts, conf);
        conf_free(&conf);
        return NULL;
    }
    g = xcalloc(1, sizeof *g);
    g->number = number;
    g->refs = 1;
    g->conf = conf;
    g->fronts = contexts.fronts;
    g->backs = contexts.backs;
    g->jwt = contexts.jwt;
    g->limits = bound;
    g->routers = xcalloc(conf->nlisteners + 1, sizeof *g->routers);
    g->sni_routers = xcalloc(conf->nlisteners + 1, sizeof *g->sni_routers);
    g->listeners = xcalloc(conf->nlisteners + 1, sizeof *g->listeners);
    g->routes = xcalloc(conf->nroutes + 1, sizeof *g->routes);
    g->route_names = xcalloc(conf->nroutes + 1, sizeof *g->route_names);
    g->canaries = find_canaries(up, conf);
    g->backends = xcalloc(conf->nbackends + 1, sizeof *g->backends);
    for (size_t i = 0; i < conf->nlisteners; i++) {
        g->routers[i] = router_new(conf, &conf->listeners[i]);
        if (conf->listeners[i].tls)
            g->sni_routers[i] = sni_router_new(conf, &conf->listeners[i]);
        g->listeners[i] = STATS_SLOT(up->segment, listener, conf->listeners[i].name, up->slot);
        assert(g->listeners[i]);
    }
    for (size_t i = 0; i < conf->nroutes; i++) {
        g->routes[i] = STATS_SLOT(up->segment, route, conf->routes[i].name, up->slot);
        assert(g->routes[i]);
        g->route_names[i] = flight_name(up->flight, conf->routes[i].name);
    }
    for (size_t i = 0; i < conf->nbackends; i++) {
        struct names_view view;

        g->backends[i] = backend_apply(up, names_view(&view, up->names, &conf->backends[i]),
                                       g->backs[i]);
        names_view_fini(&view);
    }
    return g;
}

void generation_unref(struct generation **gp)
{
    struct generation *g = *gp;

    *gp = NULL;
    if (!g)
        return;
    assert(g->refs > 0);
    if (--g->refs > 0)
        return;
    for (size_t i = 0; i < g->conf->nlisteners; i++) {
        router_free(&g->routers[i]);
        sni_router_free(&g->sni_routers[i]);
    }
    for (size_t i = 0; i < g->conf->nbackends; i++)
        backend_unref(&g->backends[i]);
    contexts_free(&(struct contexts){ g->fronts, g->backs, g->jwt }, g->conf);
    free(g->routers);
    free(g->sni_routers);
    free(g->listeners);
    free(g->routes);
    free(g->route_names);
    free(g->canaries);
    free(g->limits);
    free(g->backends);
    conf_free(&g->conf);
    free(g);
}
