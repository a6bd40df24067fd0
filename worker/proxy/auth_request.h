/* auth_request: a server of another backend is asked whether a request may go on. What it says for
 * it goes along with the request, what it says against it is the client's answer; when it says
 * nothing, the request is refused. Called by steps.c and by what sends heads. */
#ifndef RPD_PROXY_AUTH_REQUEST_H
#define RPD_PROXY_AUTH_REQUEST_H

#include "worker/proxy/exchange.h"
#include "worker/proxy/steps.h"

/* The step, and its drop. */
enum step_result auth_request_step(struct exchange *x);
void auth_request_drop(struct exchange *x);

/* The request's trailers, without fields that nobody but the server asked may say. Without memory
 * none is left. */
const struct fields *auth_request_trailers(struct exchange *x, const struct fields *trailers);

bool auth_request_set_cookies(const struct exchange *x, struct head *h)
    __attribute__((warn_unused_result));
/* The cookies that came with its yes, into the head of the answer; false: memory exhausted. */
__attribute__((warn_unused_result))
static inline bool auth_request_answer(const struct exchange *x, struct head *h)
{
    return !x->auth || auth_request_set_cookies(x, h);
}

#endif
