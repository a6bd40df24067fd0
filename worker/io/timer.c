/* Timers: the hashed hierarchical wheel of timer.h. Owned by a loop, called by it and by whoever
 * arms a timer. Never asks for the time and never allocates.
 *
 * Level 0 holds what is due within 64 ticks, a slot a tick; a slot of level n stands for 64^n
 * ticks. When the tick reaches a slot of a higher level, its timers are put on again and fall to
 * lower levels (or, if they were moved to later meanwhile, into a later slot). The slot being
 * emptied is never the one a timer is put into, because distances lie in 1..63 slots. */
#include "worker/io/timer.h"

#define SLOT_BITS 6
#define SLOT_MASK (TIMER_SLOTS - 1)
#define WHEEL_TICKS (1ULL << (SLOT_BITS * TIMER_LEVELS))
#define TICK_BITS 13

_Static_assert(TIMER_TICK_US == 1 << TICK_BITS, "ticks are shifted, not divided");
_Static_assert(TIMER_SLOTS == 1 << SLOT_BITS, "a slot is a bit of a uint64_t");

void timers_init(struct timers *ts, uint64_t now_us)
{
    ts->tick = now_us >> TICK_BITS;
    ts->armed = 0;
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        ts->used[level] = 0;
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&ts->wheel[level][slot]);
    }
}

void timer_init(struct timer *t, timer_fn *fn)
{
    list_init(&t->node);
    t->due_us = 0;
    t->fn = fn;
}

/* Puts an unlinked timer on; a due tick already handled is taken as `earliest`. */
static void put_on(struct timers *ts, struct timer *t, uint64_t earliest)
{
    uint64_t due = (t->due_us + TIMER_TICK_US - 1) >> TICK_BITS;

    if (due < earliest)
        due = earliest;
    uint64_t ahead = due - ts->tick;
    if (ahead >= WHEEL_TICKS) {
        ahead = WHEEL_TICKS - 1;
        due = ts->tick + ahead;
    }
    unsigned level = ahead < TIMER_SLOTS
                         ? 0
                         : (63 - (unsigned)__builtin_clzll(ahead)) / SLOT_BITS;
    unsigned slot = (unsigned)(due >> (SLOT_BITS * level)) & SLOT_MASK;
    list_push(&ts->wheel[level][slot], &t->node);
    t->placed_us = t->due_us;
    ts->used[level] |= 1ULL << slot;
    ts->armed++;
}

static void take_off(struct timers *ts, struct timer *t)
{
    struct list *left = t->node.next;

    list_remove(&t->node);
    ts->armed--;
    if (list_empty(left)) { /* only a slot's head can be alone */
        size_t at = (size_t)(left - &ts->wheel[0][0]);
        ts->used[at >> SLOT_BITS] &= ~(1ULL << (at & SLOT_MASK));
    }
}

void timer_place(struct timers *ts, struct timer *t, uint64_t now_us, uint64_t delay_us)
{
    uint64_t due_us = now_us + delay_us;

    if (due_us < now_us || due_us == 0)
        due_us = due_us ? UINT64_MAX - TIMER_TICK_US : 1;
    if (!list_empty(&t->node))
        take_off(ts, t);
    t->due_us = due_us;
    put_on(ts, t, ts->tick + 1);
}

void timer_clear(struct timers *ts, struct timer *t)
{
    t->due_us = 0;
    if (!list_empty(&t->node))
        take_off(ts, t);
}

/* The next tick whose slot, on any level, is not empty; UINT64_MAX if there is none. */
static uint64_t next_tick(const struct timers *ts)
{
    uint64_t next = UINT64_MAX;

    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        uint64_t used = ts->used[level];
        if (used == 0)
            continue;
        uint64_t at = ts->tick >> (SLOT_BITS * level);
        unsigned turn = (unsigned)(at + 1) & SLOT_MASK;
        if (turn != 0)
            used = used >> turn | used << (TIMER_SLOTS - turn);
        uint64_t tick = (at + 1 + (unsigned)__builtin_ctzll(used)) << (SLOT_BITS * level);
        if (tick < next)
            next = tick;
    }
    return next;
}

static void cascade(struct timers *ts)
{
    for (unsigned level = TIMER_LEVELS - 1; level > 0; level--) {
        unsigned bits = SLOT_BITS * level;
        if ((ts->tick & ((1ULL << bits) - 1)) != 0)
            continue;
        unsigned slot = (unsigned)(ts->tick >> bits) & SLOT_MASK;
        struct list *head = &ts->wheel[level][slot];
        while (!list_empty(head)) {
            struct timer *t = CONTAINER(head->next, struct timer, node);
            take_off(ts, t);
            if (timer_is_set(t))
                put_on(ts, t, ts->tick);
        }
    }
}

static void fire(struct timers *ts)
{
    struct list *head = &ts->wheel[0][ts->tick & SLOT_MASK];

    while (!list_empty(head)) {
        struct timer *t = CONTAINER(head->next, struct timer, node);
        take_off(ts, t);
        if (!timer_is_set(t))
            continue; /* paused */
        if ((t->due_us + TIMER_TICK_US - 1) >> TICK_BITS > ts->tick) {
            put_on(ts, t, ts->tick + 1);
            continue;
        }
        t->due_us = 0;
        t->fn(t);
    }
}

void timers_run(struct timers *ts, uint64_t now_us)
{
    uint64_t now = now_us >> TICK_BITS;

    while (ts->tick < now) {
        uint64_t next = next_tick(ts);
        if (next > now) {
            ts->tick = now;
            return;
        }
        ts->tick = next;
        cascade(ts);
        fire(ts);
    }
}

uint64_t timers_wait_us(const struct timers *ts, uint64_t now_us)
{
    uint64_t next = next_tick(ts);

    if (next == UINT64_MAX)
        return UINT64_MAX;
    uint64_t next_us = next << TICK_BITS;
    return next_us > now_us ? next_us - now_us : 0;
}
