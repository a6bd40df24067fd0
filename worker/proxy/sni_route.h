/* Finds the route of a TLS connection by the name that its ClientHello asks for: the exact host,
 * then the longest wildcard, then routes for any host; among equals the first in file order.
 * Built once a generation, for listeners with tls = on; a lookup hashes the name's suffixes. */
#ifndef RPD_PROXY_SNI_ROUTE_H
#define RPD_PROXY_SNI_ROUTE_H

#include "common/core/conf.h"

struct sni_router;

/* Routes of one listener. Aborts without memory. */
struct sni_router *sni_router_new(const struct conf *conf, const struct conf_listener *listener);
void sni_router_free(struct sni_router **r);

/* `name` in any case; empty: none was asked for. NULL: no route. *is_named: the route names the
 * host, if only by a wildcard. */
const struct conf_route *sni_router_find(const struct sni_router *r, struct slice name,
                                         bool *is_named);
/* Whether who asks for that host gets another server's TLS, and so must not ask here. r may be
 * NULL: the listener has no TLS. */
bool sni_router_is_passthrough(const struct sni_router *r, struct slice host);

#endif
