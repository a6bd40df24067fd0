/* Hedging: what has no side effect and takes long is asked of a second server as well. Called by
 * attempt.c; l7.c and body.c know of one try alone, the one that leads.
 *
 *   lead --hedge_timer--> lead and rival --a final answer--> lead (the other: broken off)
 *                                        --one fails-------> lead (the other one)
 *
 * While there are two, neither is made again when it fails. */
#include "worker/proxy/attempt.h"

#include <assert.h>
#include "worker/proxy/body.h"
#include "worker/up/latency.h"

/* ---- one of two is left ---- */

static void remain(struct attempt *a)
{
    struct exchange *x = a->exchange;
    bool is_promoted = x->lead != a;

    x->lead = a;
    x->rival = NULL;
    x->detail = NULL;
    a->up.retries = x->retries_left;
    if (!is_promoted)
        return;
    x->stream.up = a->is_connected ? &a->h1_up.side : NULL;
    x->connect_us = a->up.connect_us;
    if (a->up.server)
        attempt_at(x, a->up.server);
}

static struct attempt *other_of(const struct attempt *a)
{
    struct exchange *x = a->exchange;

    return a == x->lead ? x->rival : x->lead;
}

bool hedge_leave(struct attempt *a, enum end_reason why, unsigned status)
{
    struct attempt *other = a->exchange->rival ? other_of(a) : NULL;

    if (!other)
        return false;
    attempt_left(a, why, status);
    remain(other);
    return true;
}

void hedge_settle(struct attempt *a)
{
    struct exchange *x = a->exchange;

    hedge_forget(x);
    if (x->rival) {
        struct attempt *other = other_of(a);

        if (other->up.server) /* it is slow this once */
            up_spare(&a->up, other->up.server);
        attempt_cut(other);
        remain(a);
    }
    if (a == x->hedge)
        stat_inc(&a->up.backend->stats->hedges_won);
}

/* ---- the second ---- */

static void begin_second(struct exchange *x)
{
    struct attempt *first = x->lead, *a = arena_alloc(&x->stream.arena, sizeof *a);

    if (!a)
        return;
    memset(a, 0, offsetof(struct attempt, h1_up));
    a->exchange = x;
    a->up = first->up;
    a->up.retries = 0;
    a->is_open = true;
    x->hedge = x->rival = a;
    x->retries_left = first->up.retries;
    first->up.retries = 0;
    if (up_hedge(&a->up, &first->up))
        return;
    a->is_open = false;
    first->up.retries = x->retries_left;
    x->hedge = x->rival = NULL;
}

static void on_timer(struct timer *t)
{
    struct exchange *x = CONTAINER(t, struct exchange, hedge_timer);

    if (x->state == X_FORWARDING && !x->hedge && x->lead->up.server && body_is_kept(x))
        begin_second(x);
}

/* Microseconds; 0: never. */
static uint64_t patience(const struct exchange *x)
{
    const struct conf_hedge *h = &x->route->hedge_after;

    if (h->quantile == 0)
        return (uint64_t)h->after_ms * 1000;
    return latency_quantile(x->lead->up.backend, h->quantile);
}

void hedge_wait(struct exchange *x)
{
    struct loop *loop = &x->proxy->loop;
    uint64_t us;

    if (x->hedge ||
        !method_is_idempotent(x->stream.request.method) || x->stream.request.upgrade.n > 0 ||
        !body_is_kept(x) || (us = patience(x)) == 0)
        return;
    if (!x->has_hedge_timer)
        timer_init(&x->hedge_timer, on_timer);
    x->has_hedge_timer = true;
    timer_set(&loop->timers, &x->hedge_timer, loop->now_us, us);
}

void hedge_forget(struct exchange *x)
{
    if (x->has_hedge_timer)
        timer_clear(&x->proxy->loop.timers, &x->hedge_timer);
    x->has_hedge_timer = false;
}
