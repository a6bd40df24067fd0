/* The keys of TLS session tickets, as the master has them: made at start, or those of the master
 * before, and changed every 12 hours (common/tls/tickets.h). */
#ifndef RPD_MASTER_ROTATION_H
#define RPD_MASTER_ROTATION_H

#include "common/tls/tickets.h"
#include "master/events.h"

struct handing;
struct master;
struct worker;

struct rotation {
    struct tickets *tickets; /* NULL: not yet, or not to be had */
    struct deadline due;
};

void rotation_init(struct rotation *r);
/* Goes on with the keys in a predecessor's memory (-1: it had none); closes fd. */
void rotation_adopt(struct master *m, int *fd);
/* Before the first worker: keys are made unless they were adopted. */
void rotation_begin(struct master *m);
/* A worker's, that was just forked. */
void rotation_tell(struct master *m, struct worker *w);
/* A word of the line `rpd` of a hand-off record. */
void rotation_hand(const struct master *m, struct handing *h);
void rotation_fini(struct rotation *r);

#endif
