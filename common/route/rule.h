/* A route's conditions, ready to be asked: method, fields, cookies, query parameters, and a path's
 * pattern. Private to common/route. */
#ifndef RPD_ROUTE_RULE_H
#define RPD_ROUTE_RULE_H

#include "common/base/arena.h"
#include "common/route/route.h"

struct rule {
    const struct conf_route *route;
    bool is_plain;              /* there are none: it takes whatever has its host and path */
    bool is_limit_told;
};

struct rule *rule_new(const struct conf_route *route, struct arena *arena);
/* Is a route with a's conditions more specific than one with b's? */
bool rule_is_before(const struct rule *a, const struct rule *b);
/* `captures` may be NULL. */
enum route_verdict rule_ask(struct rule *rule, const struct route_request *q,
                            struct regex_captures *captures,
                            const struct conf_condition **condition);

#endif
