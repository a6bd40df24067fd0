/* Finds the route of a request: the most specific host, then the longest path prefix by whole
 * segments, then file order (the Gateway API's precedence). Built once a generation; a lookup
 * hashes the host's suffixes and the path's prefixes, however many routes there are. */
#ifndef RPD_PROXY_ROUTE_H
#define RPD_PROXY_ROUTE_H

#include "common/core/conf.h"

/* Longest host name in DNS; longer ones match only routes for any host. */
#define HOST_MAX 255

struct router;

/* Routes of one listener for what is in the clear, or is once its TLS has ended here: no
 * passthrough. Aborts without memory. */
struct router *router_new(const struct conf *conf, const struct conf_listener *listener);
void router_free(struct router **r);

/* `host` without port, any case; `path` without query. NULL: no route. */
const struct conf_route *router_find(const struct router *r, struct slice host,
                                     struct slice path);
/* The route of a tcp listener, or NULL. */
const struct conf_route *router_tcp(const struct router *r);

#endif
