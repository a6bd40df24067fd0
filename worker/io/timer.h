/* Timers of a loop: a hierarchical wheel of 8 ms ticks, every operation O(1). A timer never fires
 * early, and at most two ticks late. Moving a timer that is armed to a later time (what each
 * request does) only stores the time: the wheel puts it on when its old slot comes by. A paused
 * one keeps its slot too, so that to pause and set again costs two stores. */
#ifndef RPD_IO_TIMER_H
#define RPD_IO_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/list.h"

#define TIMER_TICK_US 8192
#define TIMER_LEVELS 4
#define TIMER_SLOTS 64 /* a level; the last level reaches 38 hours, longer waits go round again */

struct timer;
typedef void timer_fn(struct timer *t);

struct timer {
    struct list node;
    uint64_t due_us;    /* 0: not armed */
    uint64_t placed_us; /* linked: what the slot stands for; not later than due_us if that is set */
    timer_fn *fn;
};

struct timers {
    uint64_t tick; /* ticks handled so far */
    uint64_t armed; /* nodes in the wheel */
    uint64_t used[TIMER_LEVELS]; /* a bit for each slot that is not empty */
    struct list wheel[TIMER_LEVELS][TIMER_SLOTS];
};

void timers_init(struct timers *ts, uint64_t now_us);
void timer_init(struct timer *t, timer_fn *fn);
/* For timer_set: on the wheel anew. */
void timer_place(struct timers *ts, struct timer *t, uint64_t now_us, uint64_t delay_us);
/* (Re-)arms; fires once. delay 0 fires in this or the next batch. */
static inline void timer_set(struct timers *ts, struct timer *t, uint64_t now_us,
                             uint64_t delay_us)
{
    uint64_t due_us = now_us + delay_us;

    if (!list_empty(&t->node) && due_us >= t->placed_us && due_us >= now_us)
        t->due_us = due_us;
    else
        timer_place(ts, t, now_us, delay_us);
}
/* Off the wheel: may be freed. */
void timer_clear(struct timers *ts, struct timer *t);
/* Does not fire until it is set again; before it is freed it must be cleared. */
static inline void timer_pause(struct timer *t)
{
    t->due_us = 0;
}
static inline bool timer_is_set(const struct timer *t)
{
    return t->due_us != 0;
}
/* Fires what is due; callbacks may set and clear any timer. */
void timers_run(struct timers *ts, uint64_t now_us);
/* Microseconds until timers_run has something to do, UINT64_MAX if never. */
uint64_t timers_wait_us(const struct timers *ts, uint64_t now_us);

#endif
