/* The master's loop: descriptors and deadlines. Level-triggered and one event at a time, so that
 * whatever a callback frees cannot have a second event under way. Single thread. */
#ifndef RPD_MASTER_EVENTS_H
#define RPD_MASTER_EVENTS_H

#include <stdint.h>
#include <sys/epoll.h>
#include "common/base/list.h"

struct event;
struct deadline;
/* May remove and free its event. */
typedef void event_fn(struct event *e, uint32_t mask);
/* Not set any more when it is called; may set itself again. */
typedef void deadline_fn(struct deadline *d);

struct event {
    int fd; /* -1: not registered */
    uint32_t mask;
    event_fn *fn;
};

struct deadline {
    struct list list;
    uint64_t at_us;
    deadline_fn *fn;
};

struct events {
    int epoll;
    struct list deadlines; /* in no order: there are few */
};

/* 0, or -1 with errno. */
int events_init(struct events *ev);
void events_fini(struct events *ev);
/* Waits for one event or deadline and serves it. */
void events_step(struct events *ev);

void event_init(struct event *e);
/* 0, or -1 with errno. The fd stays the caller's. */
int event_add(struct events *ev, struct event *e, int fd, uint32_t mask, event_fn *fn);
/* Another mask: EPOLLIN, EPOLLOUT, both. */
void event_want(struct events *ev, struct event *e, uint32_t mask);
/* Harmless when not registered. Before the fd is closed. */
void event_remove(struct events *ev, struct event *e);
/* Removes it and closes its fd. */
void event_close(struct events *ev, struct event *e);

void deadline_init(struct deadline *d, deadline_fn *fn);
/* Moves it when it is set already. */
void deadline_set(struct events *ev, struct deadline *d, uint64_t ms);
static inline void deadline_cancel(struct deadline *d)
{
    list_remove(&d->list);
}
static inline int deadline_is_set(const struct deadline *d)
{
    return d->list.next != &d->list;
}

#endif
