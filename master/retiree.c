/* Processes of a predecessor: retiree.h. Owns their channels. They are children only where this
 * process is the predecessor itself after an exec, so their end is seen by a pidfd. Called by
 * takeover.c, stop.c, logs.c and the loop; never blocks. */
#include "master/retiree.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/core/ipc.h"
#include "common/core/limits.h"
#include "master/flight.h"
#include "master/handing.h"
#include "master/heir.h"
#include "master/logs.h"
#include "master/master.h"
#include "master/segments.h"
#include "master/stop.h"
#include "master/supervise.h"

#define MIRROR_MS 50       /* at least */
#define MIRROR_SHARE 20    /* of the time, one part at most is spent on it */
#define GRACE_MS 1000      /* to exit in, once its own time has run out */

struct retiree {
    struct list list;
    struct master *master;
    struct retiree_facts is;
    struct event channel;
    struct event life;
    struct deadline kill;
    bool is_killed;   /* by us */
    char crash[64];   /* how; empty: it ended well, as far as is known */
};

static struct retiree *of(struct list *it)
{
    return CONTAINER(it, struct retiree, list);
}

/* ---- what they count ---- */

static void copy(struct retiree *r, enum carry_how how)
{
    struct segment *seg = r->master->segment;
    struct stats_worker *w;

    if (r->is.slot == SLOT_NONE)
        return;
    carry_slot(r->is.from, r->is.from_slot, seg, r->is.slot, how);
    w = STATS_SLOT(seg, worker, "worker", r->is.slot);
    if (how == CARRY_COPY && r->is.is_told)
        stat_set(&w->state, WORKER_RETIRING); /* what it will say itself in a moment */
}

void retirees_follow(struct master *m)
{
    const struct carry *told = NULL;

    LIST_EACH(it, &m->retirees.list) {
        if (of(it)->is.from != told)
            carry_back(of(it)->is.from, m->segment);
        told = of(it)->is.from;
    }
}

static void on_mirror(struct deadline *d)
{
    struct master *m = CONTAINER(d, struct master, retirees.mirror);
    uint64_t began_us = clock_mono_us(), spent_ms;

    retirees_mirror(m);
    retirees_follow(m);
    spent_ms = (clock_mono_us() - began_us) / 1000;
    if (!list_empty(&m->retirees.list))
        deadline_set(&m->events, d, MIRROR_MS + spent_ms * MIRROR_SHARE);
}

/* ---- their end ---- */

static void drop(struct retiree *r)
{
    struct events *ev = &r->master->events;

    event_close(ev, &r->channel);
    event_close(ev, &r->life);
    deadline_cancel(&r->kill);
    list_remove(&r->list);
    carry_unref(&r->is.from);
    free(r);
}

static void on_end(struct event *e, uint32_t mask)
{
    struct retiree *r = CONTAINER(e, struct retiree, life);
    struct master *m = r->master;
    int status;

    (void)mask;
    /* The pidfd may say it before SIGCHLD does. */
    if (waitpid(r->is.pid, &status, WNOHANG) == r->is.pid)
        (void)retiree_exited(m, r->is.pid, status);
    copy(r, CARRY_LAST);
    limits_died(m->limits, r->is.pid);
    flight_ended(m, r->is.index, r->is.pid, r->crash[0] == '\0', r->crash);
    heir_remove(m->run_dir, r->is.pid);
    log_info("earlier worker %u (pid %d) ended", r->is.index, (int)r->is.pid);
    drop(r);
    if (list_empty(&m->retirees.list) && m->phase != MASTER_STARTING) {
        log_notice("the workers of before have all ended");
        segments_forget(m);
    }
    stop_progress(m);
}

bool retiree_exited(struct master *m, pid_t pid, int status)
{
    LIST_EACH(it, &m->retirees.list) {
        struct retiree *r = of(it);

        if (r->is.pid != pid)
            continue;
        if (status != 0 && !r->is_killed) {
            supervise_describe_end(status, r->crash, sizeof r->crash);
            stat_inc(&m->stats->worker_crashes);
            log_errorx("earlier worker %u (pid %d) died: %s", r->is.index, (int)pid, r->crash);
        }
        return true; /* the rest when the pidfd says it */
    }
    return false;
}

static void on_kill(struct deadline *d)
{
    struct retiree *r = CONTAINER(d, struct retiree, kill);

    log_warnx("earlier worker %u (pid %d) does not end: killed", r->is.index, (int)r->is.pid);
    r->is_killed = true;
    (void)kill(r->is.pid, SIGKILL);
}

/* ---- their channel ---- */

