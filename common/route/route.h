/* Finds the route of a request, the most specific one (the order of the Kubernetes Gateway API):
 *
 *   host    exact, then the longest wildcard, then any
 *   path    exact, then the longest prefix by whole segments, then patterns, then any
 *   then    with a method; of more fields and cookies; of more query parameters; first in the file
 *
 * A route whose conditions do not hold leaves the request to the next, down to less specific paths
 * and then hosts. Built once a generation; a lookup hashes the host's suffixes and the path's
 * prefixes, however many routes there are. Called by the proxy for each request and by rpctl, which
 * asks for the reasons as well. */
#ifndef RPD_ROUTE_ROUTE_H
#define RPD_ROUTE_ROUTE_H

#include "common/base/regex.h"
#include "common/core/conf.h"

/* Longest host name in DNS; longer ones match only routes for any host. */
#define HOST_MAX 255

struct router;

/* What routes are told apart by. */
struct route_request {
    struct slice host;   /* without port, any case */
    struct slice path;   /* in its normal form (path.h), without query */
    struct slice query;  /* without `?` */
    struct slice method;
    /* The next field of that name, any case, from *at on, which begins as 0; false: no more. Asked
     * only for routes that ask for fields or cookies. */
    bool (*field)(const void *from, struct slice name, size_t *at, struct slice *value);
    const void *from;
    struct regex_room *room;         /* for patterns */
    struct regex_captures *captures; /* of the path_regex of the route found; NULL: not wanted */
};

/* Why a route of the host and path takes a request or does not. */
enum route_verdict {
    ROUTE_TAKES,
    ROUTE_METHOD,  /* it is for other methods */
    ROUTE_HEADER,  /* a condition does not hold: */
    ROUTE_COOKIE,
    ROUTE_QUERY,
    ROUTE_PATTERN, /* path_regex does not match */
    ROUTE_LIMIT,   /* a pattern takes too much work: as if it did not match */
};

/* A route that was looked at. */
struct route_seen {
    const struct conf_route *route;
    const struct conf_host *host;           /* by which it is here; NULL: it is for any */
    enum route_verdict verdict;
    const struct conf_condition *condition; /* that does not hold; NULL: it is none of them */
};

/* Sees every route of the request's hosts and paths, the most specific first, also those behind the
 * first that takes it. */
struct route_trace {
    void (*saw)(struct route_trace *trace, const struct route_seen *seen);
    size_t looks; /* how often something was hashed, or a route looked at */
};

/* Routes of one listener for what is in the clear, or is once its TLS has ended here: no
 * passthrough. Aborts without memory. */
struct router *router_new(const struct conf *conf, const struct conf_listener *listener);
void router_free(struct router **r);

/* NULL: no route. `trace` may be NULL. A pattern that takes too much work is logged, once. */
const struct conf_route *router_find(const struct router *r, const struct route_request *q,
                                     struct route_trace *trace);
/* The route of a tcp listener, or NULL. */
const struct conf_route *router_tcp(const struct router *r);

#endif
