/* Which of a canary's two backends a request or session of a route goes to, and what came of it.
 * A client has a point on the line from 0 to 1, as in a split, and is on the canary while that is
 * below the weight. The weight stands in shared memory and is read for each request: a change acts
 * at once, in every worker. So clients only ever move from stable to canary while it grows, and all
 * of them back when it falls to 0. What came of it is counted by the side that had the request: the
 * helper judges by that. Testers go to the canary whatever the weight is, and are no evidence. */
#ifndef RPD_PROXY_CANARY_H
#define RPD_PROXY_CANARY_H

#include "worker/proxy/exchange.h"
#include "worker/proxy/steps.h"

/* The step: chooses x->backend. */
enum step_result canary_request(struct exchange *x);
/* The same for a session from `peer`, which sticks by its address. */
const struct conf_backend *canary_session(struct proxy *p, const struct generation *g,
                                          const struct conf_route *route, const struct ip *peer);

/* It went to a backend of the route's canary, and has ended. */
void canary_request_done(const struct exchange *x, uint64_t us);
void canary_session_done(const struct generation *g, const struct conf_route *route,
                         const struct conf_backend *backend, enum end_reason why, uint64_t us);

#endif
