/* Whose turn it is for a free place, of all workers' queues: each tells in its slot since when its
 * oldest request has waited. Called by request.c. */
#include "worker/up/internal.h"

/* How long a place is left to a worker whose request waited longer: its ticks, were it busy. */
#define YIELD_US 100000

void turn_tell(struct backend *b)
{
    const struct up_request *r = CONTAINER(b->queue.next, struct up_request, wait);

    stat_set(&b->stats->waiting_since, list_empty(&b->queue) ? 0 : r->began_us);
}

/* The same of another worker's, the longest of all; 0: nobody waits there. */
static uint64_t others_wait_since(const struct backend *b)
{
    const struct up *u = b->up;
    const char *stats = (const char *)b->stats, *workers = (const char *)u->stats;
    uint64_t oldest = 0;

    for (unsigned i = 0; i < segment_slots(u->segment); i++) {
        ptrdiff_t by = (ptrdiff_t)i - (ptrdiff_t)u->slot;
        const struct stats_backend *st =
            (const void *)(stats + by * (ptrdiff_t)segment_stride(STATS_backend));
        const struct stats_worker *w =
            (const void *)(workers + by * (ptrdiff_t)segment_stride(STATS_worker));
        uint64_t since = i == u->slot ? 0 : stat_get(&st->waiting_since);

        if (since != 0 && (oldest == 0 || since < oldest) && stat_get(&w->pid) != 0)
            oldest = since;
    }
    return oldest;
}

bool turn_yields(struct backend *b, uint64_t since)
{
    uint64_t now = b->up->loop->now_us, other;

    if (!b->has_limit)
        return false;
    other = others_wait_since(b);
    if (other == 0 || other >= since)
        return false;
    if (other != b->yield_to) {
        b->yield_to = other;
        b->yield_us = now;
    }
    return now - b->yield_us < YIELD_US;
}
