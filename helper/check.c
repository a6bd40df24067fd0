/* When servers are checked, and what results do. Owns no connection: probe.c's end by themselves.
 * Called by servers.c, timers and probes. */
#include "helper/check.h"

#include <assert.h>
#include <stdlib.h>
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "helper/servers.h"

/* Connections at a time; half of them are one backend's at most. Below the usual hard limit of
 * descriptors. */
#define IN_FLIGHT_MAX 1000
/* Between the first checks of two servers: a small backend's are all done within moments, and
 * thousands do not come at once. */
#define SPREAD_US 1000
/* One that could not be made is tried again after so long. */
#define EXHAUSTED_US 250000
#define WARN_US (60 * 1000000ull)

static struct loop *loop_of(const struct check *c)
{
    return c->all->conns->loop;
}

static struct helper_server *server_of(struct check *c)
{
    return CONTAINER(c, struct helper_server, check);
}

static uint64_t interval_us(const struct check *c)
{
    return c->target.conf->check_interval_ms * 1000ull;
}

/* ---- when ---- */

static uint64_t draw(struct checks *all)
{
    all->draws++;
    return hash_bytes(&all->draws, sizeof all->draws);
}

static void schedule(struct check *c, uint64_t delay_us)
{
    struct loop *l = loop_of(c);

    timer_set(&l->timers, &c->due, l->now_us, delay_us);
    stat_set(&server_of(c)->health.server->check_next, clock_wall_us() + delay_us);
}

/* The first one of a server that is new here, or is asked something else now. */
static void schedule_first(struct check *c)
{
    schedule(c, c->all->fresh++ * SPREAD_US % interval_us(c));
}

static void schedule_next(struct check *c, const struct probe_outcome *o)
{
    enum server_state state = (enum server_state)stat_get(&server_of(c)->health.server->state);
    uint64_t us = interval_us(c);

    if (o->result == CHECK_NONE) {
        schedule(c, us < EXHAUSTED_US ? us : EXHAUSTED_US);
        return;
    }
    if (check_tally_is_changing(&c->tally, state))
        us /= 4;
    schedule(c, check_delay_us(us, o->took_us, draw(c->all)));
}

/* ---- results ---- */

static void record(struct helper_server *s, const struct probe_outcome *o)
{
    struct stats_server_shared *stats = s->health.server;

    stat_set(&stats->check_status, o->status);
    stat_set(&stats->check_us, o->took_us);
    stat_set(&stats->check_at, clock_wall_us());
    stat_set(&stats->check_result, o->result);
    stat_inc(o->result == CHECK_PASSED ? &stats->checks_passed : &stats->checks_failed);
}

/* A server that workers ejected has to prove itself anew: checks count from then on. */
static bool may_return(struct check *c, const struct check_rules *rules, uint64_t since)
{
    uint64_t now_us = clock_wall_us();

    if (c->ejected_at != since) {
        c->ejected_at = since;
        c->tally = (struct check_tally){ 0, 0 };
    }
    return now_us >= since && now_us - since >= rules->interval_us * rules->rise;
}

static void turn_up(struct helper_server *s, enum server_state from)
{
    bool is_slow = from != SERVER_UNCHECKED && s->backend->conf->slow_start_ms > 0;

    (void)health_change(&s->health, HEALTH_BIT(SERVER_UNCHECKED) | HEALTH_BIT(SERVER_DOWN) |
                        HEALTH_BIT(SERVER_EJECTED), is_slow ? SERVER_STARTING : SERVER_UP,
                        SERVER_WHY_CHECKS_PASSED, NULL);
}

static void judge(struct check *c, const struct probe_outcome *o)
{
    struct helper_server *s = server_of(c);
    const struct conf_backend *b = s->backend->conf;
    const struct check_rules rules = { b->rise, b->fall, interval_us(c) };
    enum server_state state = (enum server_state)stat_get(&s->health.server->state);
    bool returns = state == SERVER_EJECTED
                   && may_return(c, &rules, stat_get(&s->health.server->since));

    switch (check_tally_count(&c->tally, &rules, o->result == CHECK_PASSED, state, returns)) {
    case CHECK_STAYS:
        break;
    case CHECK_TURNS_UP:
        turn_up(s, state);
        break;
    case CHECK_TURNS_DOWN:
        (void)health_change(&s->health, HEALTH_GOOD | HEALTH_BIT(SERVER_EJECTED), SERVER_DOWN,
                            SERVER_WHY_CHECKS_FAILED, o->detail);
        break;
    }
}

static void warn_exhausted(struct checks *all, const char *why)
{
    uint64_t now_us = all->conns->loop->now_us;

    if (all->warned_us != 0 && now_us - all->warned_us < WARN_US)
        return;
    all->warned_us = now_us;
    log_warnx("health checks cannot be made: %s", why);
}