static void on_channel(struct event *e, uint32_t mask)
{
    struct ipc_msg msg;
    int r;

    (void)mask;
    while ((r = ipc_recv(e->fd, &msg)) > 0)
        ipc_close_fds(&msg); /* nothing that it says matters any more */
    if (r < 0 && errno == EAGAIN)
        return;
    event_close(&CONTAINER(e, struct retiree, channel)->master->events, e);
}

static void tell(struct retiree *r, enum ipc_type type, uint32_t flags, uint64_t number)
{
    struct ipc_msg msg = { .type = type, .flags = flags, .number = number };

    if (r->channel.fd >= 0 && ipc_send(r->channel.fd, &msg) != 0)
        log_warn("earlier worker %u (pid %d) cannot be told", r->is.index, (int)r->is.pid);
}

/* ---- taking over ---- */

void retirees_init(struct master *m)
{
    list_init(&m->retirees.list);
    deadline_init(&m->retirees.mirror, on_mirror);
}

static int watch(struct retiree *r)
{
    struct events *ev = &r->master->events;
    int life = (int)syscall(SYS_pidfd_open, r->is.pid, 0);

    if (life < 0)
        return -1;
    if (event_add(ev, &r->life, life, EPOLLIN, on_end) != 0) {
        fd_close(&life);
        return -1;
    }
    return event_add(ev, &r->channel, r->is.channel, EPOLLIN, on_channel);
}

int retiree_add(struct master *m, const struct retiree_facts *facts)
{
    struct retiree *r = xcalloc(1, sizeof *r);

    r->master = m;
    r->is = *facts;
    carry_ref(r->is.from);
    list_init(&r->list);
    event_init(&r->channel);
    event_init(&r->life);
    deadline_init(&r->kill, on_kill);
    (void)fd_cloexec(r->is.channel, true);
    if (watch(r) != 0) {
        int err = errno;

        if (r->channel.fd < 0)
            fd_close(&r->is.channel);
        copy(r, CARRY_LAST);
        drop(r);
        errno = err;
        return -1;
    }
    list_push(&m->retirees.list, &r->list);
    copy(r, CARRY_COPY); /* its pid is there from now on, for another that takes over */
    deadline_set(&m->events, &m->retirees.mirror, 0);
    return 0;
}

/* ---- what is wanted of them ---- */

void retirees_retire(struct master *m)
{
    uint64_t ms = m->generation.conf->global.shutdown_timeout_ms;

    LIST_EACH(it, &m->retirees.list) {
        struct retiree *r = of(it);

        if (!r->is.is_told || m->phase == MASTER_RETIRING)
            tell(r, IPC_RETIRE, m->phase == MASTER_RETIRING ? IPC_CLOSE_IDLE : 0, ms);
        r->is.is_told = true;
        copy(r, CARRY_COPY);
        if (!deadline_is_set(&r->kill))
            deadline_set(&m->events, &r->kill, ms + GRACE_MS);
    }
}

void retirees_stop(struct master *m, uint64_t ms)
{
    LIST_EACH(it, &m->retirees.list) {
        tell(of(it), IPC_STOP, 0, 0);
        deadline_set(&m->events, &of(it)->kill, ms);
    }
}

void retirees_kill(struct master *m)
{
    LIST_EACH(it, &m->retirees.list) {
        of(it)->is_killed = true;
        (void)kill(of(it)->is.pid, SIGKILL);
    }
}

void retirees_reopen(struct master *m)
{
    struct ipc_msg msg = { .type = IPC_LOGS };

    logs_message(&m->logs, m->generation.bundle, &msg);
    LIST_EACH(it, &m->retirees.list)
        if (of(it)->channel.fd >= 0 && ipc_send(of(it)->channel.fd, &msg) != 0)
            log_warn("earlier worker %u keeps its old log files", of(it)->is.index);
}

unsigned retirees_count(const struct master *m)
{
    unsigned n = 0;

    LIST_EACH(it, &m->retirees.list)
        n++;
    return n;
}

void retirees_mirror(struct master *m)
{
    LIST_EACH(it, &m->retirees.list)
        copy(of(it), CARRY_COPY);
}

void retirees_hand(struct master *m, struct handing *h)
{
    LIST_EACH(it, &m->retirees.list) {
        struct retiree *r = of(it);

        if (r->channel.fd < 0) { /* it is ending */
            copy(r, CARRY_LAST);
            continue;
        }
        handing_worker(h, r->is.pid, r->is.index, r->channel.fd);
        handoff_number(&h->text, "slot", r->is.slot);
        handoff_number(&h->text, "from_slot", r->is.from_slot);
        handing_fd(h, "from", carry_fd(r->is.from));
        handoff_number(&h->text, "told", r->is.is_told);
        handoff_end(&h->text);
    }
}

void retirees_fini(struct master *m)
{
    deadline_cancel(&m->retirees.mirror);
    LIST_EACH(it, &m->retirees.list)
        drop(of(it));
}
