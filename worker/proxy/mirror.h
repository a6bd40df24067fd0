/* mirror: a copy of a share of a route's requests, bodies included, for another backend. Its client
 * never feels it: nobody waits for a copy, and one that falls behind is broken off. A copy goes on
 * when its exchange has ended, once all of the request was told. Called by attempt.c and body.c,
 * who tell what the route's own server is told, and by finish.c. */
#ifndef RPD_PROXY_MIRROR_H
#define RPD_PROXY_MIRROR_H

#include "worker/proxy/exchange.h"

/* What copies may take of the worker's pools beyond what its connections may. */
#define MIRROR_BUFS 2048
#define MIRROR_BLOCKS 2048

/* x has a server, which is told `h` next: whether that request has a copy is decided here. */
void mirror_begin(struct exchange *x, const struct head *h);
static inline bool mirror_is_due(const struct exchange *x)
{
    return x->route->mirror.backend && !x->is_mirror_drawn;
}

/* For an x that has a copy (x->mirror), which may be gone afterwards.
 * Bytes of the body, which begin at `at` of it, or go on with it; known ones are passed over. */
#define MIRROR_NEXT UINT64_MAX
void mirror_body(struct exchange *x, const struct buf *b, uint64_t at);
/* The body is complete: the copy is on its own from now on. */
void mirror_body_end(struct exchange *x);
/* There will be no more of the body. */
void mirror_drop(struct exchange *x);

#endif
