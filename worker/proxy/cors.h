/* CORS (Fetch standard, 3.2): whose scripts may read a route's answers. Preflights are answered
 * here; what all other answers say of it is said here alone, whatever the server said. */
#ifndef RPD_PROXY_CORS_H
#define RPD_PROXY_CORS_H

#include "worker/proxy/steps.h"

enum step_result cors_step(struct exchange *x);

/* Makes the response's fields those of the route; false: memory exhausted. */
bool cors_answer_with(struct exchange *x, struct fields *f) __attribute__((warn_unused_result));

/* The same, for any route. */
__attribute__((warn_unused_result))
static inline bool cors_answer(struct exchange *x, struct fields *f)
{
    return !x->route->cors_texts || cors_answer_with(x, f);
}

#endif
