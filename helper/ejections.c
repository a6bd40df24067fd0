/* Timers over all servers: ejections and slow starts that are over are settled though no request
 * comes that would notice, and outliers are ejected. Owns nothing. */
#include "helper/ejections.h"

#include <stdio.h>
#include <stdlib.h>
#include "common/base/clock.h"
#include "common/base/mem.h"

#define SETTLE_US 200000
#define JUDGE_US (10 * 1000000)

/* ---- time ---- */

static void settle_all(const struct servers *all, uint64_t now_us)
{
    LIST_EACH(at, &all->backends) {
        const struct helper_backend *b = CONTAINER(at, struct helper_backend, link);

        LIST_EACH(it, &b->servers)
            health_settle(&CONTAINER(it, struct helper_server, link)->health, now_us,
                          b->conf->slow_start_ms, helper_backend_is_checked(b));
    }
}

static void on_settle(struct timer *t)
{
    struct ejections *e = CONTAINER(t, struct ejections, settle);

    settle_all(e->servers, clock_wall_us());
    timer_set(&e->loop->timers, t, e->loop->now_us, SETTLE_US);
}

/* ---- outliers ---- */

/* Since the segment was made. */
static struct outlier_count total_of(struct segment *segment, const struct helper_server *s)
{
    struct outlier_count sum = { 0, 0 };
    char name[STATS_NAME_MAX];
    unsigned slots = segment_slots(segment);

    (void)snprintf(name, sizeof name, "%s/%s", s->backend->name, s->name);
    for (unsigned i = 0; i < slots; i++) {
        const struct stats_server *slot = segment_peek(segment, STATS_server, name, i);

        if (!slot)
            continue;
        sum.requests += stat_get(&slot->requests_total);
        sum.failures += stat_get(&slot->failures) + stat_get(&slot->status_5xx);
    }
    return sum;
}

/* Of the interval; backups do not count, for they have another kind of traffic. */
struct crowd {
    struct helper_server **servers;
    struct outlier_count *counts;
    bool *is_out;
    size_t n, in_service, out; /* out: of those in service */
};

static void crowd_gather(struct crowd *c, struct segment *segment, const struct helper_backend *b)
{
    LIST_EACH(it, &b->servers) {
        struct helper_server *s = CONTAINER(it, struct helper_server, link);
        struct outlier_count total, before = s->before;

        if (s->conf->is_backup)
            continue;
        s->before = total = total_of(segment, s);
        if (!s->is_counted)
            before = total;
        s->is_counted = true;
        c->servers[c->n] = s;
        c->counts[c->n++] = (struct outlier_count){ total.requests - before.requests,
                                                    total.failures - before.failures };
        if (stat_get(&s->health.server->admin) != ADMIN_READY
            || stat_get(&s->health.server->weight) == 0)
            continue;
        c->in_service++;
        c->out += !health_is_good(s->health.server);
    }
}

static void eject(struct crowd *c, const struct helper_backend *b, double mean)
{
    for (size_t i = 0; i < c->n; i++) {
        char detail[80];

        if (!c->is_out[i] || !outlier_may_eject(c->in_service, c->out, b->conf->eject_max))
            continue;
        (void)snprintf(detail, sizeof detail, "%.1f %% of its requests succeed, of all %.1f %%",
                       100 * outlier_success(&c->counts[i]), 100 * mean);
        c->out += health_eject(&c->servers[i]->health, clock_wall_us(),
                               b->conf->eject_time_ms, SERVER_WHY_OUTLIER, detail);
    }
}

static void judge(struct segment *segment, const struct helper_backend *b)
{
    size_t n = b->by_name.count;
    struct crowd c = { xcalloc(n + 1, sizeof *c.servers), xcalloc(n + 1, sizeof *c.counts),
                       xcalloc(n + 1, sizeof *c.is_out), 0, 0, 0 };
    struct outlier_verdict verdict;

    crowd_gather(&c, segment, b);
    verdict = outlier_find(c.counts, c.n, c.is_out);
    if (verdict.out > 0)
        eject(&c, b, verdict.mean);
    free(c.servers);
    free(c.counts);
    free(c.is_out);
}

static void on_judge(struct timer *t)
{
    struct ejections *e = CONTAINER(t, struct ejections, judge);

    LIST_EACH(it, &e->servers->backends) {
        const struct helper_backend *b = CONTAINER(it, struct helper_backend, link);

        if (b->conf->eject_outliers && b->by_name.count >= OUTLIER_SERVERS_MIN)
            judge(e->servers->segment, b);
    }
    timer_set(&e->loop->timers, t, e->loop->now_us, JUDGE_US);
}

/* ---- life ---- */

void ejections_init(struct ejections *e, struct servers *servers, struct loop *loop)
{
    *e = (struct ejections){ .servers = servers, .loop = loop };
    timer_init(&e->settle, on_settle);
    timer_init(&e->judge, on_judge);
    timer_set(&loop->timers, &e->settle, loop->now_us, SETTLE_US);
    timer_set(&loop->timers, &e->judge, loop->now_us, SETTLE_US); /* from where to count */
}

void ejections_fini(struct ejections *e)
{
    timer_clear(&e->loop->timers, &e->settle);
    timer_clear(&e->loop->timers, &e->judge);
}
