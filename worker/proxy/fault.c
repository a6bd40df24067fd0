/* The step of faults. Called by steps.c and by its own timer; reply.c and attempt.c let it tell. */
#include "worker/proxy/fault.h"

#include "worker/up/ring.h"

#define WHOLE 10000 /* of shares */

struct fault_wait {
    struct timer timer;
    struct exchange *exchange;
    size_t next; /* fault, after the one that delays it */
};

/* Not evenly spread, as a split is: clients see faults come as faults do. */
static bool befalls(struct proxy *p, const struct conf_fault *f)
{
    uint64_t seed = ++p->fault_draws;

    return (ring_hash(&seed, sizeof seed) >> 32) * WHOLE >> 32 < f->share;
}

static void on_timer(struct timer *t);

static enum step_result delay(struct exchange *x, const struct conf_fault *f, size_t next)
{
    struct loop *loop = &x->proxy->loop;
    struct fault_wait *w = arena_alloc(&x->stream.arena, sizeof *w);

    if (!w) {
        exchange_fail(x, END_EXHAUSTED);
        return STEP_DONE;
    }
    w->exchange = x;
    w->next = next;
    x->fault_wait = w;
    timer_init(&w->timer, on_timer);
    timer_set(&loop->timers, &w->timer, loop->now_us, (uint64_t)f->delay_ms * 1000);
    return STEP_WAIT;
}

/* From fault number i on. */
static enum step_result inject(struct exchange *x, size_t i)
{
    const struct conf_faults *list = &x->route->fault;

    for (; i < list->n; i++) {
        const struct conf_fault *f = &list->v[i];

        if (!befalls(x->proxy, f))
            continue;
        if (!x->fault && x->route_stats)
            stat_inc(&x->route_stats->faults);
        x->fault = f;
        if (f->delay_ms > 0)
            return delay(x, f, i + 1);
        steps_drop(x); /* after a delay it waits no more */
        reply_error_with(x, END_FAULT, f->status, NULL, 0);
        return STEP_DONE;
    }
    return STEP_NEXT;
}

enum step_result fault_step(struct exchange *x)
{
    return inject(x, 0);
}

void fault_drop(struct exchange *x)
{
    if (!x->fault_wait)
        return;
    timer_clear(&x->proxy->loop.timers, &x->fault_wait->timer);
    x->fault_wait = NULL;
}

static void on_timer(struct timer *t)
{
    struct fault_wait *w = CONTAINER(t, struct fault_wait, timer);
    struct exchange *x = w->exchange;
    size_t next = w->next;

    fault_drop(x);
    switch (inject(x, next)) {
    case STEP_NEXT:
        steps_go_on(x);
        break;
    case STEP_WAIT:
    case STEP_DONE:
        break;
    }
}

bool fault_tell(struct exchange *x, struct fields *f)
{
    struct slice value;

    if (x->fault->delay_ms == 0) /* the error says it */
        return true;
    value = arena_printf(&x->stream.arena, "rpd; details=\"fault injected: %.*s\"",
                         SLICE_ARG(x->fault->text));
    return value.p && fields_add(f, FIELD_PROXY_STATUS, SLICE("Proxy-Status"), value);
}
