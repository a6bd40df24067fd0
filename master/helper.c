/* Forks `rpd: helper` and talks to it; keeps it running while there is a backend. Called by
 * supervise.c, stop.c and the loop. What it was sent is compared with what there is now: a helper
 * that does not read for a while gets the latest, not each step. Blocks nowhere. */
#include "master/helper.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/proctitle.h"
#include "common/core/role.h"
#include "master/child.h"
#include "master/master.h"
#include "master/naming.h"
#include "master/signals.h"
#include "master/supervise.h"

#define FORK_RETRY_MS 1000
#define STOP_MS 2000
#define NAME "rpd: helper"

static struct master *master_of(struct helper_process *h)
{
    return CONTAINER(h, struct master, helper);
}

/* A trial of an upgrade serves nobody: whose servers it would check is checked already. */
static bool is_wanted(const struct master *m)
{
    return m->phase != MASTER_STOPPING && m->takeover.kind != TAKEOVER_TRIAL
           && m->generation.conf->nbackends > 0;
}

/* ---- the child ---- */

static void child(const struct master *m, int channel)
{
    const int kept[] = { channel, segment_fd(m->segment) };
    const struct helper_args args = { .channel = channel, .segment = m->segment,
                                      .user = m->user, .group = m->group };
    int status;

    (void)setpgid(0, 0); /* Ctrl-C is the master's */
    proctitle_set(NAME);
    logs_child(&m->logs, "helper");
    fd_close_from(3, kept, 2);
    signals_reset();
    status = helper_main(&args);
    mem_check_leaks();
    _exit(status);
}

static void on_channel(struct event *e, uint32_t mask);

/* -1 with errno. */
static int spawn(struct helper_process *h)
{
    struct master *m = master_of(h);
    int end;
    pid_t pid;

    assert(h->pid == 0);
    pid = child_fork(&m->events, &h->channel, on_channel, &end);
    if (pid == 0)
        child(m, end);
    if (pid < 0)
        return -1;
    h->pid = pid;
    h->phase = HELPER_STARTING;
    h->sent = h->logs_sent = h->names_sent = h->keys.process = 0;
    h->is_killed = false;
    stat_set(&m->stats->helper_pid, (uint64_t)pid);
    return 0;
}

/* ---- what it is told ---- */

/* Checks of servers that want to know who asks. */
static bool needs_keys(const struct conf *conf)
{
    for (size_t i = 0; i < conf->nbackends; i++)
        if (conf->backends[i].tls && conf->backends[i].tls_certificate
            && conf->backends[i].check.how != CONF_CHECK_OFF)
            return true;
    return false;
}

enum due { DUE_NOTHING, DUE_KEYS, DUE_GENERATION, DUE_NAMES, DUE_LOGS };

static void generation_message(const struct master *m, struct ipc_msg *msg)
{
    const struct generation *g = &m->generation;
    int keyring = needs_keys(g->conf) ? generation_keyring_of_workers(g) : -1;

    msg->type = IPC_GENERATION;
    msg->number = g->number;
    logs_message(&m->logs, g->bundle, msg);
    if (keyring < 0)
        return;
    msg->flags |= IPC_HAS_KEYRING;
    msg->fds[msg->nfds++] = keyring;
}

/* The next message that it should get. */
static enum due next_due(struct helper_process *h, struct ipc_msg *msg)
{
    struct master *m = master_of(h);
    const struct generation *g = &m->generation;

    switch (keys_prepare(m, &h->keys, g, needs_keys(g->conf), msg)) {
    case KEYS_CHANNEL:
        return DUE_KEYS;
    case KEYS_LATER:
        return DUE_NOTHING;
    case KEYS_NOTHING:
        break;
    }
    if (h->sent < g->number) {
        generation_message(m, msg);
        return DUE_GENERATION;
    }
    if (naming_message(m, h->names_sent, msg))
        return DUE_NAMES;
    if (h->logs_sent == m->logs_number)
        return DUE_NOTHING;
    msg->type = IPC_LOGS;
    logs_message(&m->logs, g->bundle, msg);
    return DUE_LOGS;
}

