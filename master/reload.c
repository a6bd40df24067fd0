/* The reload's state machine. Owns the waiting clients' places and the text they will get. Called
 * by signals.c, command.c, apply.c, reader.c and supervise.c. One at a time; never blocks. */
#include "master/reload.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include "common/base/log.h"
#include "master/apply.h"
#include "master/changes.h"
#include "master/install.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/supervise.h"

#define WORKERS_TIMEOUT_MS 10000

static unsigned long long number(const struct master *m)
{
    return (unsigned long long)m->generation.number;
}

/* ---- its end ---- */

/* Not over the head of who may still have to confirm. */
static void refuse_next(struct master *m)
{
    struct reload *r = &m->reload;
    struct strbuf why;

    r->is_wanted = false;
    strbuf_init(&why);
    apply_reason(m, &why);
    stat_inc(&m->stats->reloads_refused);
    log_errorx("reload refused: %.*s", (int)why.n - 1, why.s);
    control_answer_all(&r->next, false, strbuf_slice(&why));
    strbuf_fini(&why);
}

bool reload_is_idle(const struct master *m)
{
    return m->reload.phase == RELOAD_IDLE && m->reader.pid == 0;
}

bool reload_is_free(const struct master *m)
{
    return reload_is_idle(m) && m->phase == MASTER_SERVING && !upgrade_is_busy(&m->upgrade);
}

static void begin_files(struct master *m)
{
    struct reload *r = &m->reload;

    r->is_wanted = false;
    r->uid = list_empty(&r->next) ? (uid_t)-1
                                  : CONTAINER(r->next.next, struct client, waiting)->uid;
    LIST_EACH(it, &r->next) {
        list_remove(it);
        list_push(&r->waiting, it);
    }
    reload_begin(m, RELOAD_FILES, m->file);
}

void reload_poke(struct master *m)
{
    struct reload *r = &m->reload;

    upgrade_progress(m);
    if (!reload_is_free(m))
        return;
    if (r->is_wanted && apply_is_pending(m))
        refuse_next(m);
    if (r->is_wanted)
        begin_files(m);
    else
        apply_next(m);
}

static void finish(struct master *m, bool is_ok, struct slice text)
{
    struct reload *r = &m->reload;

    r->phase = RELOAD_IDLE;
    deadline_cancel(&r->deadline);
    switch (r->kind) {
    case RELOAD_FILES:
        notify_ready(m->pid);
        control_answer_all(&r->waiting, is_ok, text);
        break;
    case RELOAD_APPLY:
        notify_ready(m->pid);
        apply_finished(m, is_ok, text);
        break;
    case RELOAD_BACK:
        notify_ready(m->pid);
        apply_finished_back(m, text);
        break;
    case RELOAD_DIFF:
        break;
    }
    reload_poke(m);
}

static void refuse(struct master *m, const struct report *report)
{
    stat_inc(&m->stats->reloads_refused);
    logs_report(report);
    log_errorx("%s refused: generation %llu stays in force",
               m->reload.kind == RELOAD_APPLY ? "apply" : "reload", number(m));
    finish(m, false, strbuf_slice(&report->text));
}

/* Every worker has it, or has had its time. */
static void complete(struct master *m)
{
    struct reload *r = &m->reload;

    listen_prune(&m->listen, supervise_acknowledged(m));
    if (m->listen.is_trial)
        log_notice("worker 0 has generation %llu", number(m));
    else
        log_notice("reloaded: generation %llu is in force", number(m));
    finish(m, true, strbuf_slice(&r->answer));
}

static void on_deadline(struct deadline *d)
{
    struct master *m = CONTAINER(d, struct master, reload.deadline);

    for (unsigned i = 0; i < m->nworkers; i++) {
        const struct worker *w = &m->workers[i];

        if (w->phase == PHASE_SERVING && w->acknowledged == apply_generation(m, i)->number)
            continue;
        log_warnx("%s has not taken generation %llu within %d s", w->name, number(m),
                  WORKERS_TIMEOUT_MS / 1000);
        strbuf_printf(&m->reload.answer, "warning: %s has not taken it yet\n", w->name);
    }
    complete(m);
}

/* ---- on the way ---- */

void reload_progress(struct master *m)
{
    if (m->reload.phase != RELOAD_APPLYING)
        listen_prune(&m->listen, supervise_acknowledged(m)); /* one that was late */
    else if (supervise_is_settled(m))
        complete(m);
}

void reload_worker_failed(struct master *m, const struct worker *w, struct slice why)
{
    if (m->reload.phase == RELOAD_APPLYING)
        strbuf_printf(&m->reload.answer, "warning: %s could not take it and is started anew: "
                      "%.*s\n", w->name, SLICE_ARG(why));
    apply_worker_failed(m, w->index, why);
}

void reload_warn(struct master *m, const char *text)
{
    if (m->reload.phase == RELOAD_APPLYING)
        strbuf_printf(&m->reload.answer, "warning: %s\n", text);
}

static void wait_for_workers(struct master *m, enum reload_kind kind)
{
    struct reload *r = &m->reload;

    r->kind = kind;
    r->phase = RELOAD_APPLYING;
    deadline_set(&m->events, &r->deadline, WORKERS_TIMEOUT_MS);
    reload_progress(m);
}

