/* Forks a worker and talks to it. What it lacks is found out by comparing what it was sent with
 * what there is now: a worker that does not read for a while costs no memory and gets the latest,
 * not each step. Called by supervise.c, install.c and stop.c; decides nothing about workers. */
#include "master/worker.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/proctitle.h"
#include "common/core/ipc.h"
#include "common/core/role.h"
#include "master/apply.h"
#include "master/child.h"
#include "master/flight.h"
#include "master/heir.h"
#include "master/listen.h"
#include "master/logs.h"
#include "master/master.h"
#include "master/naming.h"
#include "master/signals.h"
#include "master/supervise.h"

#define MUTE_MS 10000 /* to exit in, once it has closed its channel */
#define GRACE_MS 1000 /* to exit in, once its own time has run out */

static void on_channel(struct event *e, uint32_t mask);
static void on_retry(struct deadline *d);
static void on_kill(struct deadline *d);

void worker_init(struct worker *w, struct master *m, unsigned index)
{
    *w = (struct worker){ .master = m, .index = index, .slot = SLOT_NONE, .phase = PHASE_NONE };
    (void)snprintf(w->name, sizeof w->name, "worker %u", index);
    w->keys.name = w->name;
    event_init(&w->channel);
    deadline_init(&w->retry, on_retry);
    deadline_init(&w->start, supervise_start_due);
    deadline_init(&w->kill, on_kill);
}

/* ---- the child ---- */

static void child(const struct worker *w, int channel, void *flight)
{
    const struct master *m = w->master;
    const int kept[] = { channel, segment_fd(m->segment) };
    const struct role_args args = {
        .channel = channel,
        .segment = m->segment,
        .limits = m->limits,
        .flight = flight,
        .index = w->index,
        .slot = w->slot,
        .user = m->user,
        .group = m->group,
    };
    int status;

    (void)setpgid(0, 0); /* Ctrl-C is the master's, which then stops its workers in order */
    proctitle_set("rpd: %s", w->name);
    logs_child(&m->logs, w->name);
    fd_close_from(3, kept, 2);
    signals_reset();
    status = worker_main(&args);
    mem_check_leaks();
    _exit(status);
}

/* By which the next master finds it, should this one be killed. Where that cannot be, it retires
 * then. */
static void give_heir_socket(struct worker *w)
{
    struct master *m = w->master;
    struct ipc_msg msg = { .type = IPC_HEIR, .nfds = 1 };

    if (m->takeover.kind == TAKEOVER_TRIAL)
        return;
    msg.fds[0] = heir_open(m->run_dir, w->pid);
    if (msg.fds[0] < 0 || ipc_send(w->channel.fd, &msg) != 0)
        log_warn("%s will not outlive this master", w->name);
    ipc_close_fds(&msg);
}

int worker_spawn(struct worker *w)
{
    struct master *m = w->master;
    int end;
    pid_t pid;
    void *flight;

    assert(w->pid == 0);
    if (w->slot == SLOT_NONE && (w->slot = slots_take(&m->slots, m->segment)) == SLOT_NONE) {
        errno = ENOSPC;
        return -1;
    }
    flight = flight_make(m, w->index);
    pid = child_fork(&m->events, &w->channel, on_channel, &end);
    if (pid == 0)
        child(w, end, flight);
    flight_made(m, w->index, &flight, pid);
    if (pid < 0)
        return -1;
    w->pid = pid;
    w->phase = PHASE_STARTING;
    w->sent = w->acknowledged = w->keys.process = w->names_sent = 0;
    w->is_retire_due = w->is_stop_due = w->is_killed = w->has_refused = false;
    listen_worker(&m->listen, w->index, LISTEN_STARTING);
    give_heir_socket(w);
    rotation_tell(m, w);
    worker_sync(w);
    return 0;
}

/* ---- what it is told ---- */

enum due { DUE_NOTHING, DUE_STOP, DUE_RETIRE, DUE_KEYS, DUE_LISTEN, DUE_UNLISTEN, DUE_GENERATION,
           DUE_NAMES, DUE_LOGS };

static void generation_message(const struct worker *w, struct ipc_msg *msg)
{
    const struct generation *g = apply_generation(w->master, w->index);
    int keyring = generation_keyring_of_workers(g);

    msg->type = IPC_GENERATION;
    msg->number = g->number;
    logs_message(apply_logs(w->master, w->index), g->bundle, msg);
    if (keyring < 0)
        return;
    msg->flags |= IPC_HAS_KEYRING;
    msg->fds[msg->nfds++] = keyring;
}

/* The next message that a worker should get which is to serve. */
static enum due next_of_service(const struct worker *w, struct ipc_msg *msg)
{
    const struct master *m = w->master;

    /* In a trial nobody is served. */
    if (m->takeover.kind != TAKEOVER_TRIAL
        && listen_batch(&m->listen, w->index, m->nworkers, msg))
        return DUE_LISTEN;
    if (listen_surplus(&m->listen, w->index, m->nworkers, msg))
        return DUE_UNLISTEN;
    if (w->sent < apply_generation(m, w->index)->number) {
        generation_message(w, msg);
        return DUE_GENERATION;
    }
    if (naming_message(m, w->names_sent, msg))
        return DUE_NAMES;
    if (w->logs_sent < m->logs_number) {
        msg->type = IPC_LOGS;
        logs_message(apply_logs(m, w->index), apply_generation(m, w->index)->bundle, msg);
        return DUE_LOGS;
    }
    return DUE_NOTHING;
}

/* The next message the worker should get. */
static enum due next_due(struct worker *w, struct ipc_msg *msg)
{
    struct master *m = w->master;

