/* `rpd: keys`, the master's side: its process, and who may use which keys. */
#ifndef RPD_MASTER_KEYS_H
#define RPD_MASTER_KEYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "common/core/ipc.h"
#include "master/backoff.h"
#include "master/events.h"

struct generation;
struct master;

/*
 *        settle             ready
 *  NONE ---------> STARTING ------> SERVING ----------> LEAVING
 *   ^                 ^ |              | died    stop      |
 *   |        back-off | +--> WAITING <-+                   | exit
 *   +-----------------|----------+ nobody wants it         |
 *   +-----------------+------------------------------------+
 */
enum keys_phase {
    KEYS_NONE,     /* no process, none wanted */
    KEYS_WAITING,  /* no process yet: its predecessor died just now */
    KEYS_STARTING, /* has not said that it has given up its rights */
    KEYS_SERVING,
    KEYS_LEAVING,  /* told to stop */
};

struct keys_process {
    enum keys_phase phase;
    pid_t pid;               /* 0: there is none */
    uint64_t serial;         /* of the process: how many there were */
    uint64_t channels;       /* how many were made, which is the last one's number */
    uint64_t asked, answered; /* messages about keyrings */
    uint64_t logs_generation, logs_number; /* whose log it has */
    bool is_killed;          /* by us */
    struct backoff backoff;
    struct event channel;
    struct deadline retry;   /* a send that failed, a channel that did not come to be */
    struct deadline start;   /* WAITING: when to spawn */
    struct deadline idle;    /* SERVING, not wanted any more: when to stop */
    struct deadline kill;    /* LEAVING: when patience ends */
};

/* Who may ask it: a worker, or the helper. */
struct keys_user {
    const char *name;
    uint64_t process;    /* that it has a channel to, by its serial number; 0: none */
    uint64_t channel;    /* that channel's number */
    uint64_t generation; /* whose keys it may use by it */
};

enum keys_due {
    KEYS_NOTHING, /* the user lacks nothing, or there is no process */
    KEYS_CHANNEL, /* the user lacks a channel, which is in the message now */
    KEYS_LATER,   /* the process does not take more now: users are synced when it does */
};

void keys_init(struct master *m);
/* Starts the process when some generation in force wants it, stops it a while after none does. */
void keys_settle(struct master *m);
/* Before a user gets generation `g`: sees to it that the process knows which keys it may use then
 * (`is_using`: those of the generation, else none), and fills an IPC_KEYS (fds[0] is the caller's
 * to close) if it has no channel. */
enum keys_due keys_prepare(struct master *m, struct keys_user *u, const struct generation *g,
                           bool is_using, struct ipc_msg *msg);
/* That message was sent. */
void keys_sent(struct master *m, struct keys_user *u, const struct generation *g);
/* The user has lost its channel. Whether it is to have another: the process is still the same. */
bool keys_cut(struct master *m, struct keys_user *u);
/* Whether the process, if one is wanted, has loaded all that it was told to. */
bool keys_is_settled(const struct master *m);
/* The log's file may be another. */
void keys_sync_logs(struct master *m);
/* SIGCHLD: true when the process was this one. */
bool keys_exited(struct master *m, pid_t pid, int status);
/* The last worker is gone: it ends. Whether it has. */
bool keys_stop(struct master *m);

#endif
