/* What a route asks of a request before it is answered or sent on: who may, how often, as whom. The
 * steps are in one table, in the order of the CONF_STEP_ bits; a route that has none of them pays
 * nothing. A step may wait for something, a server or time: the request stands still meanwhile, its
 * body unread. Called by l7.c, and by what a step has waited for. */
#ifndef RPD_PROXY_STEPS_H
#define RPD_PROXY_STEPS_H

#include "worker/proxy/exchange.h"

enum step_result {
    STEP_NEXT, /* nothing against it */
    STEP_WAIT, /* it calls steps_go_on, or answers, once it has what it waits for */
    STEP_DONE, /* it was answered, or has failed: the exchange may be gone */
};

/* The request's head is there and routed. At the end comes exchange_answer, unless a step has
 * answered. */
void steps_begin(struct exchange *x);
/* The step that waited says: nothing against it. */
void steps_go_on(struct exchange *x);
/* x ends or is answered: a step that waits must forget it. */
void steps_drop(struct exchange *x);

#endif