static void sent(struct helper_process *h, enum due due, const struct ipc_msg *msg)
{
    struct master *m = master_of(h);

    switch (due) {
    case DUE_KEYS:
        keys_sent(m, &h->keys, &m->generation);
        break;
    case DUE_NAMES:
        h->names_sent = msg->number;
        break;
    case DUE_GENERATION:
        h->sent = msg->number;
        h->logs_sent = m->logs_number;
        break;
    case DUE_LOGS:
        h->logs_sent = m->logs_number;
        break;
    case DUE_NOTHING:
        break;
    }
}

/* 0, or -1 with errno. */
static int send_due(struct helper_process *h, enum due due, struct ipc_msg *msg)
{
    int r = ipc_send(h->channel.fd, msg);

    if (due == DUE_KEYS || due == DUE_NAMES)
        fd_close(&msg->fds[0]); /* it was made for this message */
    if (r == 0)
        sent(h, due, msg);
    return r;
}

static bool can_be_told(const struct helper_process *h)
{
    return h->channel.fd >= 0 && h->phase != HELPER_LEAVING;
}

void helper_sync(struct master *m)
{
    struct helper_process *h = &m->helper;
    struct ipc_msg msg;
    enum due due;

    while (can_be_told(h)) {
        memset(&msg, 0, offsetof(struct ipc_msg, fds));
        due = next_due(h, &msg);
        if (due == DUE_NOTHING) {
            event_want(&m->events, &h->channel, EPOLLIN);
            return;
        }
        if (send_due(h, due, &msg) != 0)
            break;
    }
    if (!can_be_told(h) || errno == EPIPE || errno == ECONNRESET)
        return; /* dead: SIGCHLD is on its way */
    child_tell_later(&m->events, &h->channel, &h->retry, NAME);
}

static void on_retry(struct deadline *d)
{
    helper_sync(master_of(CONTAINER(d, struct helper_process, retry)));
}

static void start(struct helper_process *h)
{
    if (spawn(h) == 0) {
        helper_sync(master_of(h));
        return;
    }
    log_error(NAME " cannot be started");
    h->phase = HELPER_WAITING;
    deadline_set(&master_of(h)->events, &h->start, FORK_RETRY_MS);
}

static void on_start(struct deadline *d)
{
    start(CONTAINER(d, struct helper_process, start));
}

/* ---- what it says ---- */

static void on_message(struct helper_process *h, const struct ipc_msg *msg)
{
    if (msg->type == IPC_READY) {
        if (h->phase == HELPER_STARTING)
            h->phase = HELPER_SERVING;
    } else if (msg->type == IPC_FAILED)
        log_errorx(NAME " refuses generation %llu: %.*s", (unsigned long long)msg->number,
                   (int)msg->size, msg->data);
    else if (msg->type == IPC_NAMES)
        naming_take(master_of(h), msg);
    else if (msg->type == IPC_CANARY)
        canary_judged(master_of(h), msg);
    else
        log_errorx(NAME " said something unknown: %u", msg->type);
}

static void close_channel(struct helper_process *h)
{
    event_close(&master_of(h)->events, &h->channel);
    deadline_cancel(&h->retry);
}

static void receive(struct helper_process *h)
{
    struct ipc_msg msg;
    int r = 1;

    while (h->channel.fd >= 0 && (r = ipc_recv(h->channel.fd, &msg)) == 1) {
        on_message(h, &msg);
        ipc_close_fds(&msg);
    }
    if (h->channel.fd < 0 || (r < 0 && errno == EAGAIN))
        return;
    if (r < 0)
        log_error("channel of " NAME);
    close_channel(h); /* which ends it, if it has not ended */
    if (!deadline_is_set(&h->kill))
        deadline_set(&master_of(h)->events, &h->kill, STOP_MS);
}