void reload_spread(struct master *m)
{
    reload_interrupt(m);
    strbuf_clear(&m->reload.answer);
    supervise_settle(m);
    wait_for_workers(m, RELOAD_APPLY);
}

/* It is in force: who did it, and what it says. */
static void note(struct master *m, enum reload_kind kind, const struct report *report,
                 const char *counts, struct slice lines)
{
    struct strbuf *answer = &m->reload.answer;
    char who[32];

    strbuf_clear(answer);
    strbuf_add(answer, strbuf_slice(&report->text));
    strbuf_printf(answer, "generation %llu: %s\n", number(m), counts);
    strbuf_add(answer, lines);
    switch (kind) {
    case RELOAD_FILES:
        origin_set(&m->origin, m->file, "reload by %s", origin_who(m->reload.uid, who));
        break;
    case RELOAD_APPLY:
        apply_swapped(m);
        break;
    case RELOAD_BACK:
        apply_swapped_back(m);
        return;
    case RELOAD_DIFF:
        return;
    }
    stat_inc(&m->stats->reloads);
    logs_report(report);
    log_info("generation %llu: %s", number(m), counts);
}

bool reload_swap(struct master *m, enum reload_kind kind, struct generation *next,
                 struct report *report)
{
    struct strbuf counts, lines;
    bool is_done;

    assert(next->number == m->generation.number + 1);
    strbuf_init(&counts);
    strbuf_init(&lines);
    (void)changes_describe(m->generation.conf, next->conf, &counts, &lines);
    is_done = install(m, next, 0, report);
    if (is_done) {
        note(m, kind, report, counts.s, strbuf_slice(&lines));
        wait_for_workers(m, kind);
    }
    strbuf_fini(&counts);
    strbuf_fini(&lines);
    return is_done;
}

static void apply(struct master *m, struct generation *next, struct report *report)
{
    bool is_apply = m->reload.kind == RELOAD_APPLY;

    kept_restore(&m->kept, next->conf, report);
    if (is_apply)
        apply_swap_begin(m);
    if (reload_swap(m, m->reload.kind, next, report))
        return;
    if (is_apply)
        apply_swap_failed(m);
    generation_fini(next);
    refuse(m, report);
}

void reload_read(struct master *m, int bundle, int keyring, struct report *report)
{
    struct generation next;

    assert(m->reload.phase == RELOAD_READING);
    generation_init(&next);
    if (m->reload.kind == RELOAD_DIFF) {
        apply_diffed(m, bundle, keyring, report);
        finish(m, true, SLICE_NONE);
    } else if (bundle >= 0 && generation_open(&next, bundle, keyring, report))
        apply(m, &next, report);
    else
        refuse(m, report);
}

void reload_reader_gone(struct master *m)
{
    reload_poke(m);
}

void reload_interrupt(struct master *m)
{
    struct reload *r = &m->reload;

    if (r->phase != RELOAD_READING)
        return;
    assert(r->kind == RELOAD_DIFF);
    reader_stop(m);
    apply_diff_again(m);
    r->phase = RELOAD_IDLE;
}

/* ---- its beginning ---- */

void reload_begin(struct master *m, enum reload_kind kind, const char *file)
{
    struct reload *r = &m->reload;
    struct report report;

    r->phase = RELOAD_READING;
    r->kind = kind;
    if (kind == RELOAD_FILES || kind == RELOAD_APPLY)
        notify_reloading();
    if (reader_start(m, file) == 0)
        return;
    report_init(&report);
    report_error(&report, "no process can be made to read the configuration: %s",
                 strerror(errno));
    reload_read(m, -1, -1, &report);
    report_fini(&report);
}

void reload_request(struct master *m, struct client *client)
{
    struct reload *r = &m->reload;

    if (m->phase == MASTER_RETIRING || m->phase == MASTER_STOPPING) {
        if (client)
            control_answer(client, false, SLICE("rpd is stopping\n"));
        return;
    }
    r->is_wanted = true;
    if (client)
        list_push(&r->next, &client->waiting);
    reload_poke(m);
}

void reload_init(struct master *m)
{
    struct reload *r = &m->reload;

    r->phase = RELOAD_IDLE;
    list_init(&r->waiting);
    list_init(&r->next);
    deadline_init(&r->deadline, on_deadline);
    strbuf_init(&r->answer);
    origin_init(&m->origin);
    apply_init(&m->apply);
}

void reload_fini(struct master *m)
{
    strbuf_fini(&m->reload.answer);
    origin_fini(&m->origin);
    apply_fini(&m->apply);
}

void reload_allow(struct master *m)
{
    reload_poke(m);
}

void reload_stop(struct master *m)
{
    struct reload *r = &m->reload;

    r->is_wanted = false;
    r->phase = RELOAD_IDLE;
    deadline_cancel(&r->deadline);
    control_answer_all(&r->waiting, false, SLICE("rpd is stopping\n"));
    control_answer_all(&r->next, false, SLICE("rpd is stopping\n"));
    apply_stop(m);
    reader_stop(m);
}
