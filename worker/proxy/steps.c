/* The table of steps, and its runner. */
#include "worker/proxy/steps.h"

#include <assert.h>
#include "worker/proxy/access.h"
#include "worker/proxy/auth_basic.h"
#include "worker/proxy/auth_request.h"
#include "worker/proxy/canary.h"
#include "worker/proxy/cors.h"
#include "worker/proxy/fault.h"
#include "worker/proxy/jwt.h"
#include "worker/proxy/limit.h"
#include "worker/proxy/split.h"

struct step {
    uint32_t bit; /* CONF_STEP_ */
    enum step_result (*run)(struct exchange *x);
    /* It waited, and will not be gone on with; NULL: it never waits. */
    void (*drop)(struct exchange *x);
};

/* In the order of their bits, which is that of the requests' way. */
static const struct step steps[] = {
    { CONF_STEP_ACCESS, access_step, NULL },
    { CONF_STEP_CORS, cors_step, NULL },
    { CONF_STEP_LIMIT, limit_request, NULL },
    { CONF_STEP_BASIC, auth_basic_step, auth_basic_drop },
    { CONF_STEP_JWT, jwt_step, NULL },
    { CONF_STEP_AUTH_REQUEST, auth_request_step, auth_request_drop },
    { CONF_STEP_LIMIT_AFTER, limit_request_after, NULL },
    { CONF_STEP_FAULT, fault_step, fault_drop },
    { CONF_STEP_SPLIT, split_request, NULL },
    { CONF_STEP_CANARY, canary_request, NULL },
};
#define NSTEPS (sizeof steps / sizeof *steps)

static void run(struct exchange *x)
{
    while (x->step < NSTEPS) {
        const struct step *step = &steps[x->step++];

        if (!(x->route->steps & step->bit))
            continue;
        switch (step->run(x)) {
        case STEP_NEXT:
            break;
        case STEP_WAIT:
            assert(step->drop);
            x->is_step_waiting = true;
            return;
        case STEP_DONE:
            return;
        }
    }
    exchange_answer(x);
}

void steps_begin(struct exchange *x)
{
    x->state = X_STEPPING;
    x->step = 0;
    run(x);
}

void steps_go_on(struct exchange *x)
{
    assert(x->is_step_waiting);
    x->is_step_waiting = false;
    run(x);
}

void steps_drop(struct exchange *x)
{
    if (!x->is_step_waiting)
        return;
    x->is_step_waiting = false;
    steps[x->step - 1].drop(x);
}
