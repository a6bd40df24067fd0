/* Workers whose master was killed: they serve on, each with a socket in run_dir by which this one,
 * the next, asks for what they have. Called by start.c once the directory is locked; blocks, but
 * for no longer than WAIT_MS for a worker that is stuck. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/core/carry.h"
#include "common/core/handoff.h"
#include "common/core/ipc.h"
#include "master/heir.h"
#include "master/master.h"
#include "master/segments.h"
#include "master/start.h"

#define WAIT_MS 2000

struct orphan {
    pid_t pid;
    int channel, segment, bundle, tickets;
    uint64_t index, slot, generation, is_told;
};

struct orphans {
    VEC(struct orphan) v;
};

/* ---- asking one ---- */

static int left_ms(uint64_t until_us)
{
    uint64_t now_us = clock_mono_us();

    return now_us >= until_us ? 0 : (int)((until_us - now_us) / 1000);
}

/* 1 a message, 0 none in time or no more. */
static int receive(int fd, uint64_t until_us, struct ipc_msg *msg)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    while (poll(&p, 1, left_ms(until_us)) == 1) {
        int r = ipc_recv(fd, msg);

        if (r >= 0 || errno != EAGAIN)
            return r > 0;
    }
    return 0;
}

static void take_sockets(struct master *m, struct ipc_msg *msg)
{
    for (unsigned i = 0; i < msg->nfds; i++) {
        struct ipc_listen what;

        if (msg->size < (i + 1) * sizeof what)
            break;
        memcpy(&what, msg->data + i * sizeof what, sizeof what);
        if (memchr(what.key, '\0', sizeof what.key)
            && listen_adopt(&m->listen, what.key, what.slot, what.is_shared != 0, msg->fds[i],
                            true))
            msg->fds[i] = -1;
    }
}

static bool take_facts(struct orphan *o, struct ipc_msg *msg)
{
    struct slice words = slice_of(msg->data, msg->size);

    if (msg->nfds < 2 || msg->nfds > 3 || !handoff_get(words, "index", &o->index)
        || !handoff_get(words, "slot", &o->slot)
        || !handoff_get(words, "generation", &o->generation))
        return false;
    (void)handoff_get(words, "told", &o->is_told);
    o->segment = msg->fds[0];
    o->bundle = msg->fds[1];
    o->tickets = msg->nfds == 3 ? msg->fds[2] : -1;
    msg->nfds = 0;
    return true;
}

/* Facts first, then sockets, then that these were all. */
static bool ask(struct master *m, struct orphan *o)
{
    uint64_t until_us = clock_mono_us() + WAIT_MS * 1000;
    struct ipc_msg msg;
    bool is_known = false;

    while (receive(o->channel, until_us, &msg) > 0) {
        bool is_last = msg.type == IPC_READY;

        if (msg.type == IPC_ORPHAN)
            is_known = take_facts(o, &msg);
        else if (msg.type == IPC_LISTEN)
            take_sockets(m, &msg);
        ipc_close_fds(&msg);
        if (is_last)
            return is_known;
    }
    return false;
}

/* One that cannot be told anything would serve what nobody wants any more. */
static void end(pid_t pid)
{
    struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };

    if (p.fd < 0)
        return;
    (void)kill(pid, SIGKILL);
    (void)poll(&p, 1, WAIT_MS);
    fd_close(&p.fd);
}

static void find_one(struct master *m, struct orphans *all, pid_t pid)
{
    struct orphan o = { .pid = pid, .channel = heir_connect(m->run_dir, pid), .segment = -1,
                        .bundle = -1, .tickets = -1 };

    if (o.channel < 0) {
        if (errno == ECONNREFUSED)
            heir_remove(m->run_dir, pid); /* it is no more */
        return;
    }
    if (ask(m, &o)) {
        *VEC_PUSH(&all->v) = o;
        return;
    }
    log_warnx("a worker without master (pid %d) does not answer: killed", (int)pid);
    end(pid);
    fd_close(&o.channel);
    fd_close(&o.segment);
    fd_close(&o.bundle);
    fd_close(&o.tickets);
}

static void find_all(struct master *m, struct orphans *all)
{
    DIR *dir = opendir(m->run_dir);
    struct dirent *d;

    while (dir && (d = readdir(dir))) {
        pid_t pid = heir_pid(d->d_name);

        if (pid > 0)
            find_one(m, all, pid);
    }
    if (dir)
        (void)closedir(dir);
}

/* ---- their counts ---- */

static bool is_one(const struct orphans *all, uint64_t pid)
{
    for (size_t i = 0; i < all->v.n; i++)
        if ((uint64_t)all->v.v[i].pid == pid)
            return true;
    return false;
}

