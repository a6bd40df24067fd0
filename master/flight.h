/* The files of workers' flight recorders: made before a worker is forked, kept when it crashed. */
#ifndef RPD_MASTER_FLIGHT_H
#define RPD_MASTER_FLIGHT_H

#include <stdbool.h>
#include <sys/types.h>

struct master;

/* run_dir/flight.N for a worker to be forked, as the memory it will write to; one that a living
 * process writes becomes flight.N.old. NULL, logged: the worker will do without; NULL
 * for a trial's worker. */
void *flight_make(const struct master *m, unsigned index);
/* After the fork: the parent lets go of the memory. `pid` is the worker's, -1 when there is none
 * (the file is then removed). */
void flight_made(const struct master *m, unsigned index, void **memory, pid_t pid);
/* The worker has ended: well, and its file goes; or by a crash, of which `how` says what is known,
 * and the file becomes postmortem.N. */
void flight_ended(const struct master *m, unsigned index, pid_t pid, bool is_well, const char *how);
/* At the start: removes files that no living process writes. */
void flight_sweep(const struct master *m);

#endif