static void on_channel(struct event *e, uint32_t mask)
{
    struct helper_process *h = CONTAINER(e, struct helper_process, channel);

    if (mask & EPOLLOUT)
        helper_sync(master_of(h));
    if (mask & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(h);
}

/* ---- its end ---- */

static void stop(struct helper_process *h)
{
    const struct ipc_msg msg = { .type = IPC_STOP };

    if (h->pid == 0 || h->phase == HELPER_LEAVING)
        return;
    h->phase = HELPER_LEAVING;
    deadline_set(&master_of(h)->events, &h->kill, STOP_MS);
    if (h->channel.fd >= 0 && ipc_send(h->channel.fd, &msg) != 0)
        close_channel(h); /* it reads no more than that */
}

static void on_kill(struct deadline *d)
{
    struct helper_process *h = CONTAINER(d, struct helper_process, kill);

    log_warnx(NAME " (pid %d) does not end: killed", (int)h->pid);
    h->is_killed = h->phase == HELPER_LEAVING;
    (void)kill(h->pid, SIGKILL);
}

/* It cannot be again and again within moments. */
static void start_again(struct helper_process *h)
{
    unsigned wait_ms = backoff_crashed(&h->backoff, clock_mono_us());

    if (wait_ms == 0) {
        start(h);
        return;
    }
    log_warnx(NAME " is started again in %u ms", wait_ms);
    h->phase = HELPER_WAITING;
    deadline_set(&master_of(h)->events, &h->start, wait_ms);
}

static void crashed(struct helper_process *h, pid_t pid, int status)
{
    struct master *m = master_of(h);
    char how[64];

    supervise_describe_end(status, how, sizeof how);
    log_errorx(NAME " (pid %d) died: %s", (int)pid, how);
    stat_inc(&m->stats->helper_crashes);
    if (is_wanted(m))
        start_again(h);
}

bool helper_exited(struct master *m, pid_t pid, int status)
{
    struct helper_process *h = &m->helper;
    bool was_told = h->phase == HELPER_LEAVING;

    if (pid != h->pid)
        return false;
    receive(h); /* last words */
    close_channel(h);
    deadline_cancel(&h->kill);
    h->pid = 0;
    h->phase = HELPER_NONE;
    stat_set(&m->stats->helper_pid, 0);
    if (!was_told || (status != 0 && !h->is_killed))
        crashed(h, pid, status);
    else
        log_info(NAME " (pid %d) ended", (int)pid);
    helper_settle(m); /* it may be wanted again since it was told */
    return true;
}

/* ---- what is wanted of it ---- */

void helper_settle(struct master *m)
{
    struct helper_process *h = &m->helper;
    bool wanted = is_wanted(m);

    switch (h->phase) {
    case HELPER_NONE:
        if (wanted && m->phase != MASTER_RETIRING)
            start(h);
        break;
    case HELPER_WAITING:
        if (wanted)
            break;
        deadline_cancel(&h->start);
        h->phase = HELPER_NONE;
        break;
    case HELPER_STARTING:
    case HELPER_SERVING:
        if (wanted)
            helper_sync(m);
        else
            stop(h);
        break;
    case HELPER_LEAVING: /* if it is wanted again, its successor starts when it is gone */
        break;
    }
}

bool helper_stop(struct master *m)
{
    struct helper_process *h = &m->helper;

    deadline_cancel(&h->start);
    if (h->phase == HELPER_WAITING)
        h->phase = HELPER_NONE;
    stop(h);
    return h->pid == 0;
}

/* Should the other program not be run after all, this one's end is no crash. */
void helper_leave_none(struct master *m)
{
    struct helper_process *h = &m->helper;

    if (h->pid == 0)
        return;
    h->phase = HELPER_LEAVING;
    h->is_killed = true;
    (void)kill(h->pid, SIGKILL);
}

void helper_init(struct master *m)
{
    struct helper_process *h = &m->helper;

    *h = (struct helper_process){ .phase = HELPER_NONE, .keys = { .name = NAME } };
    event_init(&h->channel);
    deadline_init(&h->retry, on_retry);
    deadline_init(&h->start, on_start);
    deadline_init(&h->kill, on_kill);
}
