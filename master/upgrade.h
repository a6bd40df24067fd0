/* Binary upgrade (USR2, `rpctl upgrade`): the program at the path that this one was started by
 * takes its place, in the same process. */
#ifndef RPD_MASTER_UPGRADE_H
#define RPD_MASTER_UPGRADE_H

#include <stdbool.h>
#include <sys/types.h>
#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/base/strbuf.h"
#include "master/events.h"

struct client;
struct master;

/*
 *   IDLE --request--> TRYING --it is ready--> exec: start.c goes on in the new program
 *     ^                  |
 *     +---- it is not ---+
 *
 * What is tried is the whole start, with one worker and without taking anything: a program that
 * fails, or a configuration that it refuses, changes nothing. If it should fail after the exec all
 * the same, it gives the process back to the old program (takeover.c). */
enum upgrade_phase { UPGRADE_IDLE, UPGRADE_TRYING };

struct upgrade {
    enum upgrade_phase phase;
    bool is_wanted;           /* once a reload is done */
    pid_t pid;                /* of the trial, 0: it has ended */
    int exit_status;          /* as waitpid(2) has it */
    struct event output;      /* what it says */
    struct event status;      /* that it is ready */
    bool is_ready;
    struct deadline deadline;
    struct strbuf text;       /* what it said */
    struct list waiting;      /* clients */
};

void upgrade_init(struct master *m);
void upgrade_fini(struct master *m);
/* `client` gets the outcome, from this program or the next; NULL: a signal. */
void upgrade_request(struct master *m, struct client *client);
/* One is under way: nothing else is begun. */
static inline bool upgrade_is_busy(const struct upgrade *u)
{
    return u->phase != UPGRADE_IDLE;
}
/* The same, and the client is told so. */
bool upgrade_refuses(struct client *client);
/* A reload is done. */
void upgrade_progress(struct master *m);
/* SIGCHLD: true when the process was the trial. */
bool upgrade_exited(struct master *m, pid_t pid, int status);
/* rpd stops: no upgrade any more. */
void upgrade_stop(struct master *m);

#endif
