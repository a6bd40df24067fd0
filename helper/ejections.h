/* What becomes of servers' health with time alone, and whom the others' success puts out. */
#ifndef RPD_HELPER_EJECTIONS_H
#define RPD_HELPER_EJECTIONS_H

#include "helper/servers.h"
#include "worker/io/timer.h"

struct ejections {
    struct servers *servers;
    struct loop *loop;
    struct timer settle, judge;
};

/* Begins to look at the servers, again and again, until ejections_fini. */
void ejections_init(struct ejections *e, struct servers *servers, struct loop *loop);
void ejections_fini(struct ejections *e);

#endif
