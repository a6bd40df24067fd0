/* on_change: the program that is run at each change of a canary. Of one canary one runs at a time,
 * in the changes' order. Which were announced stands in the segment: an upgrade neither loses one
 * nor runs it twice. While a program hangs, those that fall out of the history are left out. */
#ifndef RPD_MASTER_CANARY_PROGRAM_H
#define RPD_MASTER_CANARY_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>
#include "common/base/list.h"

struct master;

struct canary_programs {
    struct list running;
};

void canary_programs_init(struct canary_programs *all);
/* Starts what is due. After each change, and when a generation is in force. */
void canary_programs_run(struct master *m);
/* SIGCHLD: true when the process was one of these. */
bool canary_program_exited(struct master *m, pid_t pid, int status);
/* The master ends: they go on without it. */
void canary_programs_fini(struct master *m);

#endif