    if (w->is_stop_due) {
        msg->type = IPC_STOP;
        return DUE_STOP;
    }
    if (w->is_retire_due) {
        msg->type = IPC_RETIRE;
        msg->flags = m->phase == MASTER_RETIRING ? IPC_CLOSE_IDLE : 0;
        msg->number = m->generation.conf->global.shutdown_timeout_ms;
        return DUE_RETIRE;
    }
    switch (keys_prepare(m, &w->keys, apply_generation(m, w->index), true, msg)) {
    case KEYS_CHANNEL:
        return DUE_KEYS;
    case KEYS_LATER:
        return DUE_NOTHING;
    case KEYS_NOTHING:
        break;
    }
    return w->phase == PHASE_LEAVING ? DUE_NOTHING : next_of_service(w, msg);
}

static void sent(struct worker *w, enum due due, const struct ipc_msg *msg)
{
    struct master *m = w->master;

    switch (due) {
    case DUE_STOP:
        w->is_stop_due = false;
        break;
    case DUE_RETIRE:
        w->is_retire_due = false;
        listen_worker_gone(&m->listen, w->index);
        break;
    case DUE_KEYS:
        keys_sent(m, &w->keys, apply_generation(m, w->index));
        break;
    case DUE_LISTEN:
    case DUE_UNLISTEN:
        listen_sent(&m->listen, w->index, msg);
        break;
    case DUE_GENERATION:
        w->sent = msg->number;
        w->logs_sent = m->logs_number;
        listen_generation_sent(&m->listen, w->index, msg->number);
        break;
    case DUE_NAMES:
        w->names_sent = msg->number;
        break;
    case DUE_LOGS:
        w->logs_sent = m->logs_number;
        break;
    case DUE_NOTHING:
        break;
    }
}

/* 0, or -1 with errno. */
static int send_due(struct worker *w, enum due due, struct ipc_msg *msg)
{
    int r = ipc_send(w->channel.fd, msg);

    if (due == DUE_KEYS || due == DUE_NAMES)
        fd_close(&msg->fds[0]); /* it was made for this message */
    if (r == 0)
        sent(w, due, msg);
    return r;
}

void worker_sync(struct worker *w)
{
    struct events *ev = &w->master->events;
    struct ipc_msg msg;
    enum due due;

    while (w->channel.fd >= 0) {
        memset(&msg, 0, offsetof(struct ipc_msg, fds));
        due = next_due(w, &msg);
        if (due == DUE_NOTHING) {
            event_want(ev, &w->channel, EPOLLIN);
            return;
        }
        if (send_due(w, due, &msg) != 0)
            break;
    }
    if (w->channel.fd < 0 || errno == EPIPE || errno == ECONNRESET)
        return; /* dead: SIGCHLD is on its way */
    child_tell_later(ev, &w->channel, &w->retry, w->name);
}

static void on_retry(struct deadline *d)
{
    worker_sync(CONTAINER(d, struct worker, retry));
}

void worker_retire(struct worker *w, uint64_t ms)
{
    w->phase = PHASE_LEAVING;
    listen_worker(&w->master->listen, w->index, LISTEN_GONE);
    w->is_retire_due = true;
    deadline_set(&w->master->events, &w->kill, ms + GRACE_MS);
    worker_sync(w);
}

void worker_stop(struct worker *w, uint64_t ms)
{
    w->phase = PHASE_LEAVING;
    w->is_stop_due = true;
    deadline_set(&w->master->events, &w->kill, ms);
    worker_sync(w);
}

void worker_kill(struct worker *w)
{
    w->phase = PHASE_LEAVING;
    w->is_killed = true;
    (void)kill(w->pid, SIGKILL);
}

static void on_kill(struct deadline *d)
{
    struct worker *w = CONTAINER(d, struct worker, kill);

    log_warnx("%s (pid %d) does not end: killed", w->name, (int)w->pid);
    worker_kill(w);
}

/* ---- what it says ---- */

static void close_channel(struct worker *w)
{
    event_close(&w->master->events, &w->channel);
    deadline_cancel(&w->retry);
}

/* false when there is no more. */
static bool receive_one(struct worker *w)
{
    struct ipc_msg msg;
    int r = ipc_recv(w->channel.fd, &msg);

    if (r == 1) {
        ipc_close_fds(&msg);
        if (msg.type == IPC_READY)
            supervise_ready(w, msg.number);
        else if (msg.type == IPC_FAILED)
            supervise_failed(w, msg.number, slice_of(msg.data, msg.size));
        else if (msg.type != IPC_KEYS)
            log_errorx("%s said something unknown: %u", w->name, msg.type);
        else if (keys_cut(w->master, &w->keys))
            worker_sync(w);
        return true;
    }
    if (r < 0 && errno == EAGAIN)
        return false;
    if (r < 0)
        log_error("channel of %s", w->name);
    /* It is ending, or gone wrong. A core dump may take a while. */
    close_channel(w);
    if (!deadline_is_set(&w->kill))
        deadline_set(&w->master->events, &w->kill, MUTE_MS);
    return false;
}

void worker_receive(struct worker *w)
{
    while (w->channel.fd >= 0 && receive_one(w))
        ;
}

static void on_channel(struct event *e, uint32_t mask)
{
    struct worker *w = CONTAINER(e, struct worker, channel);

    if (mask & EPOLLOUT)
        worker_sync(w);
    if (mask & (EPOLLIN | EPOLLHUP | EPOLLERR))
        worker_receive(w);
}

void worker_gone(struct worker *w)
{
    close_channel(w);
    deadline_cancel(&w->start);
    deadline_cancel(&w->kill);
    if (w->pid > 0)
        heir_remove(w->master->run_dir, w->pid);
    w->pid = 0;
    w->phase = PHASE_NONE;
}
