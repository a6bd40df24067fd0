/* The listening sockets: one per address and worker index (a Unix address: one for all), kept
 * open for as long as some listener binds the address, whatever happens to workers. */
#ifndef RPD_MASTER_LISTEN_H
#define RPD_MASTER_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/list.h"
#include "common/core/conf.h"
#include "common/core/ipc.h"
#include "common/core/stats.h"

enum listen_worker { LISTEN_GONE, LISTEN_STARTING, LISTEN_SERVING };

struct handing;

struct listen_table {
    struct list sockets; /* in force, or not yet closed everywhere */
    struct list fresh;   /* bound by listen_prepare, not yet taken */
    uint8_t workers[STATS_WORKERS_MAX]; /* enum listen_worker: who can accept */
    /* Worker 0 alone has the configuration last committed, the others the one before: it accepts
     * on every socket that only the new one binds, they on every one that only the old one does. */
    bool is_trial;
};

void listen_init(struct listen_table *t);
/* Closes all and removes the files of Unix sockets. */
void listen_fini(struct listen_table *t);
/* The sockets, and their files, stay with others that have them. */
void listen_leave(struct listen_table *t);

/* A socket that a predecessor has bound; the fd is taken over. `is_ours`: with its file, of a Unix
 * address. false: the key is no address. */
bool listen_adopt(struct listen_table *t, const char *key, unsigned slot, bool is_shared, int fd,
                  bool is_ours);
/* The sockets' lines in a hand-off. */
void listen_hand(const struct listen_table *t, struct handing *h);

/* Binds what `conf` needs with so many workers and the table has not got: all of it, or nothing
 * and errors in the report. `wait_ms`: how long to try again when an address is in use (the
 * remains of a predecessor that was killed); blocks. */
bool listen_prepare(struct listen_table *t, const struct conf *conf, unsigned nworkers,
                    unsigned wait_ms, struct report *report);
/* Takes the fresh ones in, which listen from then on unless this is a trial; sockets whose address
 * `conf` does not bind are unused from `generation` on. */
void listen_commit(struct listen_table *t, const struct conf *conf, uint64_t generation,
                   bool is_serving);
/* Closes the fresh ones. */
void listen_abort(struct listen_table *t);

/* The worker index that accepts from the sockets made for index `slot`: its own, or for an orphan
 * (its worker is not wanted, leaves, or is held back after a crash) one of those that are there. */
unsigned listen_holder(const struct listen_table *t, unsigned slot, unsigned nworkers);
/* Fills an IPC_LISTEN with sockets that worker `index` should have and has not; false when there
 * are none. The fds stay the table's. */
bool listen_batch(const struct listen_table *t, unsigned index, unsigned nworkers,
                  struct ipc_msg *msg);
/* Fills an IPC_UNLISTEN with sockets that worker `index` has for another that serves again. */
bool listen_surplus(const struct listen_table *t, unsigned index, unsigned nworkers,
                    struct ipc_msg *msg);
/* That IPC_LISTEN or IPC_UNLISTEN was sent. */
void listen_sent(struct listen_table *t, unsigned index, const struct ipc_msg *msg);
/* A generation was sent to the worker: it closes what is unused since then or earlier. */
void listen_generation_sent(struct listen_table *t, unsigned index, uint64_t generation);
/* The worker starts, serves, or is not to be counted on any more. */
void listen_worker(struct listen_table *t, unsigned index, enum listen_worker is);
/* The worker is gone, or accepts no more: it has none of the sockets. */
void listen_worker_gone(struct listen_table *t, unsigned index);
/* Closes sockets that are unused and that no worker has; `acknowledged` is the oldest generation a
 * worker is still at. */
void listen_prune(struct listen_table *t, uint64_t acknowledged);

#endif
