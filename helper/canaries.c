/* Canaries' evidence: canaries.h. Called by helper.c and the loop. The test itself is judge.c's. */
#include "helper/canaries.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"
#include "common/core/histogram.h"
#include "common/core/units.h"
#include "helper/judge.h"

#define LOOK_US 100000
#define WHOLE 10000.0 /* hundredths of a percent */

enum side { STABLE, CANARY, SIDES };
static const char *const side_names[SIDES] = { "stable", "canary" };

struct latency {
    uint64_t max;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

struct count {
    uint64_t requests, errors;
    struct latency latency;
};

struct trial {
    struct list link;
    char *name;
    const struct conf_canary *conf; /* NULL: it is no more */
    struct stats_canary_shared *shared;
    struct stats_canary_side_shared *sides[SIDES];
    uint64_t changes; /* of the step that all below is of; 0: none yet */
    struct judge judge;
    struct count now[SIDES];         /* since the segment was made */
    struct latency base[SIDES];      /* as the step's first look found it */
    struct latency run;              /* of the stable side when the first step began; zero, if that
                                        was before this process */
};

static struct trial *of(struct list *it)
{
    return CONTAINER(it, struct trial, link);
}

/* ---- counts ---- */

static uint64_t less(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

static void add_slot(struct count *sum, const struct stats_canary_side *slot)
{
    sum->errors += stat_get(&slot->errors_total); /* first: there are not more than requests */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    sum->requests += stat_get(&slot->requests_total);
    if (stat_get(&slot->latency.max) > sum->latency.max)
        sum->latency.max = stat_get(&slot->latency.max);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum->latency.bucket[i] += stat_get(&slot->latency.bucket[i]);
}

static void read_counts(struct segment *segment, struct trial *t)
{
    unsigned slots = segment_slots(segment);

    for (unsigned side = 0; side < SIDES; side++) {
        char name[STATS_NAME_MAX + 32];

        (void)snprintf(name, sizeof name, "%s/%s", t->name, side_names[side]);
        memset(&t->now[side], 0, sizeof t->now[side]);
        for (unsigned i = 0; i < slots; i++) {
            const struct stats_canary_side *slot =
                segment_peek(segment, STATS_canary_side, name, i);

            if (slot)
                add_slot(&t->now[side], slot);
        }
    }
}

static void latency_since(struct latency *out, const struct latency *now,
                          const struct latency *then)
{
    out->max = now->max;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        out->bucket[i] = less(now->bucket[i], then->bucket[i]);
}

static uint64_t latency_p99(const struct latency *l)
{
    struct histogram_view v = { l->bucket, HISTOGRAM_BUCKETS, HISTOGRAM_SUB, l->max };

    return (uint64_t)histogram_view_quantile(&v, 0.99);
}

/* All of them, and those that took longer for certain. */
static struct judge_count latency_above(const struct latency *l, uint64_t us)
{
    struct judge_count c = { 0, 0 };
    unsigned at = histogram_bucket(us);

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        c.requests += l->bucket[i];
        c.bad += i > at ? l->bucket[i] : 0;
    }
    return c;
}

/* ---- a step's beginning ---- */

static void begin_step(struct trial *t, uint64_t changes)
{
    uint64_t step = stat_get(&t->shared->step);

    if (t->changes > 0 && t->changes < stat_get(&t->shared->begun))
        t->run = t->now[STABLE].latency;
    for (unsigned i = 0; i < SIDES; i++)
        t->base[i] = t->now[i].latency;
    t->judge = (struct judge){ .step = step > 1 ? 2 : 1 };
    t->changes = changes;
}

static struct judge_count errors_since_step(const struct trial *t, enum side side)
{
    const struct stats_canary_side_shared *s = t->sides[side];
    struct judge_count c = { less(t->now[side].requests, stat_get(&s->base_requests)),
                             less(t->now[side].errors, stat_get(&s->base_errors)) };

