/* The state machine of an apply, which goes back unless it is confirmed. Owns the generation to go
 * back to and what clients who wait will be told. Called by command.c, apply_queue.c, reload.c
 * (which carries swaps out) and install.c; never blocks. */
#include "master/apply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/core/bundle.h"
#include "common/core/limits.h"
#include "common/core/units.h"
#include "master/master.h"
#include "master/objects.h"
#include "master/supervise.h"

#define TICK_MS 1000
#define CRASHES_MAX 1 /* of worker 0 in its trial: any worker may die once */

static void on_tick(struct deadline *d);
static void go_back(struct master *m);

static unsigned long long number_of(const struct generation *g)
{
    return (unsigned long long)g->number;
}

/* ---- beginning and end ---- */

void apply_init(struct apply *a)
{
    *a = (struct apply){ .phase = APPLY_NONE };
    generation_init(&a->before);
    logs_init(&a->before_logs);
    deadline_init(&a->tick, on_tick);
    strbuf_init(&a->answer);
    strbuf_init(&a->why);
    list_init(&a->queue);
    list_init(&a->clients);
    list_init(&a->diffing);
    list_init(&a->backers);
}

static void drop_before(struct apply *a)
{
    generation_fini(&a->before);
    logs_fini(&a->before_logs);
    free(a->before_file);
    a->before_file = NULL;
}

/* Nothing is under way any more. */
static void forget(struct apply *a)
{
    a->phase = APPLY_NONE;
    a->is_kept = a->is_tried = a->is_back = false;
    deadline_cancel(&a->tick);
    drop_before(a);
    free(a->file);
    a->file = NULL;
    strbuf_clear(&a->answer);
    strbuf_clear(&a->why);
}

void apply_fini(struct apply *a)
{
    forget(a);
    free(a->diff_file);
    a->diff_file = NULL;
    strbuf_fini(&a->answer);
    strbuf_fini(&a->why);
}

void apply_stop(struct master *m)
{
    struct apply *a = &m->apply;
    struct list *lists[] = { &a->queue, &a->clients, &a->diffing, &a->backers };

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        control_answer_all(lists[i], false, SLICE("rpd is stopping\n"));
    deadline_cancel(&a->tick);
    a->phase = APPLY_NONE; /* workers that are left keep what they have */
}

/* ---- what the rest of the master asks ---- */

bool apply_is_pending(const struct master *m)
{
    return m->apply.phase != APPLY_NONE;
}

const struct generation *apply_generation(const struct master *m, unsigned index)
{
    return m->listen.is_trial && index != 0 ? &m->apply.before : &m->generation;
}

const struct logs *apply_logs(const struct master *m, unsigned index)
{
    return m->listen.is_trial && index != 0 ? &m->apply.before_logs : &m->logs;
}

bool apply_reopen(struct master *m, struct report *report)
{
    struct logs fresh;

    if (!m->listen.is_trial)
        return true;
    if (!logs_open(&fresh, m->apply.before.conf, report))
        return false;
    logs_fini(&m->apply.before_logs);
    m->apply.before_logs = fresh;
    return true;
}

const struct conf *apply_objects(const struct master *m)
{
    return m->apply.is_tried ? m->apply.before.conf : m->generation.conf;
}

void apply_keep(struct master *m)
{
    struct apply *a = &m->apply;

    if (a->is_kept) {
        a->before = m->generation;
        generation_init(&m->generation);
    } else
        generation_fini(&m->generation);
    if (a->is_kept && m->listen.is_trial)
        a->before_logs = m->logs;
    else
        logs_fini(&m->logs);
    a->is_kept = false;
}

/* ---- counting ---- */

/* Adds the requests of the configuration's routes so far, of one slot of the segment. */
static void count(const struct master *m, const struct conf *conf, unsigned slot,
                  struct verdict_count *sum)
{
    for (size_t i = 0; slot != SLOT_NONE && i < conf->nroutes; i++) {
        const struct stats_route *r = segment_peek(m->segment, STATS_route,
                                                   conf->routes[i].name, slot);

        if (!r)
            continue;
        sum->requests += stat_get(&r->requests_total);
        sum->errors += stat_get(&r->status_5xx) + stat_get(&r->aborted);
    }
}

static struct verdict_count count_first(const struct master *m)
{
    struct verdict_count sum = { 0, 0 };

    count(m, m->generation.conf, m->workers[0].slot, &sum);
    return sum;
}

static struct verdict_count count_others(const struct master *m)
{
    struct verdict_count sum = { 0, 0 };

    for (unsigned i = 1; m->listen.is_trial && i < m->nworkers; i++)
        count(m, m->apply.before.conf, m->workers[i].slot, &sum);
    return sum;
}

