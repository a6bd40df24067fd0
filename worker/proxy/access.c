/* The client as trusted proxies tell of it is who is judged. Called by steps.c; l4.c asks for
 * itself. */
#include "worker/proxy/access.h"

enum step_result access_step(struct exchange *x)
{
    if (access_allows(x->route, &x->forwarded.client))
        return STEP_NEXT;
    if (x->route_stats)
        stat_inc(&x->route_stats->denied);
    exchange_fail(x, END_DENIED);
    return STEP_DONE;
}
