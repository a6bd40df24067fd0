/* The master's side of a worker: its process, its channel, what it has been sent. */
#ifndef RPD_MASTER_WORKER_H
#define RPD_MASTER_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "master/backoff.h"
#include "master/events.h"
#include "master/keys.h"

struct master;

/*
 *            spawn              ready               retire
 *  WAITING ---------> STARTING --------> SERVING ------------> LEAVING --+
 *     ^                  |                  |                            | exit
 *     +------------------+------------------+ died: again, or NONE <-----+
 */
enum worker_phase {
    PHASE_NONE,     /* no process, none wanted */
    PHASE_WAITING,  /* no process yet: its predecessor crashed just now */
    PHASE_STARTING, /* has not acknowledged a generation */
    PHASE_SERVING,
    PHASE_LEAVING,  /* told to retire or stop, or killed by us */
};

struct worker {
    struct master *master;
    unsigned index;
    unsigned slot;         /* of the statistics; SLOT_NONE: none yet */
    char name[16]; /* "worker 3" */
    enum worker_phase phase;
    pid_t pid;             /* 0: no process */
    struct event channel;
    struct deadline retry; /* a send that failed for want of kernel memory */
    struct deadline start; /* WAITING: when to spawn */
    struct deadline kill;  /* LEAVING: when patience ends */
    uint64_t sent, acknowledged; /* generations */
    uint64_t logs_sent;          /* m->logs_number */
    uint64_t names_sent;         /* m->names.serial */
    struct keys_user keys;
    bool is_retire_due, is_stop_due; /* still to be sent */
    bool is_killed;        /* by us */
    bool has_refused;      /* a generation */
    struct backoff backoff;
    unsigned crashes;      /* so far, of this index */
};

void worker_init(struct worker *w, struct master *m, unsigned index);
/* Forks it. -1 with errno. */
int worker_spawn(struct worker *w);
/* Sends whatever the worker has not got yet, as far as its channel takes it now; the rest goes
 * when the channel is writable. */
void worker_sync(struct worker *w);
/* SERVING or STARTING to LEAVING: finish within `ms`, killed a moment later. */
void worker_retire(struct worker *w, uint64_t ms);
/* Any process to LEAVING: exit now, killed after `ms`. */
void worker_stop(struct worker *w, uint64_t ms);
void worker_kill(struct worker *w);
/* Takes the messages that wait in its channel. */
void worker_receive(struct worker *w);
/* Its process was reaped: forgets pid and channel. Phase NONE. */
void worker_gone(struct worker *w);

static inline bool worker_is_alive(const struct worker *w)
{
    return w->pid != 0;
}

#endif
