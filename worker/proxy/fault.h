/* Faults that a route has injected on purpose, to test its clients: a share of requests is delayed,
 * or answered with an error. Each is drawn for by itself, in the order of the configuration. */
#ifndef RPD_PROXY_FAULT_H
#define RPD_PROXY_FAULT_H

#include "worker/proxy/steps.h"

enum step_result fault_step(struct exchange *x);
void fault_drop(struct exchange *x);

/* Says of an answer that came late by a fault that it did. */
bool fault_tell(struct exchange *x, struct fields *f) __attribute__((warn_unused_result));

/* The same, for any answer; false: memory exhausted. */
__attribute__((warn_unused_result))
static inline bool fault_answer(struct exchange *x, struct fields *f)
{
    return !x->fault || fault_tell(x, f);
}

#endif
