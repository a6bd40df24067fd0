/* Accepting, behind a gate: acceptor.h. A worker has one gate and an acceptor a listening socket.
 * It never looks at a connection, and never waits: what the gate does not let in stays in the
 * kernel's queue, and the acceptor in the gate's list of those to be woken. */
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "worker/io/acceptor.h"

#define BATCH_MAX 64 /* accepts before others have their turn */
#define RETRY_US 50000

enum outcome {
    ACCEPTED,
    ACCEPT_EMPTY,     /* nothing waits; an event will come */
    ACCEPT_EXHAUSTED, /* no descriptor or memory */
    ACCEPT_SKIP,      /* one connection failed by itself */
};

static void count(uint64_t *counter)
{
    if (counter)
        __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static void retry_fired(struct timer *t);

void accept_gate_init(struct accept_gate *g, struct loop *loop, uint64_t max)
{
    *g = (struct accept_gate){ .loop = loop, .max = max };
    list_init(&g->waiting);
    timer_init(&g->retry, retry_fired);
}

void accept_gate_fini(struct accept_gate *g)
{
    timer_clear(&g->loop->timers, &g->retry);
}

static bool gate_is_open(const struct accept_gate *g)
{
    return g->open < g->max && !timer_is_set(&g->retry);
}

static void wake(struct accept_gate *g, struct list *node)
{
    struct acceptor *a = CONTAINER(node, struct acceptor, waiting);

    list_remove(node);
    loop_soon(g->loop, &a->task);
}

static void wake_all(struct accept_gate *g)
{
    LIST_EACH(node, &g->waiting)
        wake(g, node);
}

static void retry_fired(struct timer *t)
{
    wake_all(CONTAINER(t, struct accept_gate, retry));
}

void accept_gate_closed_one(struct accept_gate *g)
{
    assert(g->open > 0);
    g->open--;
    /* One place, one acceptor: the first in line. */
    if (!list_empty(&g->waiting) && gate_is_open(g))
        wake(g, g->waiting.next);
}

void accept_gate_set_max(struct accept_gate *g, uint64_t max)
{
    g->max = max;
    if (gate_is_open(g))
        wake_all(g);
}

void accept_gate_shut(struct accept_gate *g)
{
    g->is_shut = true;
    timer_clear(&g->loop->timers, &g->retry);
    while (list_shift(&g->waiting))
        continue;
}

static void wait_for_gate(struct acceptor *a)
{
    if (list_empty(&a->waiting))
        list_push(&a->gate->waiting, &a->waiting);
}

/* accept(2): errors of the network come out of it too, and mean the one connection. What is not
 * known here is a bug of ours; to go on would turn for ever. */
static enum outcome outcome_of(int error)
{
    static const int skipped[] = { ECONNABORTED, EINTR, EPROTO, EPERM, ETIMEDOUT, ENETDOWN,
                                   ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, ENETUNREACH };

    if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS)
        return ACCEPT_EXHAUSTED;
    for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++) {
        if (error == skipped[i])
            return ACCEPT_SKIP;
    }
    return ACCEPT_EMPTY;
}

static enum outcome accept_one(struct acceptor *a)
{
    struct addr from;
    struct ip peer;

    from.len = sizeof from - offsetof(struct addr, sa);
    from.sa.sa_family = AF_UNIX;
    int fd = accept4(a->fd, &from.sa, &from.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return outcome_of(errno);
    peer = ip_of(&from.sa);
    a->gate->open++;
    a->fn(a, fd, &peer);
    return ACCEPTED;
}

static void exhausted(struct acceptor *a)
{
    struct accept_gate *g = a->gate;

    count(g->errors);
    timer_set(&g->loop->timers, &g->retry, g->loop->now_us, RETRY_US);
    wait_for_gate(a);
}

static void run(struct acceptor *a)
{
    struct accept_gate *g = a->gate;

    for (unsigned i = 0; i < BATCH_MAX; i++) {
        if (a->fd < 0 || g->is_shut)
            return;
        if (!gate_is_open(g)) {
            if (g->open >= g->max && list_empty(&a->waiting))
                count(g->full);
            wait_for_gate(a);
            return;
        }
        enum outcome o = accept_one(a);
        if (o == ACCEPT_EXHAUSTED)
            exhausted(a);
        if (o == ACCEPT_EXHAUSTED || o == ACCEPT_EMPTY)
            return;
    }
    if (a->fd >= 0)
        loop_soon(g->loop, &a->task);
}

static void on_event(struct watch *w, uint32_t events)
{
    (void)events;
    run(CONTAINER(w, struct acceptor, watch));
}

static void on_task(struct task *t)
{
    run(CONTAINER(t, struct acceptor, task));
}

int acceptor_init(struct acceptor *a, struct accept_gate *g, int fd, acceptor_fn *fn, void *owner)
{
    *a = (struct acceptor){ .watch = { on_event }, .gate = g, .fn = fn, .owner = owner,
                            .fd = fd };
    list_init(&a->waiting);
    task_init(&a->task, on_task);
    if (fd_nonblock(fd) < 0 || loop_add(g->loop, fd, &a->watch) < 0) {
        fd_close(&a->fd);
        return -1;
    }
    return 0;
}

void acceptor_fini(struct acceptor *a)
{
    enum outcome o = ACCEPTED;

    if (a->fd < 0)
        return;
    while ((o == ACCEPTED || o == ACCEPT_SKIP) && !a->gate->is_shut && a->fd >= 0)
        o = accept_one(a);
    task_cancel(&a->task);
    list_remove(&a->waiting);
    loop_remove(a->gate->loop, a->fd, &a->watch);
    fd_close(&a->fd);
}
