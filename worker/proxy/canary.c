/* Called by steps.c, l4.c and finish.c. Keeps nothing: who is where is written by the master. */
#include "worker/proxy/canary.h"

#include "worker/proxy/split.h"
#include "worker/up/failure.h"

#define WHOLE 10000 /* hundredths of a percent */

/* ---- which side ---- */

static const struct generation_canary *canary_of(const struct generation *g,
                                                 const struct conf_canary *c)
{
    return &g->canaries[c->index];
}

/* `point` of 2^64. */
static bool is_below(uint64_t point, uint64_t weight)
{
    return (point >> 32) * WHOLE >> 32 < weight;
}

static const struct conf_backend *side_at(const struct generation *g, const struct conf_canary *c,
                                          uint64_t point)
{
    return is_below(point, stat_get(&canary_of(g, c)->shared->weight)) ? c->canary : c->stable;
}

static bool has_value(const struct conf_mark *mark, struct slice value)
{
    return value.p && (!mark->value.p || slice_eq(value, mark->value));
}

static bool has_header(const struct fields *f, const struct conf_mark *mark)
{
    FIELDS_EACH(it, f)
        if (slice_ieq(it->name, mark->name) && has_value(mark, it->value))
            return true;
    return false;
}

static bool is_tester(const struct exchange *x, const struct conf_canary *c)
{
    const struct vars v = { .request = &x->stream.request };

    return (c->match_header.name.n > 0 && has_header(&v.request->fields, &c->match_header)) ||
           (c->match_cookie.name.n > 0 &&
            has_value(&c->match_cookie, vars_cookie(&v, c->match_cookie.name)));
}

enum step_result canary_request(struct exchange *x)
{
    const struct conf_canary *c = x->route->canary;

    x->is_tester = is_tester(x, c);
    if (x->is_tester)
        x->backend = c->canary;
    else
        x->backend = side_at(x->generation, c, split_point(x, &c->sticky, c->name));
    return STEP_NEXT;
}

const struct conf_backend *canary_session(struct proxy *p, const struct generation *g,
                                          const struct conf_route *route, const struct ip *peer)
{
    const struct conf_canary *c = route->canary;
    bool is_sticky = c->sticky.how != CONF_STICKY_OFF;

    return side_at(g, c, split_session_point(p, is_sticky ? peer : NULL, c->name));
}

/* ---- what came of it ---- */

/* Of this process, not of the backend: it says nothing about that. */
static bool is_ours(enum end_reason why)
{
    return why == END_EXHAUSTED || why == END_NO_DESCRIPTORS || why == END_RETIRING ||
           why == END_INTERNAL;
}

static bool is_failure(enum end_reason why, unsigned status)
{
    return why == END_NO_SERVER || why == END_QUEUE_FULL || why == END_QUEUE_TIMEOUT ||
           failure_of(why, status) != 0;
}

static void count(const struct generation_canary *at, bool is_canary, enum end_reason why,
                  unsigned status, uint64_t us)
{
    struct stats_canary_side *side = is_canary ? at->canary : at->stable;

    if (is_ours(why))
        return;
    if (is_failure(why, status))
        stat_inc(&side->errors_total);
    histogram_add(&side->latency, us);
    stat_inc(&side->requests_total);
}

void canary_request_done(const struct exchange *x, uint64_t us)
{
    const struct conf_canary *c = x->route->canary;
    const struct generation_canary *at = canary_of(x->generation, c);

    if (x->is_tester)
        stat_inc(&at->stats->testers_total);
    else
        count(at, x->backend == c->canary, x->end, x->status, us);
}

void canary_session_done(const struct generation *g, const struct conf_route *route,
                         const struct conf_backend *backend, enum end_reason why, uint64_t us)
{
    const struct conf_canary *c = route->canary;

    count(canary_of(g, c), backend == c->canary, why, 0, us);
}
