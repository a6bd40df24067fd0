/* Heads in pieces: used by both HTTP/1 codecs; neither parses nor reads. */
#include "worker/http/h1_gather.h"

void h1_gather_init(struct h1_gather *g)
{
    *g = (struct h1_gather){ .seen = 0 };
    bufq_init(&g->full);
}

void h1_gather_fini(struct h1_gather *g)
{
    bufq_clear(&g->full);
    h1_gather_init(g);
}

/* The full bufs and the first `used` bytes of `in`, in one piece. */
static struct slice join(struct h1_gather *g, struct buf *in, size_t used, struct arena *arena)
{
    size_t n = g->full.bytes + used, at = 0;
    char *p = arena_alloc(arena, n);

    if (!p)
        return SLICE_NONE;
    for (struct buf *b = g->full.head; b; b = b->next) {
        memcpy(p + at, buf_bytes(b), b->len);
        at += b->len;
    }
    memcpy(p + at, buf_bytes(in), used);
    return slice_of(p, n);
}

enum h1_scanned h1_gather(struct h1_gather *g, struct buf **in, struct arena *arena,
                          bool must_copy, struct slice *head)
{
    struct buf *b = *in;
    struct h1_scan scan = g->scan;
    size_t used;
    enum h1_scanned r;

    r = h1_scan(&scan, slice_of(buf_bytes(b) + g->seen, b->len - g->seen), &used);
    if (r == H1_SCAN_DONE && !arena)
        return r;
    used += g->seen;
    g->scan = scan;
    if (r == H1_SCAN_BAD)
        return r;
    if (r == H1_SCAN_MORE) {
        g->seen = b->len;
        if (buf_room(b) == 0) {
            bufq_push(&g->full, b);
            *in = NULL;
            g->seen = 0;
        }
        return r;
    }
    if (must_copy || g->full.head)
        *head = join(g, b, used, arena);
    else
        *head = slice_of(buf_bytes(b), used);
    buf_skip(b, used);
    h1_gather_fini(g);
    return r;
}
