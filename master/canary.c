/* Canaries' states: canary.h. Called by objects.c, canary_verdict.c and canary_command.c; owns
 * nothing, blocks nowhere. */
#include "master/canary.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/core/units.h"

static const char *const sides[] = { "stable", "canary" };

/* ---- objects ---- */

static bool add(struct segment *seg, enum stats_kind kind, const char *name,
                struct report *report)
{
    if (segment_add(seg, kind, name) == 0)
        return true;
    report_error(report, "statistics of canary %s: %s", name, strerror(errno));
    return false;
}

/* `part` of the canary's; too long a name is no object's. */
static const char *part_name(char out[STATS_NAME_MAX + 32], const struct conf_canary *c,
                             const char *part)
{
    (void)snprintf(out, STATS_NAME_MAX + 32, "%s/%s", c->name, part);
    return out;
}

static const char *change_name(char out[STATS_NAME_MAX + 32], const struct conf_canary *c,
                               uint64_t number)
{
    char part[16];

    (void)snprintf(part, sizeof part, "%u", (unsigned)(number % CANARY_HISTORY));
    return part_name(out, c, part);
}

bool canary_add(struct segment *seg, const struct conf_canary *c, struct report *report)
{
    char name[STATS_NAME_MAX + 32];

    if (!add(seg, STATS_canary, c->name, report))
        return false;
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        if (!add(seg, STATS_canary_side, part_name(name, c, sides[i]), report))
            return false;
    for (unsigned i = 0; i < CANARY_HISTORY; i++)
        if (!add(seg, STATS_canary_change, change_name(name, c, i), report))
            return false;
    return true;
}

/* ---- changes ---- */

uint64_t canary_next_step(const struct conf_canary *c, uint64_t weight)
{
    for (size_t i = 0; i < c->steps.n; i++)
        if (c->steps.v[i] > weight)
            return c->steps.v[i];
    return 0;
}

static uint64_t steps_reached(const struct conf_canary *c, uint64_t weight)
{
    uint64_t n = 0;

    while (n < c->steps.n && c->steps.v[n] <= weight)
        n++;
    return n;
}

static void set_text(char to[STATS_TEXT_MAX], struct slice text)
{
    if (text.n >= STATS_TEXT_MAX)
        text.n = STATS_TEXT_MAX - 1;
    (void)slice_copy(to, STATS_TEXT_MAX, text);
}

struct count { uint64_t requests, errors; };

/* Since the step began; it ends here, and another begins (is_first: the first one). */
static struct count count_anew(struct segment *seg, const struct conf_canary *c, const char *side,
                               bool is_first)
{
    char name[STATS_NAME_MAX + 32];
    struct stats_canary_side_shared *s =
        STATS_SHARED(seg, canary_side, part_name(name, c, side));
    struct count now = { 0, 0 }, since;

    for (unsigned i = 0; i < segment_slots(seg); i++) {
        const struct stats_canary_side *slot = segment_peek(seg, STATS_canary_side, name, i);

        if (!slot)
            continue;
        now.errors += stat_get(&slot->errors_total);
        now.requests += stat_get(&slot->requests_total);
    }
    since.requests = now.requests - stat_get(&s->base_requests);
    since.errors = now.errors - stat_get(&s->base_errors);
    stat_set(&s->base_requests, now.requests);
    stat_set(&s->base_errors, now.errors);
    if (is_first) {
        stat_set(&s->run_requests, now.requests);
        stat_set(&s->run_errors, now.errors);
    }
    return since;
}

/* What was found since the step began goes with the change that ends it. */
static void remember(struct segment *seg, const struct conf_canary *c, uint64_t number,
                     const struct canary_change *change, bool is_first)
{
    char name[STATS_NAME_MAX + 32];
    struct stats_canary_change_shared *at =
        STATS_SHARED(seg, canary_change, change_name(name, c, number));
    struct count stable = count_anew(seg, c, sides[0], is_first);
    struct count canary = count_anew(seg, c, sides[1], is_first);

    stat_set(&at->number, number);
    stat_set(&at->at, clock_wall_us());
    stat_set(&at->event, change->event);
    stat_set(&at->step, steps_reached(c, change->weight));
    stat_set(&at->weight, change->weight);
    stat_set(&at->is_asked, change->is_asked);
    stat_set(&at->by_uid, change->uid);
    stat_set(&at->stable_requests, stable.requests);
    stat_set(&at->stable_errors, stable.errors);
    stat_set(&at->canary_requests, canary.requests);
    stat_set(&at->canary_errors, canary.errors);
    set_text(at->reason, change->reason);
}

