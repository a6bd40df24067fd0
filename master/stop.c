/* Ending. Called by signals.c, control.c and start.c; the loop runs on until no child is left. */
#include "master/stop.h"

#include "common/base/log.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/supervise.h"

#define STOP_MS 2000 /* then SIGKILL */

void stop_init(struct stop *s)
{
    list_init(&s->waiting);
    s->is_done = s->leaves_others = false;
}

static bool is_ending(const struct master *m)
{
    return m->phase == MASTER_RETIRING || m->phase == MASTER_STOPPING;
}

static void forget_waiting(struct master *m)
{
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        if (m->workers[i].phase == PHASE_WAITING)
            worker_gone(&m->workers[i]);
}

static void enter(struct master *m, enum master_phase phase, const char *what)
{
    if (!is_ending(m))
        notify_stopping();
    m->phase = phase;
    log_notice("%s", what);
    reload_stop(m);
    upgrade_stop(m);
    forget_waiting(m);
}

static void stop_workers(struct master *m, bool is_again)
{
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++) {
        if (!worker_is_alive(&m->workers[i]))
            continue;
        if (is_again)
            worker_kill(&m->workers[i]);
        else
            worker_stop(&m->workers[i], STOP_MS);
    }
}

void stop_own(struct master *m)
{
    m->phase = MASTER_STOPPING;
    m->stop.leaves_others = true;
    forget_waiting(m);
    stop_workers(m, false);
    stop_progress(m);
}

void stop_now(struct master *m, struct client *client)
{
    bool is_again = m->phase == MASTER_STOPPING && !client;

    if (client)
        list_push(&m->stop.waiting, &client->waiting);
    if (m->phase != MASTER_STOPPING)
        enter(m, MASTER_STOPPING, "stopping");
    else if (!is_again)
        return;
    stop_workers(m, is_again);
    if (is_again)
        retirees_kill(m);
    else
        retirees_stop(m, STOP_MS);
    stop_progress(m);
}

void stop_gently(struct master *m, struct client *client)
{
    uint64_t patience_ms;

    if (m->phase == MASTER_STARTING) {
        stop_now(m, client);
        return;
    }
    if (client)
        list_push(&m->stop.waiting, &client->waiting);
    if (is_ending(m))
        return;
    enter(m, MASTER_RETIRING, "finishing connections, then stopping");
    listen_fini(&m->listen); /* workers close their copies: from then on clients are refused */
    patience_ms = m->generation.conf->global.shutdown_timeout_ms;
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        if (worker_is_alive(&m->workers[i]) && !m->workers[i].is_killed)
            worker_retire(&m->workers[i], patience_ms);
    retirees_retire(m);
    stop_progress(m);
}

void stop_progress(struct master *m)
{
    bool are_keys_gone, is_helper_gone;

    if (!is_ending(m) || supervise_any_alive(m) || m->reader.pid != 0 || m->upgrade.pid != 0
        || (!m->stop.leaves_others && retirees_count(m) > 0))
        return;
    are_keys_gone = keys_stop(m); /* both are told before either is waited for */
    is_helper_gone = helper_stop(m);
    if (are_keys_gone && is_helper_gone)
        m->stop.is_done = true;
}
