/* What state a canary is in: the master alone writes it, into the segment, where workers read the
 * weight at each request and the helper reads since when to judge. By name it outlives reloads,
 * workers and upgrades.
 *
 *            start        last step is good
 *   WAITING ------> RUNNING ------------> PROMOTED       weight: 0 of the waiting, all of the
 *                    | ^  | bad                          promoted, none of the rolled back; else
 *              pause v |  +------------> ROLLED_BACK     that of a step, or an operator's
 *                   PAUSED --bad--------^
 *
 * An operator's promote, rollback and weight (which pauses it) go from anywhere; start goes from
 * ROLLED_BACK too. Another plan (stable, canary, steps) begins anew. */
#ifndef RPD_MASTER_CANARY_H
#define RPD_MASTER_CANARY_H

#include <stdbool.h>
#include "common/base/slice.h"
#include "common/core/conf.h"
#include "common/core/ipc.h"
#include "common/core/stats.h"

struct client;
struct master;

#define CANARY_WHOLE 10000 /* hundredths of a percent */
#define CANARY_HISTORY 8   /* changes that are kept */

/* Makes the objects of one; false with an error in the report when there is no room. */
bool canary_add(struct segment *seg, const struct conf_canary *c, struct report *report);
/* The objects are there: the configuration is followed. A canary of another plan than before, or
 * that was not there before, begins. */
void canary_configure(struct segment *seg, const struct conf_canary *c, bool was_there);
/* IPC_CANARY. One that was found before the last change says nothing any more. */
void canary_judged(struct master *m, const struct ipc_msg *msg);
/* The command `canary`: NAME, then start, pause, resume, promote, rollback or weight and a share,
 * with tabs between. Answered at once. */
void canary_command(struct client *c, struct slice args);

/* canary.c for canary_command.c: one change of state. */
struct canary_change {
    enum canary_event event;
    enum canary_state state;
    uint64_t weight;
    struct slice reason;
    bool is_asked; /* by the operator `uid` */
    uint32_t uid;
};
void canary_change(struct segment *seg, const struct conf_canary *c,
                   const struct canary_change *change);
/* The first of its steps above the weight; 0: there is none. */
uint64_t canary_next_step(const struct conf_canary *c, uint64_t weight);

#endif
