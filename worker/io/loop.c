/* The event loop of loop.h: one a process, run by a worker's or helper's main. It knows nothing
 * of what it waits for; it never writes, and frees nothing but the dead. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "worker/io/loop.h"

#define EVENTS_MAX 256
/* Rounds of tasks or flushes in a batch; what queues more waits for the next one. */
#define ROUNDS_MAX 64

int loop_init(struct loop *l)
{
    memset(l, 0, sizeof *l);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0)
        return -1;
    l->now_us = clock_mono_us();
    timers_init(&l->timers, l->now_us);
    list_init(&l->soon);
    list_init(&l->flushes);
    return 0;
}

void loop_fini(struct loop *l)
{
    loop_reap(l);
    fd_close(&l->epoll_fd);
}

static int add(struct loop *l, int fd, struct watch *w, uint32_t events)
{
    struct epoll_event ev = { .events = events | EPOLLRDHUP | EPOLLET, .data.ptr = w };

    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int loop_add(struct loop *l, int fd, struct watch *w)
{
    return add(l, fd, w, EPOLLIN | EPOLLOUT);
}

int loop_add_input(struct loop *l, int fd, struct watch *w)
{
    return add(l, fd, w, EPOLLIN);
}

void loop_remove(struct loop *l, int fd, const struct watch *w)
{
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    loop_forget(l, w);
}

void loop_forget(struct loop *l, const struct watch *w)
{
    for (unsigned i = 0; i < l->batch_count; i++) {
        if (l->batch[i].data.ptr == w)
            l->batch[i].data.ptr = NULL;
    }
}

void loop_refresh(struct loop *l)
{
    l->now_us = clock_mono_us();
}

void loop_soon(struct loop *l, struct task *t)
{
    if (list_empty(&t->node))
        list_push(&l->soon, &t->node);
}

void loop_flush_soon(struct loop *l, struct task *t)
{
    if (list_empty(&t->node))
        list_push(&l->flushes, &t->node);
}

void loop_bury(struct loop *l, struct dead *d, void (*fn)(struct dead *))
{
    d->free = fn;
    d->next = l->dead;
    l->dead = d;
}

void loop_reap(struct loop *l)
{
    while (l->dead) {
        struct dead *d = l->dead;
        l->dead = d->next;
        d->free(d);
    }
}

static bool has_work(const struct loop *l)
{
    return !list_empty(&l->soon) || !list_empty(&l->flushes);
}

/* Runs what is in the list now; what is added meanwhile stays. */
static void run_tasks(struct list *tasks)
{
    struct list now;
    struct list *node;

    list_init(&now);
    list_splice(&now, tasks);
    while ((node = list_shift(&now)) != NULL) {
        struct task *t = CONTAINER(node, struct task, node);
        t->fn(t);
    }
}

static void run_work(struct loop *l)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (!list_empty(&l->soon))
            run_tasks(&l->soon);
        else if (!list_empty(&l->flushes))
            run_tasks(&l->flushes);
        else
            return;
    }
    run_tasks(&l->flushes);
}

static int wait_ms(const struct loop *l, int limit_ms)
{
    uint64_t us, ms;

    if (has_work(l) || l->dead)
        return 0;
    us = timers_wait_us(&l->timers, l->now_us);
    if (us == UINT64_MAX)
        return limit_ms;
    ms = us / 1000 + (us % 1000 != 0);
    if (ms > 3600 * 1000)
        ms = 3600 * 1000;
    return limit_ms >= 0 && (uint64_t)limit_ms < ms ? limit_ms : (int)ms;
}

static void handle_events(struct loop *l)
{
    while (l->batch_count > 0) {
        const struct epoll_event *ev = l->batch;
        struct watch *w = ev->data.ptr;
        l->batch++;
        l->batch_count--;
        if (w)
            w->fn(w, ev->events);
    }
    l->batch = NULL;
}

int loop_once(struct loop *l, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, wait_ms(l, timeout_ms));

    if (n < 0) {
        if (errno != EINTR)
            return -1;
        n = 0;
    }
    l->now_us = clock_mono_us();
    l->batches++;
    l->events += (unsigned)n;
    l->batch = events;
    l->batch_count = (unsigned)n;
    handle_events(l);
    run_work(l);
    timers_run(&l->timers, l->now_us);
    run_work(l);
    loop_reap(l);
    return 0;
}

int loop_run(struct loop *l)
{
    loop_refresh(l);
    while (!l->should_stop) {
        if (loop_once(l, -1) < 0)
            return -1;
    }
    return 0;
}

const char *loop_http_date(struct loop *l)
{
    if (l->now_us >= l->date_us) {
        uint64_t wall_us = clock_wall_us();
        size_t n = clock_http_date(l->date, wall_us);
        assert(n == 29);
        l->date_us = l->now_us + 1000000 - wall_us % 1000000;
    }
    return l->date;
}
