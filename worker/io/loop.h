/* The event loop of a worker or helper: epoll (edge-triggered), timers, and work put off to the
 * end of a batch. One loop a process, one thread.
 *
 *   epoll_wait -> every event's callback -> tasks (loop_soon) -> flushes (conn.c) -> tasks ...
 *              -> due timers -> the dead (loop_bury) are freed -> epoll_wait
 *
 * Nothing is written while events are handled: output is gathered and leaves in one writev a
 * connection at the batch's end. Nothing is freed inside a callback: it is buried. Tasks that
 * queue each other without end go on in the next batch, so that they cannot starve the rest. */
#ifndef RPD_IO_LOOP_H
#define RPD_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/clock.h"
#include "common/base/list.h"
#include "worker/io/timer.h"

struct watch;
typedef void watch_fn(struct watch *w, uint32_t epoll_events);

/* What epoll's data points at; embedded in conns, listeners, channels. */
struct watch {
    watch_fn *fn;
};

struct task;
typedef void task_fn(struct task *t);

/* Work for later in this batch; queued at most once. */
struct task {
    struct list node;
    task_fn *fn;
};

/* Something to be freed when the batch is over. */
struct dead {
    struct dead *next;
    void (*free)(struct dead *d);
};

struct epoll_event;
struct loop {
    int epoll_fd;
    bool should_stop;
    uint64_t now_us;  /* CLOCK_MONOTONIC at the batch's start */
    struct timers timers;
    struct list soon;    /* tasks */
    struct list flushes; /* tasks that run when `soon` is empty: conns' output */
    struct dead *dead;
    uint64_t batches, events;
    struct epoll_event *batch; /* events of this batch not handled yet; NULL between batches */
    unsigned batch_count;
    uint64_t date_us;      /* until this now_us the text below holds */
    char date[CLOCK_TEXT_MAX];
};

/* 0, or -1 with errno. */
int loop_init(struct loop *l);
void loop_fini(struct loop *l);
/* Until should_stop is set; -1 with errno if epoll fails. */
int loop_run(struct loop *l);
/* One batch; timeout_ms -1 waits for the next event or timer. For tests. */
int loop_once(struct loop *l, int timeout_ms);

/* Adds fd for EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET, for its life: there is no modify. Removal is
 * by close() of a descriptor that is ours alone. -1 with errno. */
int loop_add(struct loop *l, int fd, struct watch *w);
/* The same for EPOLLIN|EPOLLRDHUP|EPOLLET: who is not interested in room is not woken by it. */
int loop_add_input(struct loop *l, int fd, struct watch *w);
/* Takes fd out, for one that other processes hold open too: closing our copy would leave it in the
 * set. Its events left in this batch are dropped. */
void loop_remove(struct loop *l, int fd, const struct watch *w);
/* For a watch that is freed without loop_bury: its events of this batch are forgotten. Its fd is
 * the caller's to close. */
void loop_forget(struct loop *l, const struct watch *w);
/* Reads the clock anew: after long work outside of a batch, before timers are set. */
void loop_refresh(struct loop *l);

static inline void task_init(struct task *t, task_fn *fn)
{
    list_init(&t->node);
    t->fn = fn;
}
static inline void task_cancel(struct task *t)
{
    list_remove(&t->node);
}
void loop_soon(struct loop *l, struct task *t);
/* As loop_soon, but runs after every loop_soon task. */
void loop_flush_soon(struct loop *l, struct task *t);
void loop_bury(struct loop *l, struct dead *d, void (*fn)(struct dead *));
/* Frees the dead now: not from within a callback. */
void loop_reap(struct loop *l);

/* `Date` value for now, formatted once a second; 29 bytes. */
const char *loop_http_date(struct loop *l);

#endif
