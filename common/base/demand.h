/* How much of a pooled thing was wanted at once lately: what a pool keeps for the next time. Ticks
 * come once a second; between two of them the pool may keep what the last two seconds needed at
 * most, so a steady load never gives back what it will ask for again, and an idle worker holds
 * nothing for long. */
#ifndef RPD_BASE_DEMAND_H
#define RPD_BASE_DEMAND_H

#include <stddef.h>

struct demand {
    size_t used;       /* now */
    size_t peak, last; /* most since the last tick, and in the second before */
    size_t least;      /* kept in any case */
};

static inline void demand_take(struct demand *d, size_t n)
{
    d->used += n;
    if (d->used > d->peak)
        d->peak = d->used;
}

static inline void demand_give(struct demand *d, size_t n)
{
    d->used -= n;
}

/* How many may be kept free. */
static inline size_t demand_keep(const struct demand *d)
{
    size_t most = d->peak > d->last ? d->peak : d->last;

    if (most < d->least)
        most = d->least;
    return most > d->used ? most - d->used : 0;
}

static inline void demand_tick(struct demand *d)
{
    d->last = d->peak;
    d->peak = d->used;
}

#endif
