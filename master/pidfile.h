/* run_dir/rpd.pid: the master's pid, and the lock that makes it the only one there. */
#ifndef RPD_MASTER_PIDFILE_H
#define RPD_MASTER_PIDFILE_H

#include <stdbool.h>
#include <sys/types.h>

struct pidfile {
    int fd; /* -1: not held */
    char *path;
};

enum pidfile_result {
    PIDFILE_HELD,
    PIDFILE_HELD_AFTER_CRASH, /* the last one to hold it did not clear up */
    PIDFILE_TAKEN,            /* *holder runs */
    PIDFILE_ERROR,            /* errno */
};

void pidfile_init(struct pidfile *p);
/* Locks it and writes this process's pid. The lock is not inherited by children. */
enum pidfile_result pidfile_take(struct pidfile *p, const char *run_dir, pid_t *holder);
/* Removes the file and gives the lock up. */
void pidfile_fini(struct pidfile *p);

#endif