static void log_change(const struct conf_canary *c, const struct canary_change *change,
                       uint64_t old)
{
    struct strbuf line;

    strbuf_init(&line);
    strbuf_printf(&line, "canary %s: %s, ", c->name,
                  stats_value_name("canary_event", change->event));
    units_print_percent(change->weight, &line);
    if (change->weight != old) {
        strbuf_adds(&line, " (was ");
        units_print_percent(old, &line);
        strbuf_addc(&line, ')');
    }
    strbuf_printf(&line, ": %.*s", SLICE_ARG(change->reason));
    if (change->is_asked)
        strbuf_printf(&line, ", by uid %lu", (unsigned long)change->uid);
    if (change->event == CANARY_ROLLBACK && !change->is_asked)
        log_warnx("%s", line.s);
    else
        log_notice("%s", line.s);
    strbuf_fini(&line);
}

void canary_change(struct segment *seg, const struct conf_canary *c,
                   const struct canary_change *change)
{
    struct stats_canary_shared *s = STATS_SHARED(seg, canary, c->name);
    uint64_t number = stat_get(&s->changes) + 1, old = stat_get(&s->weight);
    bool is_first = change->event == CANARY_START || change->event == CANARY_WAIT;

    remember(seg, c, number, change, is_first);
    stat_set(&s->weight, change->weight);
    stat_set(&s->step, steps_reached(c, change->weight));
    stat_set(&s->since, clock_wall_us());
    stat_set(&s->state, change->state);
    if (is_first)
        stat_set(&s->begun, number);
    stat_publish(&s->changes);
    log_change(c, change, old);
}

/* ---- the configuration ---- */

static void print_steps(const struct conf_canary *c, struct strbuf *out)
{
    for (size_t i = 0; i < c->steps.n; i++) {
        strbuf_adds(out, i > 0 ? ", " : "");
        units_print_percent(c->steps.v[i], out);
    }
}

static uint64_t plan_of(const struct conf_canary *c, struct slice steps)
{
    struct strbuf plan;
    uint64_t hash;

    strbuf_init(&plan);
    strbuf_printf(&plan, "%s %s %.*s", c->stable->name, c->canary->name, SLICE_ARG(steps));
    hash = hash_stable(plan.s, plan.n);
    strbuf_fini(&plan);
    return hash ? hash : 1;
}

static void begin_anew(struct segment *seg, const struct conf_canary *c)
{
    if (c->start == CONF_CANARY_AUTO)
        canary_change(seg, c, &(struct canary_change){ .event = CANARY_START,
            .state = CANARY_RUNNING, .weight = c->steps.v[0], .reason = SLICE("configured") });
    else
        canary_change(seg, c, &(struct canary_change){ .event = CANARY_WAIT,
            .state = CANARY_WAITING, .reason = SLICE("configured, start = manual") });
}

void canary_configure(struct segment *seg, const struct conf_canary *c, bool was_there)
{
    struct stats_canary_shared *s = STATS_SHARED(seg, canary, c->name);
    struct strbuf steps;
    uint64_t plan;

    strbuf_init(&steps);
    print_steps(c, &steps);
    plan = plan_of(c, strbuf_slice(&steps));
    stat_set(&s->step_time, (uint64_t)c->step_time_ms * 1000);
    stat_set(&s->min_requests, c->min_requests);
    if (!was_there || stat_get(&s->plan) != plan) {
        set_text(s->steps, strbuf_slice(&steps));
        set_text(s->stable_backend, slice_str(c->stable->name));
        set_text(s->canary_backend, slice_str(c->canary->name));
        stat_set(&s->plan, plan);
        begin_anew(seg, c);
    }
    strbuf_fini(&steps);
}
