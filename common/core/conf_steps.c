/* Which steps a route asks of a request before it is answered or sent on: what its settings say, as
 * one word that the proxy looks at. Called by conf_build. */
#include "common/core/conf_impl.h"

static uint32_t steps_of(const struct conf_route *r)
{
    uint32_t steps = 0;

    if (r->access)
        steps |= CONF_STEP_ACCESS;
    if (r->cors_texts)
        steps |= CONF_STEP_CORS;
    if (r->users)
        steps |= CONF_STEP_BASIC;
    if (r->jwt_key.n > 0)
        steps |= CONF_STEP_JWT;
    if (r->auth_request.backend)
        steps |= CONF_STEP_AUTH_REQUEST;
    if (r->fault.n > 0)
        steps |= CONF_STEP_FAULT;
    if (r->split.n > 1)
        steps |= CONF_STEP_SPLIT;
    if (r->canary)
        steps |= CONF_STEP_CANARY;
    for (size_t i = 0; i < r->limit.n; i++)
        steps |= conf_limit_is_after(r, r->limit.v[i]) ? CONF_STEP_LIMIT_AFTER : CONF_STEP_LIMIT;
    return steps;
}

void conf_settle_steps(struct conf *conf)
{
    for (size_t i = 0; i < conf->nroutes; i++)
        conf->routes[i].steps = steps_of(&conf->routes[i]);
    conf->route_defaults.steps = steps_of(&conf->route_defaults);
}
