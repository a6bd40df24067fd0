/* Generations: built from the bundle, given up with the last stream. */
#include "worker/proxy/generation.h"

#include <assert.h>
#include <stdlib.h>
#include "common/base/mem.h"

struct generation *generation_new(const struct conf_text *text, uint64_t number, struct up *up,
                                  struct report *report)
{
    struct conf *conf = conf_build(text, report);
    struct generation *g;

    if (!conf)
        return NULL;
    g = xcalloc(1, sizeof *g);
    g->number = number;
    g->refs = 1;
    g->conf = conf;
    g->routers = xcalloc(conf->nlisteners + 1, sizeof *g->routers);
    g->sni_routers = xcalloc(conf->nlisteners + 1, sizeof *g->sni_routers);
    g->listeners = xcalloc(conf->nlisteners + 1, sizeof *g->listeners);
    g->routes = xcalloc(conf->nroutes + 1, sizeof *g->routes);
    g->route_names = xcalloc(conf->nroutes + 1, sizeof *g->route_names);
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
    for (size_t i = 0; i < conf->nbackends; i++)
        g->backends[i] = backend_apply(up, &conf->backends[i]);
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
    free(g->routers);
    free(g->sni_routers);
    free(g->listeners);
    free(g->routes);
    free(g->route_names);
    free(g->backends);
    conf_free(&g->conf);
    free(g);
}