static struct verdict_count count_all(const struct master *m)
{
    struct verdict_count sum = { 0, 0 };

    for (unsigned slot = 0; slot < segment_slots(m->segment); slot++)
        count(m, m->generation.conf, slot, &sum);
    return sum;
}

/* ---- going on ---- */

static void set_end(struct apply *a, uint64_t ms)
{
    a->end_us = clock_mono_us() + ms * 1000;
    a->until_us = clock_wall_us() + ms * 1000;
}

static bool is_over(const struct apply *a)
{
    return clock_mono_us() >= a->end_us;
}

/* Each second, and at the end. */
static void set_tick(struct master *m)
{
    struct apply *a = &m->apply;
    uint64_t now_us = clock_mono_us();
    uint64_t left_ms = a->end_us > now_us ? (a->end_us - now_us + 999) / 1000 : 0;

    deadline_set(&m->events, &a->tick, left_ms < TICK_MS ? left_ms : TICK_MS);
}

/* The start's own file still says what it said. */
static void note_of_file(const struct master *m, const char *file, struct strbuf *out)
{
    if (strcmp(file, m->file) != 0)
        strbuf_printf(out, "the running configuration is that of %s, not of %s: copy it there, or "
                      "the next reload, upgrade or restart brings that one back", file, m->file);
}

/* For good: the answer so far, and what `reload` would do now. */
static void keep_for_good(struct master *m)
{
    struct apply *a = &m->apply;
    struct strbuf note;

    strbuf_init(&note);
    note_of_file(m, a->file, &note);
    if (note.n > 0) {
        log_warnx("%s", note.s);
        strbuf_printf(&a->answer, "note: %s\n", note.s);
    }
    strbuf_fini(&note);
    control_answer_all(&a->clients, true, strbuf_slice(&a->answer));
    forget(a);
}

/* Every worker has it. */
static void settled(struct master *m)
{
    struct apply *a = &m->apply;
    char at[CLOCK_TEXT_MAX];
    size_t begin;

    if (a->request.confirm_ms == 0) {
        log_notice("generation %llu (%s) is applied", number_of(&m->generation), a->file);
        keep_for_good(m);
        return;
    }
    a->phase = APPLY_PENDING;
    a->all_from = count_all(m);
    set_end(a, a->request.confirm_ms);
    begin = a->answer.n;
    strbuf_printf(&a->answer, "unconfirmed: unless rpctl confirm comes before, generation %llu's "
                  "configuration is back at %s", number_of(&a->before),
                  origin_when(a->until_us, at));
    apply_put_bound(a, &a->answer);
    log_notice("generation %llu (%s) is %s", number_of(&m->generation), a->file,
               a->answer.s + begin);
    strbuf_addc(&a->answer, '\n');
    control_answer_all(&a->clients, true, strbuf_slice(&a->answer));
    set_tick(m);
}

static void begin_trial(struct master *m)
{
    struct apply *a = &m->apply;
    char at[CLOCK_TEXT_MAX];

    a->phase = APPLY_TRIAL;
    a->first_from = count_first(m);
    a->others_from = count_others(m);
    set_end(a, a->request.first_worker_ms);
    log_notice("generation %llu (%s) is tried by worker 0 until %s", number_of(&m->generation),
               a->file, origin_when(a->until_us, at));
    set_tick(m);
}

/* The other workers get it as well. */
static void spread(struct master *m, const struct strbuf *verdict)
{
    struct apply *a = &m->apply;
    struct report report;

    log_notice("generation %llu goes to every worker: %s", number_of(&m->generation), verdict->s);
    strbuf_printf(&a->answer, "%s\n", verdict->s);
    if (m->listen.is_trial) {
        report_init(&report);
        (void)objects_apply(m->segment, &m->names, m->generation.conf, a->before.conf,
                            &report);
        (void)limits_apply(m->limits, m->generation.conf, a->before.conf, false, &report);
        report_fini(&report); /* there is nothing to make any more that could find no room */
        m->listen.is_trial = a->is_tried = false;
        logs_fini(&a->before_logs);
        m->nworkers = m->generation.conf->global.workers;
        stat_set(&m->stats->workers, m->nworkers);
    }
    a->phase = APPLY_SPREADING;
    reload_spread(m);
}

