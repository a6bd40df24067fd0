/* Forks `rpd: keys` and talks to it; keeps it running while some certificate's key has to be there.
 * Called by supervise.c, worker.c, stop.c and the loop. The master never has a key: it hands on the
 * descriptors of keyrings. Blocks nowhere. */
#include "master/keys.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/proctitle.h"
#include "common/core/role.h"
#include "master/apply.h"
#include "master/child.h"
#include "master/master.h"
#include "master/reload.h"
#include "master/signals.h"
#include "master/start.h"
#include "master/supervise.h"

#define RETRY_MS 100
#define STOP_MS 2000
#define CHANNEL_MS 1000 /* between two channels of a worker, should the first not do */
#define NAME "rpd: keys"

static struct master *master_of(struct keys_process *k)
{
    return CONTAINER(k, struct master, keys);
}

/* It is there, as far as is known. */
static bool can_be_told(const struct keys_process *k)
{
    return (k->phase == KEYS_STARTING || k->phase == KEYS_SERVING) && k->channel.fd >= 0;
}

/* ---- who wants it ---- */

/* What a worker at this generation uses keys of; -1: none of that process. */
static int keyring_of(const struct generation *g)
{
    return g->conf->global.key_process ? g->keyring : -1;
}

static bool is_wanted(const struct master *m)
{
    if (m->phase == MASTER_STOPPING)
        return false;
    for (unsigned i = 0; i < m->nworkers; i++)
        if (keyring_of(apply_generation(m, i)) >= 0)
            return true;
    return false;
}

static void sync_users(struct master *m)
{
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        if (worker_is_alive(&m->workers[i]))
            worker_sync(&m->workers[i]);
    helper_sync(m);
}

/* A start or a reload may have waited for it. */
static void progress(struct master *m)
{
    if (m->phase == MASTER_STARTING)
        start_progress(m);
    else
        reload_progress(m);
}

/* ---- the child ---- */

static void child(const struct master *m, int channel)
{
    const struct keys_args args = { .channel = channel, .user = m->keys_user };
    struct segment *segment = m->segment;
    int status;

    (void)setpgid(0, 0); /* Ctrl-C is the master's */
    proctitle_set(NAME);
    logs_child(&m->logs, "keys");
    segment_close(&segment);
    fd_close_from(3, &channel, 1);
    signals_reset();
    status = keys_main(&args);
    mem_check_leaks();
    _exit(status);
}

static void on_channel(struct event *e, uint32_t mask);

/* -1 with errno. */
static int spawn(struct keys_process *k)
{
    struct master *m = master_of(k);
    int end;
    pid_t pid;

    assert(k->pid == 0);
    pid = child_fork(&m->events, &k->channel, on_channel, &end);
    if (pid == 0)
        child(m, end);
    if (pid < 0)
        return -1;
    k->pid = pid;
    k->phase = KEYS_STARTING;
    k->serial++;
    k->asked = k->answered = 0;
    k->logs_generation = m->generation.number;
    k->logs_number = m->logs_number;
    k->is_killed = false;
    stat_set(&m->stats->keys_pid, (uint64_t)pid);
    return 0;
}

static void start(struct keys_process *k)
{
    struct master *m = master_of(k);

    if (spawn(k) == 0)
        return;
    log_error(NAME " cannot be started");
    if (m->phase == MASTER_STARTING) {
        start_failed(m, "no process can be made for private keys");
        return;
    }
    k->phase = KEYS_WAITING;
    deadline_set(&m->events, &k->start, RETRY_MS);
}

static void on_start(struct deadline *d)
{
    struct keys_process *k = CONTAINER(d, struct keys_process, start);

    start(k);
    sync_users(master_of(k));
}

/* ---- what it is told ---- */

static void on_retry(struct deadline *d)
{
    sync_users(master_of(CONTAINER(d, struct keys_process, retry)));
}

/* false: not now. One that has died is told all that matters when it is there again. */
static bool tell(struct keys_process *k, const struct ipc_msg *msg)
{
    if (ipc_send(k->channel.fd, msg) == 0 || errno == EPIPE || errno == ECONNRESET)
        return true;
    child_tell_later(&master_of(k)->events, &k->channel, &k->retry, NAME);
    return false;
}

/* Both ends of a new channel; the process's is handed over. */
static enum keys_due make_channel(struct master *m, const struct keys_user *u, int keyring,
                                  struct ipc_msg *msg)
{
    struct keys_process *k = &m->keys;
    struct ipc_msg other = { .type = IPC_KEYS, .number = k->channels + 1, .nfds = 1 };
    int pair[2];
    bool is_told;

