/* Keeps as many workers running as the configuration says. Owns the decisions about them; their
 * processes and channels are worker.c's. Called by the loop (SIGCHLD, messages, deadlines), by
 * install.c and stop.c. Blocks nowhere. */
#include "master/supervise.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/core/limits.h"
#include "master/apply.h"
#include "master/flight.h"
#include "master/listen.h"
#include "master/master.h"
#include "master/reload.h"
#include "master/signals.h"
#include "master/start.h"
#include "master/stop.h"

#define FORK_RETRY_MS 1000

bool supervise_any_alive(const struct master *m)
{
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        if (worker_is_alive(&m->workers[i]))
            return true;
    return false;
}

/* It was to go and may have long to finish, or is held back: the others do, if there are any. */
static bool is_excused(const struct worker *w)
{
    bool is_alone = w->master->listen.is_trial && w->index == 0;

    return !is_alone
           && ((w->phase == PHASE_LEAVING && !w->is_killed) || w->phase == PHASE_WAITING);
}

bool supervise_is_settled(const struct master *m)
{
    for (unsigned i = 0; i < m->nworkers; i++) {
        const struct worker *w = &m->workers[i];

        if (is_excused(w))
            continue;
        if (w->phase != PHASE_SERVING || w->acknowledged < apply_generation(m, i)->number)
            return false;
    }
    return keys_is_settled(m);
}

uint64_t supervise_acknowledged(const struct master *m)
{
    uint64_t oldest = m->generation.number;

    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        if (m->workers[i].phase == PHASE_SERVING && m->workers[i].acknowledged < oldest)
            oldest = m->workers[i].acknowledged;
    return oldest;
}

/* ---- starting ---- */

static void spawn(struct worker *w)
{
    struct master *m = w->master;

    if (worker_spawn(w) == 0)
        return;
    log_error("%s cannot be started", w->name);
    listen_worker(&m->listen, w->index, LISTEN_GONE);
    if (m->phase == MASTER_STARTING) {
        start_failed(m, "no process can be made");
        return;
    }
    w->phase = PHASE_WAITING;
    deadline_set(&m->events, &w->start, FORK_RETRY_MS);
}

void supervise_start_due(struct deadline *d)
{
    spawn(CONTAINER(d, struct worker, start));
}

static void settle_one(struct worker *w)
{
    const struct master *m = w->master;
    bool is_wanted = w->index < m->nworkers;

    switch (w->phase) {
    case PHASE_NONE:
        if (is_wanted)
            spawn(w);
        break;
    case PHASE_WAITING:
        if (!is_wanted) {
            deadline_cancel(&w->start);
            w->phase = PHASE_NONE;
        }
        break;
    case PHASE_STARTING:
    case PHASE_SERVING:
        if (is_wanted)
            worker_sync(w);
        else
            worker_retire(w, m->generation.conf->global.shutdown_timeout_ms);
        break;
    case PHASE_LEAVING: /* if it is wanted again, its successor starts when it is gone */
        break;
    }
}

/* Who is there, and who is not, has changed: so have the holders of sockets. */
static void sync_all(struct master *m)
{
    if (m->phase != MASTER_SERVING)
        return;
    for (unsigned i = 0; i < m->nworkers; i++)
        worker_sync(&m->workers[i]);
}

void supervise_settle(struct master *m)
{
    if (m->phase == MASTER_RETIRING || m->phase == MASTER_STOPPING)
        return;
    for (unsigned i = 0; i < m->nworkers; i++)
        if (m->workers[i].phase == PHASE_NONE) /* nobody need take its sockets meanwhile */
            listen_worker(&m->listen, i, LISTEN_STARTING);
    keys_settle(m); /* first, for the workers' generation may need it */
    /* A worker that cannot be started at all ends the start. */
    for (unsigned i = 0; i < STATS_WORKERS_MAX && m->phase != MASTER_STOPPING; i++)
        settle_one(&m->workers[i]);
    sync_all(m);
    helper_settle(m);
}