/* ---- making them ---- */

static void on_done(void *owner, const struct probe_outcome *o);

static struct check_queue *queue_of(struct check *c)
{
    return &server_of(c)->backend->queue;
}

static bool has_place(const struct checks *all, const struct check_queue *q)
{
    return q->in_flight < IN_FLIGHT_MAX - all->in_flight;
}

static void start(struct check *c)
{
    assert(!c->probe);
    c->all->in_flight++;
    queue_of(c)->in_flight++;
    c->probe = probe_start(c->all->conns, &c->target, on_done, c);
}

/* The first in turn that has a place; false: none has. */
static bool start_waiting(struct checks *all)
{
    LIST_EACH(it, &all->queues) {
        struct check_queue *q = CONTAINER(it, struct check_queue, link);

        if (!has_place(all, q))
            continue;
        start(CONTAINER(list_shift(&q->waiting), struct check, waiting));
        list_remove(&q->link);
        if (!list_empty(&q->waiting))
            list_push(&all->queues, &q->link);
        return true;
    }
    return false;
}

static void leave(struct check *c)
{
    c->all->in_flight--;
    queue_of(c)->in_flight--;
    while (start_waiting(c->all))
        ;
}

static void wait_for_place(struct check *c)
{
    struct check_queue *q = queue_of(c);

    if (list_empty(&q->waiting))
        list_push(&c->all->queues, &q->link);
    list_push(&q->waiting, &c->waiting);
}

static void on_done(void *owner, const struct probe_outcome *o)
{
    struct check *c = owner;

    c->probe = NULL;
    if (o->result == CHECK_NONE) {
        warn_exhausted(c->all, o->detail);
    } else {
        record(server_of(c), o);
        judge(c, o);
    }
    schedule_next(c, o);
    leave(c);
}

static void on_due(struct timer *t)
{
    struct check *c = CONTAINER(t, struct check, due);

    if (has_place(c->all, queue_of(c)))
        start(c);
    else
        wait_for_place(c);
}

/* ---- life ---- */

void checks_init(struct checks *all, struct conn_pool *conns)
{
    *all = (struct checks){ .conns = conns };
    list_init(&all->queues);
}

void check_queue_init(struct check_queue *q)
{
    list_init(&q->link);
    list_init(&q->waiting);
    q->in_flight = 0;
}

void check_init(struct check *c, struct checks *all)
{
    *c = (struct check){ .all = all };
    timer_init(&c->due, on_due);
    list_init(&c->waiting);
}

/* In flight, waiting or due: not any more. */
static void withdraw(struct check *c)
{
    timer_clear(&loop_of(c)->timers, &c->due);
    list_remove(&c->waiting);
    if (list_empty(&queue_of(c)->waiting))
        list_remove(&queue_of(c)->link);
    if (!c->probe)
        return;
    probe_cancel(&c->probe);
    leave(c);
}

void check_stop(struct check *c)
{
    withdraw(c);
    c->is_on = false;
}

/* What checks found says nothing without them; and who has an address is down by nothing else,
 * whatever the reason says by now. */
static void forget(struct helper_server *s)
{
    uint64_t why = stat_get(&s->health.server->why);

    (void)health_change(&s->health, HEALTH_BIT(SERVER_UP) |
                        (why != SERVER_WHY_NO_NAME ? HEALTH_BIT(SERVER_DOWN) : 0),
                        SERVER_UNCHECKED, SERVER_WHY_NO_CHECK, NULL);
}

static bool is_sooner(const struct check *c, uint64_t us)
{
    return timer_is_set(&c->due) && c->due.due_us > loop_of(c)->now_us + us;
}

void check_apply(struct helper_server *s, bool is_same)
{
    struct check *c = &s->check;
    bool was_on = c->is_on;

    c->target = (struct probe_target){ .conf = s->backend->conf, .address = s->conf->text,
                                       .addr = s->addr, .tls = s->backend->tls,
                                       .tls_name = s->tls_name };
    if (!helper_backend_is_checked(s->backend) || s->addr.len == 0) {
        check_stop(c);
        stat_set(&s->health.server->check_next, 0);
        if (!helper_backend_is_checked(s->backend))
            forget(s);
        return;
    }
    c->is_on = true;
    if (was_on && is_same) {
        if (c->probe)
            probe_moved(c->probe);
        if (is_sooner(c, interval_us(c)))
            schedule(c, draw(c->all) % interval_us(c));
        return;
    }
    withdraw(c);
    c->tally = (struct check_tally){ 0, 0 };
    schedule_first(c);
}
