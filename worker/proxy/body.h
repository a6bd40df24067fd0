/* A request's body on its way to a server: passed on as it comes, and kept as long as it may have
 * to be said again. Called by l7.c as it comes, by attempt.c for each try. */
#ifndef RPD_PROXY_BODY_H
#define RPD_PROXY_BODY_H

#include "worker/proxy/exchange.h"

/* buffer_request: it is taken in whole first. false: no memory. */
bool body_spool(struct exchange *x) __attribute__((warn_unused_result));
/* The request is not done: what comes is kept, if a try that fails may be made again. */
void body_keep(struct exchange *x);
/* Whether another try could be told all of it. */
bool body_is_kept(const struct exchange *x);
/* Takes the buf over. x may have failed afterwards. */
void body_data(struct exchange *x, struct buf *b);
/* x->trailers are set. */
void body_end(struct exchange *x);
/* The head has gone to a's side, which is new: what there is of the body follows. a may have failed
 * afterwards. */
void body_begin(struct attempt *a);
/* So many bytes have left a's side. a may have failed afterwards. */
void body_gone(struct attempt *a, uint64_t bytes);
/* No further try will be made: what was kept for one, if the server has it all, goes. */
void body_forget(struct exchange *x);

#endif
