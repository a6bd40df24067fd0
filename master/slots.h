/* Slots of the statistics segment: which process counts where. A worker keeps its slot over
 * crashes; processes of a predecessor, which count in another segment, have theirs here copied into
 * one. */
#ifndef RPD_MASTER_SLOTS_H
#define RPD_MASTER_SLOTS_H

#include <stdbool.h>
#include "common/core/stats.h"

#define SLOT_NONE STATS_SLOTS_MAX

struct slots {
    bool is_taken[STATS_SLOTS_MAX];
};

/* The lowest that is free, marked as in use in the segment; SLOT_NONE: there is none. */
unsigned slots_take(struct slots *s, struct segment *seg);

#endif
