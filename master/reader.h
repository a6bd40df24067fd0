/* The reader: a child that lives as long as it takes to read and check the configuration, so that
 * the master never waits for a file or a name server. */
#ifndef RPD_MASTER_READER_H
#define RPD_MASTER_READER_H

#include <stdbool.h>
#include <sys/types.h>
#include "common/core/report.h"
#include "master/config.h"
#include "master/events.h"

struct reader {
    struct event event;
    struct deadline deadline;
    pid_t pid; /* 0: none runs */
    const char *file; /* the caller's, while it runs */
};

struct master;

void reader_init(struct master *m);
/* Forks it, to read `file`. -1 with errno. reload_read() is called with the outcome, never from
 * within this. */
int reader_start(struct master *m, const char *file);
/* SIGCHLD: true when the process was the reader. */
bool reader_exited(struct master *m, pid_t pid, int status);
/* Kills it, its answer is not wanted any more; its exit still has to be awaited. */
void reader_stop(struct master *m);

#endif
