/* Targets made here: what a route's rewrite makes of the client's path, and where its redirect
 * leads. Values that are put in stay within their place: nothing in them ends a line, a path or a
 * query. Called by l7.c. */
#ifndef RPD_PROXY_TARGET_H
#define RPD_PROXY_TARGET_H

#include "worker/proxy/exchange.h"

/* The route has a rewrite: sets x->new_path, unless the path stays. Not END_OK: the request is to
 * be refused, and x->detail says why. */
enum end_reason target_make(struct exchange *x);

static inline enum end_reason target_rewrite(struct exchange *x)
{
    return x->route->rewrite.how == CONF_REWRITE_OFF ? END_OK : target_make(x);
}

/* The status and Location of the route's redirect. Not END_OK: the same as above. */
enum end_reason target_redirect(struct exchange *x, unsigned *status, struct slice *location);

#endif
