/* Which of several backends a request or session of a route goes to: `backend = stable 95, canary
 * 5`. The choice is made once, after the route's other steps; tries after it stay with it. A client
 * that sticks has a point on the line of all weights, the same in every worker and after an
 * upgrade; others take the next of a sequence that covers the line evenly, so that shares are exact
 * after few requests. */
#ifndef RPD_PROXY_SPLIT_H
#define RPD_PROXY_SPLIT_H

#include "worker/proxy/exchange.h"
#include "worker/proxy/steps.h"

/* Where a client is on the line of `name`, of 2^64: another one for each name. It may need a cookie
 * to be there again: split_answer. */
uint64_t split_point(struct exchange *x, const struct conf_sticky_value *sticky, const char *name);
/* The same for a session; NULL: it does not stick. */
uint64_t split_session_point(struct proxy *p, const struct ip *peer, const char *name);

/* The step: chooses x->backend. */
enum step_result split_request(struct exchange *x);
/* The same for a session from `peer`, which has no cookie: it sticks by its address. */
const struct conf_backend *split_session(struct proxy *p, const struct conf_route *route,
                                         const struct ip *peer);
/* The cookie by which a new client of a split or canary comes back to its backend, into the head of
 * the answer; false: memory exhausted. */
bool split_set_cookie(struct exchange *x, struct head *h) __attribute__((warn_unused_result));
__attribute__((warn_unused_result))
static inline bool split_answer(struct exchange *x, struct head *h)
{
    return x->mark == 0 || split_set_cookie(x, h);
}

#endif
