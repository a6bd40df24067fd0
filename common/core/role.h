/* What a freshly forked child is given. The master knows of other roles only these entries. */
#ifndef RPD_CORE_ROLE_H
#define RPD_CORE_ROLE_H

#include <stdint.h>
#include "common/core/stats.h"

struct limits;

struct role_args {
    int channel;            /* the child's end of its ipc pair */
    struct segment *segment; /* mapped by the master, inherited */
    struct limits *limits;   /* the same; NULL: none */
    void *flight;           /* its flight recorder, mapped by the master; NULL: none */
    unsigned index;         /* worker index, 0-based */
    unsigned slot;          /* of the segment: where it counts */
    const char *user, *group; /* to become, or NULL: stay (the child does it, before any message) */
};

/* Never returns to the master's code: the caller passes the result to _exit(). Called with every
 * signal at its default and unblocked, no descriptor open but 0-2, the channel and the segment's.
 * Gets IPC_LISTEN and IPC_GENERATION over the channel, runs until told to stop. When the master is
 * gone it serves on, if it has a socket by which the next one finds it (IPC_HEIR), or retires. */
int worker_main(const struct role_args *args);

struct keys_args {
    int channel;      /* as above */
    const char *user; /* to become, with its group; NULL: stay */
};

/* `rpd: keys`, called as worker_main. Gets IPC_KEYS and IPC_KEYS_ALLOW over the channel, says with
 * IPC_READY (number 0) that it has given up all that it does not need, and runs until IPC_STOP, or,
 * when the channel has ended, until the last worker has closed the channel that it had to it. */
int keys_main(const struct keys_args *args);

struct helper_args {
    int channel;             /* as above */
    struct segment *segment;
    const char *user, *group;
};

/* `rpd: helper`, called as worker_main. Gets IPC_GENERATION and IPC_LOGS, and IPC_KEYS where it has
 * to show certificates; says IPC_READY or IPC_FAILED to the first; runs until IPC_STOP or the
 * channel's end. */
int helper_main(const struct helper_args *args);

/* The child becomes that user (NULL: stays what it is), with that group or, where it is NULL, the
 * user's own. -1: it cannot, which is logged. Blocks on the user database. */
int role_become(const char *user, const char *group);

#endif
