/* The reload's state machine. Owns the waiting clients' places and the text they will get. Called
 * by signals.c, control.c, reader.c and supervise.c. One reload at a time; never blocks. */
#include "master/reload.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include "common/base/log.h"
#include "master/changes.h"
#include "master/install.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/supervise.h"

#define WORKERS_TIMEOUT_MS 10000
#define RESOLVE_MS 10000

static void begin(struct master *m, enum reader_task task);

static unsigned long long number(const struct master *m)
{
    return (unsigned long long)m->generation.number;
}

/* ---- its end ---- */

static void answer_all(struct list *clients, bool is_ok, struct slice text)
{
    LIST_EACH(it, clients)
        control_answer(CONTAINER(it, struct client, waiting), is_ok, text);
}

static void start_next(struct master *m)
{
    struct reload *r = &m->reload;

    upgrade_progress(m);
    if (!r->is_wanted || r->phase != RELOAD_IDLE || m->reader.pid != 0
        || m->phase != MASTER_SERVING || upgrade_is_busy(&m->upgrade))
        return;
    r->is_wanted = false;
    LIST_EACH(it, &r->next) {
        list_remove(it);
        list_push(&r->waiting, it);
    }
    begin(m, READER_FILES);
}

static void finish(struct master *m, bool is_ok, struct slice text)
{
    struct reload *r = &m->reload;

    r->phase = RELOAD_IDLE;
    deadline_cancel(&r->deadline);
    if (!r->is_quiet) {
        notify_ready(m->pid);
        answer_all(&r->waiting, is_ok, text);
    }
    if (config_has_unresolved(&m->generation.text))
        deadline_set(&m->events, &r->resolve, RESOLVE_MS);
    start_next(m);
}

static void refuse(struct master *m, const struct report *report)
{
    if (!m->reload.is_quiet) {
        stat_inc(&m->stats->reloads_refused);
        logs_report(report);
        log_errorx("reload refused: generation %llu stays in force", number(m));
    }
    finish(m, false, strbuf_slice(&report->text));
}

/* Every worker has it, or has had its time. */
static void complete(struct master *m)
{
    struct reload *r = &m->reload;

    listen_prune(&m->listen, supervise_acknowledged(m));
    if (r->is_quiet)
        log_info("names resolved: generation %llu is in force", number(m));
    else
        log_notice("reloaded: generation %llu is in force", number(m));
    finish(m, true, strbuf_slice(&r->answer));
}

static void on_deadline(struct deadline *d)
{
    struct master *m = CONTAINER(d, struct master, reload.deadline);

    for (unsigned i = 0; i < m->nworkers; i++) {
        const struct worker *w = &m->workers[i];

        if (w->phase == PHASE_SERVING && w->acknowledged == m->generation.number)
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
}

static void apply(struct master *m, struct generation *next, struct report *report)
{
    struct reload *r = &m->reload;
    struct strbuf changes, lines;

    assert(next->number == m->generation.number + 1);
    strbuf_init(&changes);
    strbuf_init(&lines);
    kept_restore(&m->kept, next->conf, report);
    (void)changes_describe(m->generation.conf, next->conf, &changes, &lines);
    if (!install(m, next, 0, report)) {
        strbuf_fini(&changes);
        strbuf_fini(&lines);
        generation_fini(next);
        refuse(m, report);
        return;
    }
    strbuf_clear(&r->answer);
    strbuf_add(&r->answer, strbuf_slice(&report->text));
    strbuf_printf(&r->answer, "generation %llu: %s\n", number(m), changes.s);
    strbuf_add(&r->answer, strbuf_slice(&lines));
    if (!r->is_quiet) {
        stat_inc(&m->stats->reloads);
        logs_report(report);
        log_info("generation %llu: %s", number(m), changes.s);
    }
    strbuf_fini(&changes);
    strbuf_fini(&lines);
    r->phase = RELOAD_APPLYING;
    deadline_set(&m->events, &r->deadline, WORKERS_TIMEOUT_MS);
    reload_progress(m);
}

void reload_read(struct master *m, enum reader_task task, int bundle, struct report *report)
{
    struct generation next;

    assert(m->reload.phase == RELOAD_READING);
    generation_init(&next);
    if (bundle >= 0 && generation_open(&next, bundle, report))
        apply(m, &next, report);
    else if (task == READER_RESOLVE)
        finish(m, true, SLICE_NONE); /* still none */
    else
        refuse(m, report);
}

void reload_reader_gone(struct master *m)
{
    start_next(m);
}

/* ---- its beginning ---- */

static void begin(struct master *m, enum reader_task task)
{
    struct reload *r = &m->reload;
    struct report report;

    r->phase = RELOAD_READING;
    r->is_quiet = task == READER_RESOLVE;
    deadline_cancel(&r->resolve);
    if (!r->is_quiet)
        notify_reloading();
    if (reader_start(m, task) == 0)
        return;
    report_init(&report);
    report_error(&report, "no process can be made to read the configuration: %s",
                 strerror(errno));
    refuse(m, &report);
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
    start_next(m);
}

static void on_resolve(struct deadline *d)
{
    struct master *m = CONTAINER(d, struct master, reload.resolve);

    if (reload_is_idle(m) && !upgrade_is_busy(&m->upgrade))
        begin(m, READER_RESOLVE);
    else
        deadline_set(&m->events, d, RESOLVE_MS);
}

bool reload_is_idle(const struct master *m)
{
    return m->reload.phase == RELOAD_IDLE && m->reader.pid == 0;
}

void reload_init(struct master *m)
{
    struct reload *r = &m->reload;

    r->phase = RELOAD_IDLE;
    list_init(&r->waiting);
    list_init(&r->next);
    deadline_init(&r->deadline, on_deadline);
    deadline_init(&r->resolve, on_resolve);
    strbuf_init(&r->answer);
}

void reload_fini(struct master *m)
{
    strbuf_fini(&m->reload.answer);
}

void reload_allow(struct master *m)
{
    if (config_has_unresolved(&m->generation.text))
        deadline_set(&m->events, &m->reload.resolve, RESOLVE_MS);
    start_next(m);
}

void reload_stop(struct master *m)
{
    struct reload *r = &m->reload;

    r->is_wanted = false;
    r->phase = RELOAD_IDLE;
    deadline_cancel(&r->deadline);
    deadline_cancel(&r->resolve);
    answer_all(&r->waiting, false, SLICE("rpd is stopping\n"));
    answer_all(&r->next, false, SLICE("rpd is stopping\n"));
    reader_stop(m);
}
