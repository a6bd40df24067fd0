/* A socket of each worker, run_dir/worker.PID, by which a new master finds it when its own was
 * killed. Nobody connects to it as long as a master lives. */
#ifndef RPD_MASTER_HEIR_H
#define RPD_MASTER_HEIR_H

#include <sys/types.h>

/* Bound and listening, for the worker to accept from; -1 with errno. */
int heir_open(const char *run_dir, pid_t worker);
/* Its file goes. */
void heir_remove(const char *run_dir, pid_t worker);
/* A channel to that worker; -1 with errno, ECONNREFUSED when it is no more. */
int heir_connect(const char *run_dir, pid_t worker);
/* The pid in the name of such a file, 0: it is none. */
pid_t heir_pid(const char *file);

#endif
