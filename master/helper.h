/* `rpd: helper`, the master's side: its process, and what it was told. */
#ifndef RPD_MASTER_HELPER_H
#define RPD_MASTER_HELPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "master/backoff.h"
#include "master/events.h"
#include "master/keys.h"

struct master;

/*
 *        settle             ready
 *  NONE ---------> STARTING ------> SERVING ----------> LEAVING
 *   ^                 ^ |              | died    stop      |
 *   |        back-off | +--> WAITING <-+                   | exit
 *   +-----------------|----------+ nobody wants it         |
 *   +-----------------+------------------------------------+
 */
enum helper_phase {
    HELPER_NONE,     /* no process, none wanted */
    HELPER_WAITING,  /* no process yet: its predecessor died just now */
    HELPER_STARTING, /* has not taken a generation */
    HELPER_SERVING,
    HELPER_LEAVING,  /* told to stop */
};

struct helper_process {
    enum helper_phase phase;
    pid_t pid;             /* 0: there is none */
    uint64_t sent;         /* generation */
    uint64_t logs_sent;    /* m->logs_number */
    uint64_t names_sent;   /* m->names.serial */
    struct keys_user keys;
    bool is_killed;        /* by us */
    struct backoff backoff;
    struct event channel;
    struct deadline retry; /* a send that failed */
    struct deadline start; /* WAITING: when to spawn */
    struct deadline kill;  /* LEAVING: when patience ends */
};

void helper_init(struct master *m);
/* Starts the process when the generation in force has a backend, tells it what is new, stops it
 * when there is none. Nobody waits for it: rpd serves without. */
void helper_settle(struct master *m);
/* Sends what it has not got yet, as far as its channel takes it now. */
void helper_sync(struct master *m);
/* SIGCHLD: true when the process was this one. */
bool helper_exited(struct master *m, pid_t pid, int status);
/* Another program takes this process over: it starts a helper of its own, and knows nothing of this
 * one, which may stand still and never see that its channel has ended. */
void helper_leave_none(struct master *m);
/* The last worker is gone: it ends. Whether it has. */
bool helper_stop(struct master *m);

#endif
