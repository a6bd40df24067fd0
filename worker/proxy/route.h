/* Where a request goes: its path brought into its normal form, and the route that takes it. Called
 * by l7.c with the request's head. */
#ifndef RPD_PROXY_ROUTE_H
#define RPD_PROXY_ROUTE_H

#include "worker/proxy/exchange.h"

/* Sets x->route and x->backend, and what a pattern captured. Not END_OK: the request is to be
 * refused, and x->detail says why. */
enum end_reason exchange_route(struct exchange *x);

#endif
