/* Asking limits, and what a refused request is told: limit.h. */
#include "worker/proxy/limit.h"

#include <assert.h>
#include <stdlib.h>

#define NS_PER_US 1000
#define NS_PER_S 1000000000u
/* To a client that has too many at a time: one of them may end whenever it does. */
#define RETRY_AFTER_CONNS "1"

/* ---- a generation's ---- */

static bool bind_one(struct limit *l, struct limits *limits, const struct conf_limit *conf,
                     struct segment *segment, unsigned slot)
{
    *l = (struct limit){
        .conf = conf,
        .rule = { .interval_ns = conf_rate_interval(conf->rate), .burst = conf->burst,
                  .max_holds = conf->max_conns },
        .stats = STATS_SLOT(segment, limit, conf->name, slot),
        .shared = STATS_SHARED(segment, limit, conf->name),
    };
    return limits && l->stats && l->shared && limits_find(limits, conf, &l->table);
}

struct limit *limits_of_generation(struct limits *limits, const struct conf *conf,
                                   struct segment *segment, unsigned slot,
                                   struct report *report)
{
    struct limit *v = xcalloc(conf->nlimits + 1, sizeof *v);

    for (size_t i = 0; i < conf->nlimits; i++) {
        if (bind_one(&v[i], limits, &conf->limits[i], segment, slot))
            continue;
        report_error(report, "limit %s has no memory", conf->limits[i].name);
        free(v);
        return NULL;
    }
    return v;
}

void limits_tick(const struct generation *g)
{
    for (size_t i = 0; i < g->conf->nlimits; i++)
        stat_set(&g->limits[i].shared->keys, stat_get(&g->limits[i].table.totals->used));
}

/* ---- asking ---- */

static void count(const struct limit *l, enum limit_verdict verdict, const struct limit_taken *t)
{
    if (t->has_ousted)
        stat_inc(&l->stats->evicted);
    switch (verdict) {
    case LIMIT_UNCOUNTED:
        stat_inc(&l->stats->uncounted);
        stat_inc(&l->stats->allowed);
        break;
    case LIMIT_ALLOWED:
        stat_inc(&l->stats->allowed);
        if (t->is_held)
            stat_inc(&l->stats->active);
        break;
    case LIMIT_TOO_MANY:
        stat_inc(&l->stats->limited_conns);
        stat_inc(&l->stats->limited);
        break;
    case LIMIT_TOO_FAST:
        stat_inc(&l->stats->limited);
        break;
    }
}

static void over(const struct limit_use *use, struct limit_taken *t, bool is_refused)
{
    const struct limit *l = use->limit;

    if (t->is_held)
        stat_dec(&l->stats->active);
    if (is_refused)
        limit_give_back(&l->table, t);
    else
        limit_release(&l->table, t);
}

static void all_over(struct limit_uses *u, bool is_refused)
{
    for (unsigned i = 0; i < u->n; i++)
        over(&u->v[i], &u->v[i].taken, is_refused);
    u->n = 0;
}

/* One limit more; what it says is in the last of *u, unless the key is empty. */
static enum limit_verdict ask(const struct limit *l, const struct vars *v, uint64_t now_us,
                              struct limit_uses *u)
{
    struct limit_use *use = &u->v[u->n];
    char room[CONF_LIMIT_KEY_MAX];
    size_t n = vars_expand(&l->conf->key, v, room, sizeof room, false, NULL);
    enum limit_verdict verdict;

    if (n == 0)
        return LIMIT_ALLOWED;
    if (n > sizeof room)
        n = sizeof room;
    use->limit = l;
    verdict = limit_ask(&l->table, &l->rule, slice_of(room, n), now_us * NS_PER_US, &use->taken);
    count(l, verdict, &use->taken);
    u->n++;
    return verdict;
}

/* All of a route's limits that are due; false: the last of *u says no. */
static bool ask_all(const struct generation *g, const struct conf_route *route, bool is_after,
                    const struct vars *v, uint64_t now_us, struct limit_uses *u,
                    enum limit_verdict *verdict)
{
    for (size_t i = 0; i < route->limit.n; i++) {
        const struct limit *l = &g->limits[route->limit.v[i]->index];

        if (conf_limit_is_after(route, l->conf) != is_after)
            continue;
        *verdict = ask(l, v, now_us, u);
        if (*verdict == LIMIT_TOO_FAST || *verdict == LIMIT_TOO_MANY)
            return false;
    }
    return true;
}

static size_t size_of(const struct conf_route *route)
{
    return sizeof(struct limit_uses) + route->limit.n * sizeof(struct limit_use);
}

static enum end_reason reason_of(enum limit_verdict verdict)
{
    return verdict == LIMIT_TOO_MANY ? END_LIMITED_CONNS : END_LIMITED;
}

/* ---- what is said of it ---- */

