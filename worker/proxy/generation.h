/* A generation: one configuration as a worker works by it. Immutable; counted by the listeners in
 * force and by the streams and sessions that began under it; freed with the last. */
#ifndef RPD_PROXY_GENERATION_H
#define RPD_PROXY_GENERATION_H

#include "common/core/conf.h"
#include "common/core/stats.h"
#include "common/route/route.h"
#include "worker/io/tls.h"
#include "worker/proxy/sni_route.h"
#include "worker/up/backend.h"

struct limit;
struct limits;

/* Where a canary's weight stands, and what came of it is counted. */
struct generation_canary {
    const struct stats_canary_shared *shared;
    struct stats_canary *stats;
    struct stats_canary_side *stable, *canary;
};

struct generation {
    uint64_t number;
    uint32_t refs;
    struct conf *conf;
    struct router **routers;             /* by conf_listener.index */
    struct sni_router **sni_routers;     /* by conf_listener.index; NULL: no TLS */
    struct stats_listener **listeners;   /* by conf_listener.index */
    struct stats_route **routes;         /* by conf_route.index */
    uint16_t *route_names;               /* by conf_route.index, in the flight recorder */
    struct generation_canary *canaries;  /* by conf_canary.index */
    struct backend **backends;           /* by conf_backend.index; a reference each */
    struct limit *limits;                /* by conf_limit.index (limit.h) */
    struct tls_front **fronts;           /* by conf_listener.index; NULL where tls is off */
    struct tls_back **backs;             /* by conf_backend.index; NULL where tls is off */
    struct jwt_rings *jwt;               /* jwt.h */
};

/* From a bundle's text and the keyring that belongs to it (-1: private keys are elsewhere, or there
 * are none); takes nothing over. `limits`: their memory, NULL: there is none to be had. NULL:
 * `report` says why. One reference. */
struct generation *generation_new(const struct conf_text *text, uint64_t number, int keyring,
                                  struct up *up, struct limits *limits, struct report *report);
static inline struct generation *generation_ref(struct generation *g)
{
    g->refs++;
    return g;
}
void generation_unref(struct generation **g);

#endif