    if (ipc_pair(pair) != 0) {
        log_error("a channel of %s to " NAME, u->name);
        deadline_set(&m->events, &k->retry, RETRY_MS);
        return KEYS_LATER;
    }
    other.fds[0] = pair[1];
    other.fds[other.nfds++] = keyring;
    is_told = tell(k, &other);
    fd_close(&pair[1]);
    if (!is_told) {
        fd_close(&pair[0]);
        return KEYS_LATER;
    }
    k->channels++;
    k->asked++;
    msg->type = IPC_KEYS;
    msg->fds[msg->nfds++] = pair[0];
    return KEYS_CHANNEL;
}

/* Whose the generation's keys are is known before the user has the generation. */
static enum keys_due allow(struct master *m, struct keys_user *u, uint64_t generation,
                           int keyring)
{
    struct keys_process *k = &m->keys;
    struct ipc_msg msg = { .type = IPC_KEYS_ALLOW, .number = u->channel };

    if (keyring >= 0)
        msg.fds[msg.nfds++] = keyring;
    if (!tell(k, &msg))
        return KEYS_LATER;
    k->asked++;
    u->generation = generation;
    return KEYS_NOTHING;
}

enum keys_due keys_prepare(struct master *m, struct keys_user *u, const struct generation *g,
                           bool is_using, struct ipc_msg *msg)
{
    const struct keys_process *k = &m->keys;
    int keyring = is_using ? keyring_of(g) : -1;

    if (!can_be_told(k))
        return KEYS_NOTHING;
    if (u->process != k->serial)
        return keyring >= 0 ? make_channel(m, u, keyring, msg) : KEYS_NOTHING;
    return u->generation != g->number ? allow(m, u, g->number, keyring) : KEYS_NOTHING;
}

void keys_sent(struct master *m, struct keys_user *u, const struct generation *g)
{
    u->process = m->keys.serial;
    u->channel = m->keys.channels;
    u->generation = g->number;
}

bool keys_cut(struct master *m, struct keys_user *u)
{
    if (u->process != m->keys.serial)
        return false;
    u->process = 0;
    return true;
}

void keys_sync_logs(struct master *m)
{
    struct keys_process *k = &m->keys;
    struct ipc_msg msg = { .type = IPC_LOGS, .flags = IPC_HAS_LOG, .number = m->logs.level,
                           .nfds = 1 };

    if (!can_be_told(k) || m->logs.error_fd < 0
        || (k->logs_generation == m->generation.number && k->logs_number == m->logs_number))
        return;
    msg.fds[0] = m->logs.error_fd;
    if (!tell(k, &msg))
        return;
    k->logs_generation = m->generation.number;
    k->logs_number = m->logs_number;
}

/* ---- what it says ---- */

static void failed(struct keys_process *k, struct slice why)
{
    struct master *m = master_of(k);
    char text[512];

    (void)snprintf(text, sizeof text, NAME ": %.*s", SLICE_ARG(why));
    log_errorx("%s", text);
    if (m->phase == MASTER_STARTING)
        start_failed(m, text);
    else
        reload_warn(m, text);
}

static void forget_channel(const struct keys_process *k, struct keys_user *u, uint64_t number)
{
    if (u->process == k->serial && u->channel == number)
        u->process = 0;
}

/* No thread serves it, or it lacks keys: its user gets another. */
static void channel_failed(struct keys_process *k, uint64_t number)
{
    struct master *m = master_of(k);

    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        forget_channel(k, &m->workers[i].keys, number);
    forget_channel(k, &m->helper.keys, number);
    deadline_set(&m->events, &k->retry, CHANNEL_MS);
}

static void on_message(struct keys_process *k, const struct ipc_msg *msg)
{
    bool is_own = msg->number == 0; /* else of a channel */

    if (!is_own)
        k->answered++;
    else if (msg->type == IPC_READY && k->phase == KEYS_STARTING)
        k->phase = KEYS_SERVING;
    if (!is_own && msg->type == IPC_FAILED)
        channel_failed(k, msg->number);
    if (msg->type == IPC_FAILED)
        failed(k, slice_of(msg->data, msg->size));
    else if (msg->type != IPC_READY)
        log_errorx(NAME " said something unknown: %u", msg->type);
}

static void close_channel(struct keys_process *k)
{
    event_close(&master_of(k)->events, &k->channel);
    deadline_cancel(&k->retry);
}

static void receive(struct keys_process *k)
{
    struct ipc_msg msg;
    int r = 1;

    while (k->channel.fd >= 0 && (r = ipc_recv(k->channel.fd, &msg)) == 1) {
        ipc_close_fds(&msg);
        on_message(k, &msg);
    }
    if (k->channel.fd < 0 || (r < 0 && errno == EAGAIN))
        return;
    if (r < 0)
        log_error("channel of " NAME);
    close_channel(k); /* it is ending, or will when the last worker's channel has */
}

