/* Heads in pieces: used by both HTTP/1 codecs; neither parses nor reads. */
#include "worker/http/h1_gather.h"

/* What follows the first of several heads is copied with it: not too often too much. */
#define AT_ONCE_MAX 2048

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

enum h1_scanned h1_gather(struct h1_gather *g, struct buf **in)
{
    struct buf *b = *in;
    size_t used;
    enum h1_scanned r;

    r = h1_scan(&g->scan, slice_of(buf_bytes(b) + g->seen, b->len - g->seen), &used);
    g->seen += (uint32_t)used;
    if (r == H1_SCAN_MORE && buf_room(b) == 0) {
        bufq_push(&g->full, b);
        *in = NULL;
        g->seen = 0;
    }
    return r;
}

bool h1_gather_at_once(struct h1_gather *g, const struct buf *in)
{
    if (!h1_gather_is_empty(g) || in->len < 4 || in->len > AT_ONCE_MAX ||
        memcmp(buf_tail(in) - 4, "\r\n\r\n", 4) != 0)
        return false;
    g->seen = in->len;
    return true;
}

struct slice h1_gather_head(struct h1_gather *g, struct buf *in, struct arena *arena,
                            bool must_copy)
{
    struct slice head = slice_of(buf_bytes(in), g->seen);

    if (must_copy || g->full.head)
        head = join(g, in, g->seen, arena);
    buf_skip(in, g->seen);
    h1_gather_fini(g);
    return head;
}