/* ---- what workers say ---- */

void supervise_ready(struct worker *w, uint64_t generation)
{
    w->acknowledged = generation;
    if (w->phase == PHASE_STARTING) {
        w->phase = PHASE_SERVING;
        listen_worker(&w->master->listen, w->index, LISTEN_SERVING);
        sync_all(w->master);
    }
    log_debug("%s is at generation %llu", w->name, (unsigned long long)generation);
    if (w->master->phase == MASTER_STARTING)
        start_progress(w->master);
    else
        reload_progress(w->master);
}

void supervise_failed(struct worker *w, uint64_t generation, struct slice why)
{
    struct master *m = w->master;

    log_errorx("%s refuses generation %llu: %.*s", w->name, (unsigned long long)generation,
               SLICE_ARG(why));
    if (w->phase == PHASE_LEAVING)
        return;
    if (m->phase == MASTER_STARTING) {
        char text[512];

        (void)snprintf(text, sizeof text, "%s: %.*s", w->name, SLICE_ARG(why));
        start_failed(m, text);
        return;
    }
    reload_worker_failed(m, w, why);
    w->has_refused = true;
    worker_kill(w); /* its successor has a clean slate */
}

/* ---- what happens to them ---- */

void supervise_describe_end(int status, char *text, size_t size)
{
    char name[32];

    if (WIFSIGNALED(status))
        (void)snprintf(text, size, "killed by signal %d (%s)%s", WTERMSIG(status),
                       signals_name(WTERMSIG(status), name),
                       WCOREDUMP(status) ? ", core dumped" : "");
    else
        (void)snprintf(text, size, "exit status %d", WEXITSTATUS(status));
}

static void start_again(struct worker *w)
{
    unsigned wait_ms = backoff_crashed(&w->backoff, clock_mono_us());

    w->crashes++;
    if (wait_ms == 0) {
        spawn(w);
        return;
    }
    log_warnx("%s is started again in %u ms", w->name, wait_ms);
    w->phase = PHASE_WAITING;
    deadline_set(&w->master->events, &w->start, wait_ms);
}

static void crashed(struct worker *w, pid_t pid, const char *how)
{
    struct master *m = w->master;

    stat_inc(&m->stats->worker_crashes);
    log_errorx("%s (pid %d) died: %s", w->name, (int)pid, how);
    if (m->phase == MASTER_STARTING) {
        char text[128];

        (void)snprintf(text, sizeof text, "%s died: %s", w->name, how);
        start_failed(m, text);
    }
}

static void worker_exited(struct worker *w, int status)
{
    struct master *m = w->master;
    pid_t pid = w->pid;
    bool is_well, was_told;
    char how[64];

    worker_receive(w); /* last words */
    was_told = w->phase == PHASE_LEAVING;
    is_well = was_told && (w->is_killed || status == 0);
    worker_gone(w);
    segment_worker_died(m->segment, w->slot);
    limits_died(m->limits, pid);
    listen_worker_gone(&m->listen, w->index);
    supervise_describe_end(status, how, sizeof how);
    if (is_well)
        log_info("%s (pid %d) ended: %s", w->name, (int)pid, how);
    else
        crashed(w, pid, how);
    flight_ended(m, w->index, pid, is_well, how);
    if (m->phase == MASTER_SERVING && w->index < m->nworkers) {
        if (was_told && !w->has_refused)
            spawn(w); /* it was to go, and is wanted again since */
        else
            start_again(w);
    }
    sync_all(m);
    reload_progress(m);
}

void supervise_reap(struct master *m)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (reader_exited(m, pid, status) || upgrade_exited(m, pid, status)
            || retiree_exited(m, pid, status) || keys_exited(m, pid, status)
            || helper_exited(m, pid, status) || canary_program_exited(m, pid, status))
            continue;
        for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
            if (m->workers[i].pid == pid) {
                worker_exited(&m->workers[i], status);
                break;
            }
    }
    stop_progress(m);
}
