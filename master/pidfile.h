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
/* The same process has it locked already, by `fd`, which is taken over. */
void pidfile_adopt(struct pidfile *p, const char *run_dir, int fd);
/* Gives the lock up; the file stays. */
void pidfile_leave(struct pidfile *p);
/* Removes the file and gives the lock up. */
void pidfile_fini(struct pidfile *p);

#endif
