/* How much of a pooled thing was wanted at once lately: what a pool keeps for the next time. Ticks
 * come once a second; a pool may have what the last two seconds needed at most, so that a steady
 * load never gives back what it will ask for again, and an idle worker holds nothing for long. */
#ifndef RPD_BASE_DEMAND_H
#define RPD_BASE_DEMAND_H

#include <stdbool.h>
#include <stddef.h>

struct demand {
    size_t used;  /* now */
    size_t peak;  /* most since the last tick */
    size_t limit; /* used and free ones together; never less than peak */
    size_t least; /* what limit never falls below */
};

static inline void demand_init(struct demand *d, size_t least)
{
    *d = (struct demand){ .limit = least, .least = least };
}

static inline void demand_take(struct demand *d, size_t n)
{
    d->used += n;
    if (d->used <= d->peak)
        return;
    d->peak = d->used;
    if (d->limit < d->peak)
        d->limit = d->peak;
}

static inline void demand_give(struct demand *d, size_t n)
{
    d->used -= n;
}

/* May so many be kept free? */
static inline bool demand_keeps(const struct demand *d, size_t free_count)
{
    return d->used + free_count <= d->limit;
}

static inline void demand_tick(struct demand *d)
{
    d->limit = d->peak > d->least ? d->peak : d->least;
    d->peak = d->used;
}

#endif