static void adopt(struct master *m, struct orphan *o)
{
    struct carry *from = carry_open(o->segment);
    struct retiree_facts r = {
        .pid = o->pid, .index = (unsigned)o->index, .channel = o->channel, .from = from,
        .from_slot = (unsigned)o->slot % STATS_SLOTS_MAX, .is_told = o->is_told != 0,
    };

    o->segment = -1;
    if (!from) {
        log_warnx("worker %d counts where nobody can read", (int)o->pid);
        fd_close(&o->channel);
        return;
    }
    r.slot = slots_take(&m->slots, m->segment);
    if (retiree_add(m, &r) != 0)
        log_warn("worker without master (pid %d)", (int)o->pid);
    carry_unref(&from);
}

static void adopt_newest(struct master *m, struct orphans *all)
{
    struct report report;
    struct orphan *newest = NULL;

    for (size_t i = 0; i < all->v.n; i++)
        if (!newest || all->v.v[i].generation > newest->generation)
            newest = &all->v.v[i];
    if (!newest)
        return;
    report_init(&report);
    if (!generation_open(&m->generation, newest->bundle, -1, &report))
        log_warnx("the configuration of before cannot be read");
    m->generation.number = newest->generation;
    newest->bundle = -1;
    rotation_adopt(m, &newest->tickets);
    report_fini(&report);
}

/* What the last segment holds that is not to be taken from there: of those that live, and of one
 * that ended while there was no master, which counted on in a segment of before. */
struct ended {
    struct carry *last;
    bool is_elsewhere[STATS_SLOTS_MAX]; /* by slot of the last one */
    VEC(struct late { struct carry *from; unsigned slot; }) late;
};

static void find_late(void *arg, struct carry *old)
{
    struct ended *e = arg;

    for (unsigned i = 0; i < carry_slots(e->last); i++) {
        uint64_t pid = e->is_elsewhere[i] ? 0 : carry_pid(e->last, i);

        for (unsigned k = 0; pid != 0 && k < carry_slots(old); k++) {
            if (carry_pid(old, k) != pid)
                continue;
            e->is_elsewhere[i] = true;
            *VEC_PUSH(&e->late) = (struct late){ carry_ref(old), k };
            break;
        }
    }
}

/* In the last segment a living process has a slot of its own, where its pid stands. */
static void find_ended(const struct master *m, const struct orphans *all, struct ended *e)
{
    for (unsigned i = 0; e->last && i < carry_slots(e->last); i++)
        e->is_elsewhere[i] = is_one(all, carry_pid(e->last, i));
    if (e->last)
        segments_each(m, find_late, e);
}

static bool carry_all(struct master *m, const struct ended *e)
{
    unsigned slot;

    if (!e->last)
        return true;
    takeover_reserve_slots(m, carry_rpd(e->last, "workers"));
    slot = takeover_carry_ended(m, e->last, e->is_elsewhere);
    for (size_t i = 0; slot != SLOT_NONE && i < e->late.n; i++)
        carry_slot(e->late.v[i].from, e->late.v[i].slot, m->segment, slot, CARRY_ADD);
    return slot != SLOT_NONE;
}

static void ended_fini(struct ended *e)
{
    for (size_t i = 0; i < e->late.n; i++)
        carry_unref(&e->late.v[i].from);
    VEC_FREE(&e->late);
    carry_unref(&e->last);
}

static int open_last(const struct master *m)
{
    char *path = segments_path(m);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    free(path);
    return fd;
}

bool takeover_find_orphans(struct master *m)
{
    struct orphans all = { .v = { NULL, 0, 0 } };
    struct ended ended = { .last = NULL };
    int fd = open_last(m);
    bool is_good;

    if (fd >= 0)
        ended.last = carry_open(fd);
    find_all(m, &all);
    find_ended(m, &all, &ended);
    segments_set_aside(m);
    is_good = master_make_segment(m) && carry_all(m, &ended);
    if (is_good) {
        adopt_newest(m, &all);
        for (size_t i = 0; i < all.v.n; i++)
            adopt(m, &all.v.v[i]);
        stat_set(&m->stats->started, 0); /* this process is another one */
        master_sign_segment(m);
        is_good = master_publish_segment(m);
    }
    if (all.v.n > 0) {
        m->takeover.kind = TAKEOVER_ORPHANS;
        log_notice("%zu workers have lost their master: they serve until new ones do", all.v.n);
    }
    for (size_t i = 0; i < all.v.n; i++) {
        fd_close(&all.v.v[i].bundle);
        fd_close(&all.v.v[i].tickets);
    }
    VEC_FREE(&all.v);
    ended_fini(&ended);
    return is_good;
}