    if (c.bad > c.requests)
        c.bad = c.requests;
    return c;
}

static void publish(struct trial *t, struct latency since[SIDES])
{
    for (unsigned i = 0; i < SIDES; i++) {
        struct judge_count errors = errors_since_step(t, (enum side)i);

        latency_since(&since[i], &t->now[i].latency, &t->base[i]);
        stat_set(&t->sides[i]->requests, errors.requests);
        stat_set(&t->sides[i]->errors, errors.bad);
        stat_set(&t->sides[i]->p99, latency_p99(&since[i]));
    }
}

/* ---- the judgement ---- */

struct finding {
    enum judge_verdict verdict;
    struct strbuf text;
};

static double percent(const struct judge_count *c)
{
    return c->requests > 0 ? 100 * (double)c->bad / (double)c->requests : 0;
}

/* What the stable side is known by: this step if that is enough, else all steps, else all that it
 * ever had: at 100 % nobody is on it any more. */
static struct judge_count stable_errors(const struct trial *t, uint64_t wanted)
{
    const struct stats_canary_side_shared *s = t->sides[STABLE];
    const struct count *now = &t->now[STABLE];
    struct judge_count step = errors_since_step(t, STABLE);
    struct judge_count run = { less(now->requests, stat_get(&s->run_requests)),
                               less(now->errors, stat_get(&s->run_errors)) };

    if (step.requests >= wanted)
        return step;
    return run.requests >= t->conf->min_requests
               ? run : (struct judge_count){ now->requests, now->errors };
}

static void put_chance(struct finding *f, double p)
{
    if (f->verdict != JUDGE_GOOD)
        strbuf_printf(&f->text, ": p = %.2g", p);
}

static void find_errors(struct trial *t, struct finding *f)
{
    struct judge_count canary = errors_since_step(t, CANARY);
    struct judge_count stable = stable_errors(t, canary.requests);
    double p;

    f->verdict = judge_errors(&t->judge, &stable, &canary, t->conf->min_requests,
                              t->conf->max_error_rate / WHOLE, &p);
    strbuf_printf(&f->text, "%.2f%% errors (%" PRIu64 " of %" PRIu64 "), stable %.2f%% (%" PRIu64
                  " of %" PRIu64 ")", percent(&canary), canary.bad, canary.requests,
                  percent(&stable), stable.bad, stable.requests);
    put_chance(f, p);
}

/* The latency that 1 % may take longer than; 0: none is known. */
static uint64_t slowest(const struct trial *t, const struct latency *stable)
{
    const struct conf_slowest *max = &t->conf->max_p99;
    uint64_t p99;

    if (max->ms > 0)
        return (uint64_t)max->ms * 1000;
    p99 = latency_above(stable, 0).requests >= t->conf->min_requests ? latency_p99(stable) : 0;
    return p99 * max->times / 100;
}

/* Nothing is appended where nothing is to be said. */
static void find_slow(struct trial *t, const struct latency since[SIDES], struct finding *f)
{
    bool is_relative = t->conf->max_p99.times > 0;
    struct latency stable = since[STABLE];
    struct judge_count slow, other;
    uint64_t limit;
    double p;

    f->verdict = JUDGE_GOOD;
    if (t->conf->max_p99.ms == 0 && !is_relative)
        return;
    if (latency_above(&stable, 0).requests < latency_above(&since[CANARY], 0).requests)
        latency_since(&stable, &t->now[STABLE].latency, &t->run);
    limit = slowest(t, &stable);
    slow = latency_above(&since[CANARY], limit);
    other = latency_above(&stable, limit);
    if (limit == 0 || slow.requests < t->conf->min_requests)
        return;
    f->verdict = judge_slow(&t->judge, is_relative ? &other : NULL, &slow, t->conf->min_requests,
                            &p);
    strbuf_printf(&f->text, "%.2f%% of %" PRIu64 " took over ", percent(&slow), slow.requests);
    units_print_duration((limit + 500) / 1000, &f->text);
    if (is_relative)
        strbuf_printf(&f->text, ", stable %.2f%%", percent(&other));
    put_chance(f, p);
}

static void say(struct trial *t, struct slice text)
{
    if (text.n >= STATS_TEXT_MAX)
        text.n = STATS_TEXT_MAX - 1;
    if (!slice_eq(text, slice_str(t->shared->verdict)))
        (void)slice_copy(t->shared->verdict, STATS_TEXT_MAX, text);
}

static void tell(struct canaries *all, const struct trial *t, enum canary_event event,
                 struct slice reason)
{
    struct strbuf text;

    strbuf_init(&text);
    strbuf_printf(&text, "%s\t%.*s", t->name, SLICE_ARG(reason));
    all->tell(all, event, t->changes, strbuf_slice(&text));
    strbuf_fini(&text);
}

static bool is_time_over(const struct trial *t)
{
    uint64_t now = clock_wall_us(), since = stat_get(&t->shared->since);

    return now >= since + (uint64_t)t->conf->step_time_ms * 1000;
}

static void act(struct canaries *all, struct trial *t, enum judge_verdict verdict,
                struct slice reason)
{
    static const char *const words[] = { [JUDGE_GOOD] = "good", [JUDGE_SUSPECT] = "suspect",
                                         [JUDGE_BAD] = "bad" };
    struct strbuf text;

