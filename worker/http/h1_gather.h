/* Collects a head that arrives in pieces until it is whole. Holds nothing but the buffers that
 * were filled before the current one. */
#ifndef RPD_HTTP_H1_GATHER_H
#define RPD_HTTP_H1_GATHER_H

#include "worker/http/h1.h"

struct h1_gather {
    struct bufq full;
    struct h1_scan scan;
    uint32_t seen; /* bytes of the current buf that were scanned; after DONE: of the head */
};

void h1_gather_init(struct h1_gather *g);
void h1_gather_fini(struct h1_gather *g);
static inline uint32_t h1_gather_bytes(const struct h1_gather *g)
{
    return g->scan.seen;
}
static inline bool h1_gather_is_empty(const struct h1_gather *g)
{
    return g->scan.seen == 0;
}
/* Scans what is new in *in. DONE: h1_gather_head gives the head. MORE: *in may have been taken
 * (NULL) because it is full. */
enum h1_scanned h1_gather(struct h1_gather *g, struct buf **in) __attribute__((warn_unused_result));
/* Instead, of the first piece: it is short and ends in an empty line, so the head, unless it is
 * nonsense, is all of it, or the first part if there are several. */
bool h1_gather_at_once(struct h1_gather *g, const struct buf *in)
    __attribute__((warn_unused_result));
/* After either: the head in one piece, still in the buf's memory, or copied into the arena if
 * must_copy or it came in several bufs (p NULL: exhausted); `in` has been moved on behind it. */
struct slice h1_gather_head(struct h1_gather *g, struct buf *in, struct arena *arena,
                            bool must_copy);

#endif
