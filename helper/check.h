/* Active checks: when, and what their results do to servers. */
#ifndef RPD_HELPER_CHECK_H
#define RPD_HELPER_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/list.h"
#include "helper/check_tally.h"
#include "helper/probe.h"
#include "worker/io/timer.h"

struct helper_server;

/* All of them; connections at a time are bounded. */
struct checks {
    struct conn_pool *conns;
    struct list queues;   /* of struct check_queue: some check waits; whose turn is next first */
    unsigned in_flight;
    uint64_t draws;       /* random numbers so far */
    uint64_t fresh;       /* servers that began to be checked, by which their starts are spread */
    uint64_t warned_us;   /* of exhaustion, the last time */
};

/* A backend's. It has as many places as it leaves to others, so that one whose servers all hang
 * does not keep them waiting; who has to wait does in order. */
struct check_queue {
    struct list link;     /* of checks->queues */
    struct list waiting;  /* of struct check */
    unsigned in_flight;
};

/* Of a server.
 *
 *   off --begin--> due (timer) --> waiting (for a place) --> probe --> due ...
 */
struct check {
    struct checks *all;
    struct timer due;
    struct list waiting;
    struct probe *probe;  /* in flight */
    struct probe_target target;
    struct check_tally tally;
    uint64_t ejected_at;  /* `since` of the ejection that the tally begins at; 0: none */
    bool is_on;
};

void checks_init(struct checks *all, struct conn_pool *conns);

void check_queue_init(struct check_queue *q);
void check_init(struct check *c, struct checks *all);
/* The server's settings are those of its conf now. `is_same`: they are what they were, as far as
 * what is asked, and of whom. */
void check_apply(struct helper_server *s, bool is_same);
/* No check any more; what it found stands. */
void check_stop(struct check *c);

#endif
