/* Basic authentication (RFC 7617): the step of requests. */
#ifndef RPD_PROXY_AUTH_BASIC_H
#define RPD_PROXY_AUTH_BASIC_H

#include "worker/proxy/steps.h"

enum step_result auth_basic_step(struct exchange *x);
void auth_basic_drop(struct exchange *x);

#endif
