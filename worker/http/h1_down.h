/* HTTP/1 towards a client: one of these a connection, a side for each of its requests in turn.
 * Keeps under 200 bytes and no buffer while the connection is idle. Pipelined requests are
 * answered in order, one at a time. */
#ifndef RPD_HTTP_H1_DOWN_H
#define RPD_HTTP_H1_DOWN_H

#include "worker/http/side.h"
#include "worker/io/conn.h"

/* Memory for the connections of a worker. */
struct h1_down_pool {
    struct list *free;
    void *slabs;
    struct list open; /* every connection's h1_down, for retiring */
};

void h1_down_pool_init(struct h1_down_pool *p);
void h1_down_pool_fini(struct h1_down_pool *p);

/* Takes the conn over, and `first`, bytes read already (may be NULL). svc->ops->closed is called
 * at its end, whatever that is. false: out of memory (conn and first stay the caller's). */
bool h1_down_start(struct h1_down_pool *p, struct conn *c, struct http_service *svc,
                   struct buf *first);
/* Closes the idle ones now; the others close after the response in progress. Those that have sent
 * no request yet (it may be on its way) only with is_fresh_too. */
void h1_down_retire(struct h1_down_pool *p, bool is_fresh_too);
/* Closes all at once (stop). */
void h1_down_abort(struct h1_down_pool *p);

#endif
