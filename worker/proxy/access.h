/* allow and deny: the step of requests, and the question for tcp sessions. */
#ifndef RPD_PROXY_ACCESS_H
#define RPD_PROXY_ACCESS_H

#include "common/core/conf.h"
#include "common/core/nets.h"
#include "worker/proxy/steps.h"

enum step_result access_step(struct exchange *x);

/* May that client's bytes be carried by the route? */
static inline bool access_allows(const struct conf_route *r, const struct ip *client)
{
    return !r->access || nets_allow(r->access, client);
}

#endif
