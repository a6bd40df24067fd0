/* Slots of the statistics segment: slots.h. Called by worker.c, takeover.c and retiree.c. One that
 * is taken is never given back: its counts belong to the totals. */
#include "master/slots.h"

unsigned slots_take(struct slots *s, struct segment *seg)
{
    for (unsigned i = 0; i < STATS_SLOTS_MAX; i++) {
        if (s->is_taken[i])
            continue;
        s->is_taken[i] = true;
        segment_use_slots(seg, i + 1);
        return i;
    }
    return SLOT_NONE;
}
