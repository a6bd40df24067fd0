/* Collects a head that arrives in pieces until it is whole. Holds nothing but the buffers that
 * were filled before the current one. */
#ifndef RPD_HTTP_H1_GATHER_H
#define RPD_HTTP_H1_GATHER_H

#include "worker/http/h1.h"

struct h1_gather {
    struct bufq full;
    struct h1_scan scan;
    uint32_t seen; /* bytes of the current buf that were scanned */
};

void h1_gather_init(struct h1_gather *g);
void h1_gather_fini(struct h1_gather *g);
static inline uint32_t h1_gather_bytes(const struct h1_gather *g)
{
    return g->scan.seen;
}
/* Scans what is new in *in. DONE: `head` is the whole head, contiguous: still in *in's memory, or
 * copied into the arena if must_copy or it came in several bufs (head->p NULL: exhausted); *in
 * has been moved on behind it. MORE: *in may have been taken (NULL) because it is full. With
 * arena NULL a DONE leaves all as it is: call again with one. */
enum h1_scanned h1_gather(struct h1_gather *g, struct buf **in, struct arena *arena,
                          bool must_copy, struct slice *head);

#endif
