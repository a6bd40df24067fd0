/* The master's loop. Owns the epoll descriptor, nothing of what is registered. Called by every
 * module of the master; knows none of them. */
#include "master/events.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"

int events_init(struct events *ev)
{
    list_init(&ev->deadlines);
    ev->epoll = epoll_create1(EPOLL_CLOEXEC);
    return ev->epoll < 0 ? -1 : 0;
}

void events_fini(struct events *ev)
{
    fd_close(&ev->epoll);
}

/* Milliseconds until the first deadline, rounded up; -1 without one. */
static int time_left(const struct events *ev, uint64_t now_us)
{
    uint64_t first_us = UINT64_MAX, ms;

    LIST_EACH(it, &ev->deadlines) {
        const struct deadline *d = CONTAINER(it, struct deadline, list);

        if (d->at_us < first_us)
            first_us = d->at_us;
    }
    if (first_us == UINT64_MAX)
        return -1;
    if (first_us <= now_us)
        return 0;
    ms = (first_us - now_us + 999) / 1000;
    return ms > 3600 * 1000 ? 3600 * 1000 : (int)ms;
}

/* One that is due, or NULL. A callback may change the list: it is searched anew each time. */
static struct deadline *due(const struct events *ev, uint64_t now_us)
{
    LIST_EACH(it, &ev->deadlines) {
        struct deadline *d = CONTAINER(it, struct deadline, list);

        if (d->at_us <= now_us)
            return d;
    }
    return NULL;
}

void events_step(struct events *ev)
{
    struct epoll_event got;
    struct deadline *d;
    int n = epoll_wait(ev->epoll, &got, 1, time_left(ev, clock_mono_us()));

    assert(n >= 0 || errno == EINTR);
    if (n == 1) {
        struct event *e = got.data.ptr;

        e->fn(e, got.events);
    }
    d = due(ev, clock_mono_us());
    if (d) {
        deadline_cancel(d);
        d->fn(d);
    }
}

void event_init(struct event *e)
{
    *e = (struct event){ .fd = -1 };
}

int event_add(struct events *ev, struct event *e, int fd, uint32_t mask, event_fn *fn)
{
    struct epoll_event want = { .events = mask, .data.ptr = e };

    assert(e->fd < 0);
    if (epoll_ctl(ev->epoll, EPOLL_CTL_ADD, fd, &want) != 0)
        return -1;
    *e = (struct event){ .fd = fd, .mask = mask, .fn = fn };
    return 0;
}

void event_want(struct events *ev, struct event *e, uint32_t mask)
{
    struct epoll_event want = { .events = mask, .data.ptr = e };

    if (e->mask == mask)
        return;
    /* Fails only for want of memory where a watch is added; a change takes none. */
    if (epoll_ctl(ev->epoll, EPOLL_CTL_MOD, e->fd, &want) != 0)
        abort();
    e->mask = mask;
}

void event_remove(struct events *ev, struct event *e)
{
    if (e->fd < 0)
        return;
    (void)epoll_ctl(ev->epoll, EPOLL_CTL_DEL, e->fd, NULL);
    e->fd = -1;
}

void event_close(struct events *ev, struct event *e)
{
    int fd = e->fd;

    event_remove(ev, e);
    fd_close(&fd);
}

void deadline_init(struct deadline *d, deadline_fn *fn)
{
    list_init(&d->list);
    d->fn = fn;
}

void deadline_set(struct events *ev, struct deadline *d, uint64_t ms)
{
    list_remove(&d->list);
    d->at_us = clock_mono_us() + ms * 1000;
    list_push(&ev->deadlines, &d->list);
}