    strbuf_init(&text);
    strbuf_printf(&text, "%s: %.*s", words[verdict], SLICE_ARG(reason));
    say(t, strbuf_slice(&text));
    if (verdict == JUDGE_BAD)
        tell(all, t, CANARY_ROLLBACK, strbuf_slice(&text));
    else if (verdict == JUDGE_GOOD && stat_get(&t->shared->state) == CANARY_RUNNING
             && is_time_over(t))
        tell(all, t, CANARY_STEP, strbuf_slice(&text));
    strbuf_fini(&text);
}

static void judge(struct canaries *all, struct trial *t, const struct latency since[SIDES])
{
    struct finding errors, slow;

    strbuf_init(&errors.text);
    strbuf_init(&slow.text);
    find_errors(t, &errors);
    find_slow(t, since, &slow);
    if (slow.verdict == JUDGE_GOOD && slow.text.n > 0)
        strbuf_printf(&errors.text, "; %s", slow.text.s);
    if (errors.verdict >= slow.verdict)
        act(all, t, errors.verdict, strbuf_slice(&errors.text));
    else
        act(all, t, slow.verdict, strbuf_slice(&slow.text));
    strbuf_fini(&errors.text);
    strbuf_fini(&slow.text);
}

/* ---- looking ---- */

static void look(struct canaries *all, struct trial *t)
{
    uint64_t changes = __atomic_load_n(&t->shared->changes, __ATOMIC_ACQUIRE);
    uint64_t state = stat_get(&t->shared->state), requests;
    struct latency since[SIDES];

    if (state != CANARY_RUNNING && state != CANARY_PAUSED)
        return; /* what was found last stays to be seen */
    read_counts(all->segment, t);
    if (t->changes != changes)
        begin_step(t, changes);
    publish(t, since);
    requests = stat_get(&t->sides[CANARY]->requests);
    if (requests < t->conf->min_requests) {
        char text[STATS_TEXT_MAX];

        (void)snprintf(text, sizeof text, "too few requests of the canary yet: %" PRIu64
                       " of %" PRIu32, requests, t->conf->min_requests);
        say(t, slice_str(text));
    } else
        judge(all, t, since);
}

static void on_timer(struct timer *timer)
{
    struct canaries *all = CONTAINER(timer, struct canaries, timer);

    LIST_EACH(it, &all->list)
        look(all, of(it));
    if (!list_empty(&all->list))
        timer_set(&all->loop->timers, timer, all->loop->now_us, LOOK_US);
}

/* ---- life ---- */

static struct trial *trial_of(struct canaries *all, const char *name)
{
    LIST_EACH(it, &all->list)
        if (strcmp(of(it)->name, name) == 0)
            return of(it);

    struct trial *t = xcalloc(1, sizeof *t);

    t->name = xstrdup(name);
    list_push(&all->list, &t->link);
    return t;
}

static void trial_free(struct trial *t)
{
    list_remove(&t->link);
    free(t->name);
    free(t);
}

static void trial_find(struct segment *segment, struct trial *t)
{
    t->shared = STATS_SHARED(segment, canary, t->name);
    for (unsigned i = 0; i < SIDES; i++) {
        char name[STATS_NAME_MAX + 32];

        (void)snprintf(name, sizeof name, "%s/%s", t->name, side_names[i]);
        t->sides[i] = STATS_SHARED(segment, canary_side, name);
    }
}

void canaries_follow(struct canaries *all, const struct conf *conf)
{
    LIST_EACH(it, &all->list)
        of(it)->conf = NULL;
    for (size_t i = 0; i < conf->ncanaries; i++) {
        struct trial *t = trial_of(all, conf->canaries[i].name);

        trial_find(all->segment, t);
        if (t->shared && t->sides[STABLE] && t->sides[CANARY])
            t->conf = &conf->canaries[i];
    }
    LIST_EACH(it, &all->list)
        if (!of(it)->conf)
            trial_free(of(it));
    timer_set(&all->loop->timers, &all->timer, all->loop->now_us, LOOK_US);
}

void canaries_init(struct canaries *all, struct segment *segment, struct loop *loop)
{
    *all = (struct canaries){ .segment = segment, .loop = loop };
    list_init(&all->list);
    timer_init(&all->timer, on_timer);
}

void canaries_fini(struct canaries *all)
{
    timer_clear(&all->loop->timers, &all->timer);
    LIST_EACH(it, &all->list)
        trial_free(of(it));
}
