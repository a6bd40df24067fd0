/* Accepts from one listening socket: in batches, only while its gate is open. Edge-triggered: what
 * is left when the gate closes is taken when it opens again. */
#ifndef RPD_IO_ACCEPTOR_H
#define RPD_IO_ACCEPTOR_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/addr.h"
#include "worker/io/loop.h"

struct acceptor;
/* A new connection: the fd (non-blocking, close-on-exec) is the callee's, and so is the call of
 * accept_gate_closed_one when it is done with it. May call acceptor_fini, but not
 * free the acceptor. */
typedef void acceptor_fn(struct acceptor *a, int fd, const struct ip *peer);

/* Shared by the acceptors of a worker. */
struct accept_gate {
    struct loop *loop;
    struct list waiting;   /* acceptors with connections left in the kernel's queue */
    uint64_t open, max;    /* client connections; at max the gate is closed */
    bool is_shut;          /* retiring: accept no more */
    struct timer retry;    /* after EMFILE, ENFILE, ENOMEM, ENOBUFS: 50 ms */
    uint64_t *errors;      /* statistics: accepts that failed for want of resources */
    uint64_t *full;        /* times the gate closed at max */
};

struct acceptor {
    struct watch watch;
    struct list waiting;
    struct task task;
    struct accept_gate *gate;
    acceptor_fn *fn;
    void *owner;
    int fd;
};

void accept_gate_init(struct accept_gate *g, struct loop *loop, uint64_t max);
void accept_gate_fini(struct accept_gate *g);
/* The gate counts: one connection opened (by the acceptor itself) or closed (by its user). */
void accept_gate_closed_one(struct accept_gate *g);
void accept_gate_set_max(struct accept_gate *g, uint64_t max);
/* No more accepts, for good. */
void accept_gate_shut(struct accept_gate *g);

/* Registers the fd (taken over) with the loop; -1 with errno. */
int acceptor_init(struct acceptor *a, struct accept_gate *g, int fd, acceptor_fn *fn, void *owner);
/* Takes what waits in the queue first (unless the gate is shut; max does not count, for nobody
 * else will), then closes the fd. May be freed at once. A second call is harmless. */
void acceptor_fini(struct acceptor *a);

#endif
