/* A request's tries at servers. Called by l7.c with what the up side tells, by body.c and hedge.c;
 * decides whether a failure is hidden by a further try. */
#ifndef RPD_PROXY_ATTEMPT_H
#define RPD_PROXY_ATTEMPT_H

#include "worker/proxy/exchange.h"

/* The Host of a request that host_header = server makes. */
struct slice server_authority(const struct server *s);

/* Whose side it is. */
static inline struct attempt *attempt_of(struct side *s)
{
    return CONTAINER(s, struct attempt, h1_up.side);
}

/* The first one, to a server of x's backend (x->backend_name and what the head says are there). */
void attempt_begin(struct exchange *x);
/* The client's side has all of the request, so that its time runs (routes with retry_timeout). */
void attempt_sent(struct attempt *a);
/* A head from its server: dropped for another try, or the client's. */
void attempt_head(struct attempt *a, struct head *h);
/* It has failed for `why`, and its side is gone or may go: another try, the other one that is under
 * way, or an error. x may be finished afterwards. */
void attempt_failed(struct attempt *a, enum end_reason why);
/* As attempt_failed, where the side has told of it and is gone. */
void attempt_reset(struct attempt *a, enum end_reason why);
/* The server is given back: the answer is all in, and the side let go of. */
void attempt_done(struct attempt *a);
/* Breaks off whatever there is; `why` is for the server's counters. */
void attempts_drop(struct exchange *x, enum end_reason why);

/* For hedge.c. It has failed, and its side is gone or may go: counted, with the status that its
 * server answered, 0: nothing. */
void attempt_left(struct attempt *a, enum end_reason why, unsigned status);
/* Nobody waits for its answer any more; the server is not to blame. */
void attempt_cut(struct attempt *a);
/* Which server the log names. */
void attempt_at(struct exchange *x, struct server *s);

/* hedge.c: a second try beside a first that takes long; for routes where it is on. */
static inline bool hedge_is_on(const struct conf_route *r)
{
    return r->hedge_after.after_ms != 0 || r->hedge_after.quantile != 0;
}

/* A first try has got a server, or the request has come to its end: from now on it takes long. */
void hedge_wait(struct exchange *x);
void hedge_forget(struct exchange *x);
/* One of two has failed, or its answer is not wanted: the other goes on. false: there is none. */
bool hedge_leave(struct attempt *a, enum end_reason why, unsigned status);
/* The first final answer is a's: the other, if there is one, is broken off. */
void hedge_settle(struct attempt *a);

#endif
