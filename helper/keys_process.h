/* `rpd: keys` as its files share it. A thread serves each worker's channel; the first one listens
 * to the master. Two kinds of locks, taken in this order: the process's, for what the master says
 * and what all share; a channel's, for what it may use and signs with. */
#ifndef RPD_HELPER_KEYS_PROCESS_H
#define RPD_HELPER_KEYS_PROCESS_H

#include <pthread.h>
#include "common/core/ipc.h"
#include "helper/keys_ring.h"

struct keys_process {
    pthread_mutex_t lock;
    int channel;           /* to the master; -1: it is gone */
    int wake;              /* an eventfd: a channel has ended */
    bool is_stopping;
    int log_fd;            /* from the master; -1: descriptor 2 */
    struct rings rings;
    struct list channels, ended;
    struct ipc_msg msg;    /* too large for the stack */
};

/* keys.c: takes what the master has said by now. Under the process's lock. */
void keys_catch_up(struct keys_process *p);

/* keys_channel.c; all under the process's lock. */

/* Serves a worker's channel; takes descriptor and reference (NULL: no keys) over. */
int channel_start(struct keys_process *p, uint64_t number, int fd, struct ring *ring);
/* It may use these keys from now on, and for `grace_us` more those that it could before. Takes the
 * reference over. */
void channel_allow(struct keys_process *p, uint64_t number, struct ring *ring, uint64_t grace_us);
/* Takes back what has had its time; when there will be more to take back (UINT64_MAX: never). */
uint64_t channels_expire(struct keys_process *p, uint64_t now_us);
/* Ends them all, soon. */
void channels_stop(struct keys_process *p);
/* Frees those that have ended, with their threads. */
void channels_reap(struct keys_process *p);

#endif