static void on_channel(struct event *e, uint32_t mask)
{
    struct keys_process *k = CONTAINER(e, struct keys_process, channel);
    struct master *m = master_of(k);

    if (mask & EPOLLOUT) {
        event_want(&m->events, e, EPOLLIN);
        sync_users(m);
        keys_sync_logs(m);
    }
    if (!(mask & (EPOLLIN | EPOLLHUP | EPOLLERR)) || k->channel.fd < 0)
        return;
    receive(k);
    progress(m);
}

/* ---- its end ---- */

static void stop(struct keys_process *k)
{
    const struct ipc_msg msg = { .type = IPC_STOP };

    if (k->pid == 0 || k->phase == KEYS_LEAVING)
        return;
    k->phase = KEYS_LEAVING;
    deadline_set(&master_of(k)->events, &k->kill, STOP_MS);
    if (k->channel.fd >= 0 && ipc_send(k->channel.fd, &msg) != 0)
        log_warn(NAME " cannot be told to stop");
}

static void on_kill(struct deadline *d)
{
    struct keys_process *k = CONTAINER(d, struct keys_process, kill);

    log_warnx(NAME " (pid %d) does not end: killed", (int)k->pid);
    k->is_killed = true;
    (void)kill(k->pid, SIGKILL);
}

static void on_idle(struct deadline *d)
{
    struct keys_process *k = CONTAINER(d, struct keys_process, idle);

    if (!is_wanted(master_of(k)))
        stop(k);
}

/* It cannot be again and again within moments. */
static void start_again(struct keys_process *k)
{
    unsigned wait_ms = backoff_crashed(&k->backoff, clock_mono_us());

    if (wait_ms == 0) {
        start(k);
        sync_users(master_of(k));
        return;
    }
    log_warnx(NAME " is started again in %u ms", wait_ms);
    k->phase = KEYS_WAITING;
    deadline_set(&master_of(k)->events, &k->start, wait_ms);
}

static void crashed(struct keys_process *k, pid_t pid, int status)
{
    struct master *m = master_of(k);
    char how[64], text[128];

    supervise_describe_end(status, how, sizeof how);
    (void)snprintf(text, sizeof text, NAME " (pid %d) died: %s", (int)pid, how);
    log_errorx("%s", text);
    stat_inc(&m->stats->keys_crashes);
    if (m->phase == MASTER_STARTING)
        start_failed(m, text);
    else if (is_wanted(m))
        start_again(k);
}

bool keys_exited(struct master *m, pid_t pid, int status)
{
    struct keys_process *k = &m->keys;
    bool was_told = k->phase == KEYS_LEAVING;

    if (pid != k->pid)
        return false;
    receive(k); /* last words */
    close_channel(k);
    deadline_cancel(&k->kill);
    deadline_cancel(&k->idle);
    k->pid = 0;
    k->phase = KEYS_NONE;
    stat_set(&m->stats->keys_pid, 0);
    if (!was_told || (status != 0 && !k->is_killed))
        crashed(k, pid, status);
    else
        log_info(NAME " (pid %d) ended", (int)pid);
    keys_settle(m); /* it may be wanted again since it was told */
    progress(m);
    return true;
}

/* ---- what is wanted of it ---- */

void keys_settle(struct master *m)
{
    struct keys_process *k = &m->keys;
    bool wanted = is_wanted(m);

    switch (k->phase) {
    case KEYS_NONE:
        if (wanted && m->phase != MASTER_RETIRING)
            start(k);
        break;
    case KEYS_WAITING:
        if (wanted)
            break;
        deadline_cancel(&k->start);
        k->phase = KEYS_NONE;
        break;
    case KEYS_STARTING:
    case KEYS_SERVING:
        if (wanted)
            deadline_cancel(&k->idle);
        else if (!deadline_is_set(&k->idle)) /* handshakes that began before may need it */
            deadline_set(&m->events, &k->idle, m->generation.conf->global.shutdown_timeout_ms);
        keys_sync_logs(m);
        break;
    case KEYS_LEAVING: /* if it is wanted again, its successor starts when it is gone */
        break;
    }
}

bool keys_is_settled(const struct master *m)
{
    const struct keys_process *k = &m->keys;

    if (!is_wanted(m) || k->phase == KEYS_WAITING)
        return true;
    return k->phase == KEYS_SERVING && k->answered == k->asked;
}

bool keys_stop(struct master *m)
{
    struct keys_process *k = &m->keys;

    deadline_cancel(&k->start);
    deadline_cancel(&k->idle);
    if (k->phase == KEYS_WAITING)
        k->phase = KEYS_NONE;
    stop(k);
    return k->pid == 0;
}

void keys_init(struct master *m)
{
    struct keys_process *k = &m->keys;

    *k = (struct keys_process){ .phase = KEYS_NONE };
    event_init(&k->channel);
    deadline_init(&k->retry, on_retry);
    deadline_init(&k->start, on_start);
    deadline_init(&k->idle, on_idle);
    deadline_init(&k->kill, on_kill);
}