static unsigned long long seconds_up(uint64_t ns)
{
    return (ns + NS_PER_S - 1) / NS_PER_S;
}

/* draft-ietf-httpapi-ratelimit-headers-10: the quota is what may come at once, the window the time
 * in which that is earned back. */
static struct slice policy_text(struct arena *arena, struct slice before, const struct limit *l)
{
    return arena_printf(arena, "%.*s%s\"%s\";q=%u;w=%llu", SLICE_ARG(before),
                        before.n > 0 ? ", " : "", l->conf->name, l->rule.burst,
                        seconds_up(l->rule.interval_ns * l->rule.burst));
}

static struct slice left_text(struct arena *arena, struct slice before, const struct limit *l,
                              const struct limit_taken *t)
{
    return arena_printf(arena, "%.*s%s\"%s\";r=%u;t=%llu", SLICE_ARG(before),
                        before.n > 0 ? ", " : "", l->conf->name, t->left, seconds_up(t->wait_ns));
}

bool limit_say_left(struct exchange *x, struct head *h)
{
    struct slice policy = SLICE(""), left = SLICE("");

    for (unsigned i = 0; i < x->limits->n; i++) {
        const struct limit_use *use = &x->limits->v[i];

        if (!use->limit->conf->headers || !use->taken.interval_ns)
            continue;
        policy = policy_text(&x->stream.arena, policy, use->limit);
        left = left_text(&x->stream.arena, left, use->limit, &use->taken);
        if (!policy.p || !left.p)
            return false;
    }
    return policy.n == 0 ||
           (fields_add(&h->fields, FIELD_OTHER, SLICE("RateLimit-Policy"), policy) &&
            fields_add(&h->fields, FIELD_OTHER, SLICE("RateLimit"), left));
}

/* ---- requests ---- */

static void refuse(struct exchange *x, const struct limit_use *use, enum limit_verdict verdict)
{
    struct arena *arena = &x->stream.arena;
    const struct limit *l = use->limit;
    bool is_rate = verdict == LIMIT_TOO_FAST;
    struct field fields[3] = {
        { .id = FIELD_RETRY_AFTER, .name = SLICE("Retry-After"),
          .value = SLICE(RETRY_AFTER_CONNS) },
        { .name = SLICE("RateLimit-Policy") },
        { .name = SLICE("RateLimit") },
    };

    if (is_rate) {
        fields[0].value = arena_printf(arena, "%llu", seconds_up(use->taken.wait_ns));
        fields[1].value = policy_text(arena, SLICE(""), l);
        fields[2].value = left_text(arena, SLICE(""), l, &use->taken);
    }
    if (x->route_stats)
        stat_inc(&x->route_stats->limited);
    x->detail = l->conf->name;
    all_over(x->limits, true);
    x->limits = NULL;
    if (is_rate && (!fields[0].value.p || !fields[1].value.p || !fields[2].value.p))
        exchange_fail(x, END_EXHAUSTED);
    else
        reply_error_with(x, reason_of(verdict), l->conf->status, fields, is_rate ? 3 : 1);
}

static enum step_result run(struct exchange *x, bool is_after)
{
    enum limit_verdict verdict = LIMIT_ALLOWED;
    struct vars v;

    if (!x->limits) {
        x->limits = arena_alloc(&x->stream.arena, size_of(x->route));
        if (!x->limits) {
            exchange_fail(x, END_EXHAUSTED);
            return STEP_DONE;
        }
        x->limits->n = 0;
    }
    exchange_vars(x, &v);
    if (ask_all(x->generation, x->route, is_after, &v, x->proxy->loop.now_us, x->limits, &verdict))
        return STEP_NEXT;
    refuse(x, &x->limits->v[x->limits->n - 1], verdict);
    return STEP_DONE;
}

enum step_result limit_request(struct exchange *x)
{
    return run(x, false);
}

enum step_result limit_request_after(struct exchange *x)
{
    return run(x, true);
}

void limit_request_over(struct exchange *x)
{
    all_over(x->limits, false);
    x->limits = NULL;
}

/* ---- sessions ---- */

enum end_reason limit_session(const struct generation *g, const struct conf_route *route,
                              const struct vars *v, uint64_t now_us, struct limit_uses **uses)
{
    enum limit_verdict verdict = LIMIT_ALLOWED;
    struct limit_uses *u = calloc(1, size_of(route));

    if (!u)
        return END_EXHAUSTED;
    if (ask_all(g, route, false, v, now_us, u, &verdict)) {
        *uses = u;
        return END_OK;
    }
    all_over(u, true);
    free(u);
    return reason_of(verdict);
}

void limit_session_over(struct limit_uses **uses)
{
    struct limit_uses *u = *uses;

    *uses = NULL;
    if (!u)
        return;
    all_over(u, false);
    free(u);
}
