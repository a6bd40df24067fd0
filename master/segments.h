/* The statistics segments in run_dir: `stats`, and those of before, `stats.TIME`, for as long as
 * some process may count in one. By them the counts of one that ends while there is no master are
 * found. */
#ifndef RPD_MASTER_SEGMENTS_H
#define RPD_MASTER_SEGMENTS_H

#include "common/core/carry.h"

struct master;

/* Of the present one, in a trial of the trial's; the caller's to free(). */
char *segments_path(const struct master *m);
/* Gives the present one another name: there will be a new one. */
void segments_set_aside(const struct master *m);
/* Nobody counts in those of before any more. */
void segments_forget(const struct master *m);
/* Calls fn with each of before, the oldest first: where a process has counted by itself comes
 * before where that was copied to. */
void segments_each(const struct master *m, void (*fn)(void *arg, struct carry *c), void *arg);

#endif
