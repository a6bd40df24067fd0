/* What binds a request to one of several servers: the key of `balance = hash`, and `sticky`. Asked
 * before a server is chosen, and where its answer goes to the client. */
#ifndef RPD_PROXY_AFFINITY_H
#define RPD_PROXY_AFFINITY_H

#include "worker/proxy/exchange.h"

static inline bool affinity_is_wanted(const struct conf_backend *b)
{
    return b->balance.how == CONF_BALANCE_HASH || b->sticky.how != CONF_STICKY_OFF;
}

/* Fills the hash and stick of r by the variables; tcp has those of a connection only. Without
 * memory a request has none. */
void affinity_fill(struct up_request *r, const struct conf_backend *b, const struct vars *v);
/* The same for x, which asks for a server of b next. */
void affinity_find(struct exchange *x, const struct conf_backend *b);
/* A value as affinity_put_cookie writes it; 0 for anything else. */
uint64_t affinity_value(struct slice cookie);
/* Sets such a cookie in the head of an answer; false: memory exhausted. */
bool affinity_put_cookie(struct exchange *x, struct head *h, struct slice name, uint64_t value)
    __attribute__((warn_unused_result));
/* The cookie by which the client of x comes back to its server, into the head of the answer, if
 * it needs one. false: memory exhausted. */
bool affinity_set_cookie(struct exchange *x, struct head *h) __attribute__((warn_unused_result));
__attribute__((warn_unused_result))
static inline bool affinity_answer(struct exchange *x, struct head *h)
{
    return x->backend->sticky.how != CONF_STICKY_COOKIE || affinity_set_cookie(x, h);
}

#endif