void apply_finished(struct master *m, bool is_ok, struct slice text)
{
    struct apply *a = &m->apply;

    strbuf_add(&a->answer, text);
    switch (a->phase) {
    case APPLY_SWAPPING:
        if (a->request.first_worker_ms > 0 && !m->listen.is_trial)
            strbuf_adds(&a->answer, "worker 0 is the only one: there is no other worker to compare "
                        "with\n");
        if (m->listen.is_trial || (a->request.first_worker_ms > 0 && a->request.has_bound))
            begin_trial(m);
        else
            settled(m);
        break;
    case APPLY_SPREADING:
        settled(m);
        break;
    case APPLY_NONE:
    case APPLY_TRIAL:
    case APPLY_PENDING:
    case APPLY_BACK:
        assert(!is_ok); /* it was never in force */
        control_answer_all(&a->clients, false, strbuf_slice(&a->answer));
        forget(a);
        break;
    }
}

/* ---- going back ---- */

static void back(struct master *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void back(struct master *m, const char *fmt, ...)
{
    struct apply *a = &m->apply;
    va_list ap;

    va_start(ap, fmt);
    strbuf_clear(&a->why);
    strbuf_vprintf(&a->why, fmt, ap);
    va_end(ap);
    log_notice("generation %llu (%s) gives way to the configuration of generation %llu: %s",
               number_of(&m->generation), a->file, number_of(&a->before), a->why.s);
    a->phase = APPLY_BACK;
    a->is_back = false;
    go_back(m);
}

/* The old text as a generation of its own. */
static bool make_again(struct master *m, struct generation *next, struct report *report)
{
    struct report again;
    int keyring = generation_share_keyring(&m->apply.before, report), fd = -1;

    if (report->errors == 0)
        fd = bundle_seal(&m->apply.before.text, m->generation.number + 1);
    if (!generation_open(next, fd, keyring, report))
        return false;
    report_init(&again); /* has been said */
    kept_restore(&m->kept, next->conf, &again);
    report_fini(&again);
    return true;
}

static void go_back(struct master *m)
{
    bool was_trial = m->listen.is_trial;
    struct generation next;
    struct report report;

    reload_interrupt(m);
    report_init(&report);
    m->listen.is_trial = false;
    if (!make_again(m, &next, &report) || !reload_swap(m, RELOAD_BACK, &next, &report)) {
        m->listen.is_trial = was_trial;
        generation_fini(&next);
        logs_report(&report);
        log_errorx("the configuration of generation %llu cannot be put in force again; it is tried "
                   "again each second", number_of(&m->apply.before));
        deadline_set(&m->events, &m->apply.tick, TICK_MS);
    }
    report_fini(&report);
}

void apply_swapped_back(struct master *m)
{
    struct apply *a = &m->apply;

    deadline_cancel(&a->tick);
    a->is_back = true;
    a->is_tried = false;
    stat_inc(&m->stats->rollbacks);
    origin_set(&m->origin, a->before_file, "rolled back from %s: %s", a->file, a->why.s);
    strbuf_clear(&a->answer);
    strbuf_printf(&a->answer, "%s is rolled back: %s\ngeneration %llu has the configuration of "
                  "generation %llu again\n", a->file, a->why.s, number_of(&m->generation),
                  number_of(&a->before));
    drop_before(a);
}

void apply_finished_back(struct master *m, struct slice text)
{
    struct apply *a = &m->apply;

    (void)text; /* what changed back */
    control_answer_all(&a->clients, false, strbuf_slice(&a->answer));
    control_answer_all(&a->backers, true, strbuf_slice(&a->answer));
    forget(a);
}

/* ---- each second ---- */

static void put_verdict(const struct master *m, struct verdict_count first,
                        struct verdict_count others, struct strbuf *out)
{
    strbuf_adds(out, "worker 0 had ");
    verdict_print(first, out);
    if (m->listen.is_trial) {
        strbuf_adds(out, "; the others ");
        verdict_print(others, out);
    }
    if (first.requests < VERDICT_REQUESTS_MIN)
        strbuf_printf(out, "; fewer than %u are not judged", VERDICT_REQUESTS_MIN);
}

static void tick_trial(struct master *m)
{
    struct apply *a = &m->apply;
    struct verdict_count first = verdict_between(a->first_from, count_first(m));
    struct verdict_count others = verdict_between(a->others_from, count_others(m));
    struct strbuf text;

    strbuf_init(&text);
    put_verdict(m, first, others, &text);
    if (m->workers[0].crashes - a->crashes > CRASHES_MAX)
        back(m, "worker 0 died more than once; %s", text.s);
    else if (a->request.has_bound && verdict_exceeds(first, a->request.bound))
        back(m, "too many errors: %s", text.s);
    else if (verdict_is_worse(first, others))
        back(m, "more errors than with the old configuration: %s", text.s);
    else if (is_over(a))
        spread(m, &text);
    else
        set_tick(m);
    strbuf_fini(&text);
}

static void tick_pending(struct master *m)
{
    struct apply *a = &m->apply;
    struct verdict_count all = verdict_between(a->all_from, count_all(m));
    struct strbuf text;

    strbuf_init(&text);
    if (a->request.has_bound && verdict_exceeds(all, a->request.bound)) {
        apply_bound_print(a->request.bound, &text);
        strbuf_adds(&text, ": ");
        verdict_print(all, &text);
        back(m, "%s", text.s);
    } else if (is_over(a)) {
        units_print_duration(a->request.confirm_ms, &text);
        back(m, "not confirmed within %s", text.s);
    } else
        set_tick(m);
    strbuf_fini(&text);
}

static void on_tick(struct deadline *d)
{
    struct master *m = CONTAINER(d, struct master, apply.tick);

    switch (m->apply.phase) {
    case APPLY_TRIAL:
        tick_trial(m);
        break;
    case APPLY_PENDING:
        tick_pending(m);
        break;
    case APPLY_BACK:
        go_back(m);
        break;
    case APPLY_NONE:
    case APPLY_SWAPPING:
    case APPLY_SPREADING:
        break;
    }
}

void apply_worker_failed(struct master *m, unsigned index, struct slice why)
{
    struct apply *a = &m->apply;

    if (index == 0 && m->listen.is_trial
        && (a->phase == APPLY_SWAPPING || a->phase == APPLY_TRIAL))
        back(m, "worker 0 cannot take it: %.*s", SLICE_ARG(why));
}

/* ---- the swap itself ---- */

void apply_swap_begin(struct master *m)
{
    struct apply *a = &m->apply;

    a->is_kept = a->request.confirm_ms > 0 || a->request.first_worker_ms > 0;
    m->listen.is_trial = a->request.first_worker_ms > 0 && m->nworkers > 1;
}

void apply_swap_failed(struct master *m)
{
    m->apply.is_kept = false;
    m->listen.is_trial = false;
}

void apply_swapped(struct master *m)
{
    struct apply *a = &m->apply;
    char who[32];

    a->phase = APPLY_SWAPPING;
    a->is_tried = m->listen.is_trial;
    a->crashes = m->workers[0].crashes;
    a->before_file = m->origin.file ? xstrdup(m->origin.file) : NULL;
    origin_set(&m->origin, a->file, "apply by %s", origin_who(a->uid, who));
    log_notice("generation %llu: %s, applied by %s", number_of(&m->generation), a->file, who);
}

/* ---- clients ---- */

static void confirmed(struct master *m, struct client *c)
{
    struct apply *a = &m->apply;
    struct strbuf text, note;
    char who[32], at[CLOCK_TEXT_MAX];

    strbuf_init(&text);
    strbuf_init(&note);
    (void)origin_who(c->uid, who);
    origin_add(&m->origin, ", confirmed by %s at %s", who, origin_when(clock_wall_us(), at));
    log_notice("generation %llu (%s) is confirmed by %s", number_of(&m->generation), a->file, who);
    strbuf_printf(&text, "generation %llu stays\n", number_of(&m->generation));
    note_of_file(m, a->file, &note);
    if (note.n > 0) {
        log_warnx("%s", note.s);
        strbuf_printf(&text, "note: %s\n", note.s);
    }
    control_answer(c, true, strbuf_slice(&text));
    forget(a);
    strbuf_fini(&text);
    strbuf_fini(&note);
}

void apply_confirm(struct client *c)
{
    struct master *m = c->master;
    struct apply *a = &m->apply;
    bool is_late = a->phase == APPLY_BACK && !a->is_back && !m->listen.is_trial;
    struct strbuf why;

    if (a->phase == APPLY_PENDING || is_late) {
        confirmed(m, c);
        return;
    }
    strbuf_init(&why);
    if (a->phase == APPLY_NONE)
        strbuf_adds(&why, "nothing is to be confirmed\n");
    else {
        strbuf_adds(&why, "it cannot be confirmed yet: ");
        apply_reason(m, &why);
    }
    control_answer(c, false, strbuf_slice(&why));
    strbuf_fini(&why);
}

void apply_rollback(struct client *c)
{
    struct master *m = c->master;
    struct apply *a = &m->apply;
    char who[32];

    if (a->phase == APPLY_NONE || (a->phase == APPLY_SWAPPING && !a->before.conf)) {
        control_answer(c, false, SLICE("there is nothing to roll back: nothing is unconfirmed\n"));
        return;
    }
    list_push(&a->backers, &c->waiting);
    if (a->phase != APPLY_BACK)
        back(m, "rpctl rollback by %s", origin_who(c->uid, who));
}
