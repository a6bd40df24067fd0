/* Writes HTTP/1 heads, chunks and trailers into a queue of bufs. Called by the codecs; adds only
 * the fields of the connection and of framing (RFC 9112 6, 9), every other one is the head's. */
#include "worker/http/h1.h"

#include <assert.h>

#define HEAD_ROOM 2048 /* most heads fit */
#define END_ROOM 5
#define CRLF SLICE("\r\n")
#define HEX_MAX 8 /* digits of a buf's length */

/* Where a head goes: the room behind a queue's last bytes, or, if it is more than that takes, a
 * queue of its own. */
struct sink {
    char *at, *end; /* NULL: q */
    struct bufq *q;
    struct buf_pool *pool;
    bool is_failed; /* what was put is not all there */
};

__attribute__((always_inline))
static inline void put(struct sink *k, struct slice s)
{
    if (s.n <= (size_t)(k->end - k->at))
        k->at = slice_put(k->at, s);
    else
        k->is_failed = k->is_failed || !k->q || !bufq_add(k->q, k->pool, s);
}

static inline void put_field(struct sink *k, struct slice name, struct slice value)
{
    put(k, name);
    put(k, SLICE(": "));
    put(k, value);
    put(k, CRLF);
}

/* Lines that follow one another in memory, as most do of a head that came in, go as one. */
__attribute__((always_inline))
static inline void put_fields(struct sink *k, const struct fields *fields)
{
    const struct field *end = fields->n > 0 ? fields->v + fields->n : fields->v;
    const char *run = NULL, *run_end = NULL;

    for (const struct field *f = fields->v; f != end; f++) {
        if (f->name.n == 0)
            continue;
        if (!f->is_line || f->name.p != run_end) {
            put(k, slice_of(run, (size_t)(run_end - run)));
            run = run_end = f->name.p;
        }
        if (f->is_line)
            run_end = f->value.p + f->value.n + 2;
        else
            put_field(k, f->name, f->value);
    }
    put(k, slice_of(run, (size_t)(run_end - run)));
}

static inline void put_number(struct sink *k, uint64_t n)
{
    char room[SLICE_DECIMAL_MAX];

    put(k, slice_decimal(room, n));
}

static inline void put_length(struct sink *k, uint64_t n)
{
    put(k, SLICE("Content-Length: "));
    put_number(k, n);
    put(k, CRLF);
}

/* Runs one of the writers below over what a buf holds, at least `room`, or over a queue. */
typedef void write_fn(struct sink *k, const void *what);

static bool write_long(struct bufq *out, struct buf_pool *pool, write_fn *fn, const void *what)
{
    struct bufq own;
    struct sink k = { .q = &own, .pool = pool };

    bufq_init(&own);
    fn(&k, what);
    if (k.is_failed) {
        bufq_clear(&own);
        return false;
    }
    bufq_splice(out, &own);
    return true;
}

static bool write_all(struct bufq *out, struct buf_pool *pool, size_t room, write_fn *fn,
                      const void *what)
{
    char *start = bufq_reserve(out, pool, room);
    struct sink k = { .at = start };

    if (!start)
        return false;
    k.end = start + buf_room(out->tail);
    fn(&k, what);
    if (!k.is_failed) {
        bufq_commit(out, (size_t)(k.at - start));
        return true;
    }
    if (out->bytes == 0)
        bufq_clear(out); /* what was reserved */
    return write_long(out, pool, fn, what);
}

/* ---- heads ---- */

struct head_writing {
    const struct head *head;
    enum h1_framing framing;
    unsigned peer_minor;
    bool keep_alive;
};

static uint64_t length_of(const struct head *h)
{
    return h->body == BODY_NONE && !h->has_length ? 0 : h->content_length;
}

static inline void put_framing(struct sink *k, const struct head_writing *w)
{
    switch (w->framing) {
    case H1_FRAME_LENGTH:
        put_length(k, length_of(w->head));
        break;
    case H1_FRAME_CHUNKED:
        put(k, SLICE("Transfer-Encoding: chunked\r\n"));
        break;
    case H1_FRAME_NONE:
    case H1_FRAME_CLOSE:
        break;
    }
}

static inline void put_upgrade(struct sink *k, const struct head *h)
{
    put_field(k, SLICE("Upgrade"), h->upgrade);
}

/* The writers work on a sink of their own, which the compiler can keep in registers. */
static void put_request(struct sink *to, const void *what)
{
    const struct head_writing *w = what;
    const struct head *h = w->head;
    struct sink mine = *to, *k = &mine;

    put(k, h->method_text);
    put(k, SLICE(" "));
    put(k, h->path);
    put(k, SLICE(" HTTP/1.1\r\n"));
    put_field(k, SLICE("Host"), h->authority);
    put_fields(k, &h->fields);
    put_framing(k, w);
    if (h->upgrade.n > 0) {
        put(k, h->te_trailers ? SLICE("Connection: Upgrade, TE\r\n")
                              : SLICE("Connection: Upgrade\r\n"));
        put_upgrade(k, h);
    } else if (!w->keep_alive) {
        put(k, h->te_trailers ? SLICE("Connection: close, TE\r\n")
                              : SLICE("Connection: close\r\n"));
    } else if (h->te_trailers) {
        put(k, SLICE("Connection: TE\r\n"));
    }
    if (h->te_trailers)
        put(k, SLICE("TE: trailers\r\n"));
    put(k, CRLF);
    *to = mine;
}

static inline void put_status(struct sink *k, unsigned status)
{
    char line[] = "HTTP/1.1 000 ";

    line[9] = (char)('0' + status / 100);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    put(k, slice_of(line, sizeof line - 1));
}

static void put_response(struct sink *to, const void *what)
{
    const struct head_writing *w = what;
    const struct head *h = w->head;
    struct sink mine = *to, *k = &mine;

    put_status(k, h->status);
    put(k, h->reason.n > 0 ? h->reason : status_reason(h->status));
    put(k, CRLF);
    put_fields(k, &h->fields);
    put_framing(k, w);
    /* What a body would have been, for HEAD and 304 (RFC 9110 8.6). */
    if (w->framing == H1_FRAME_NONE && h->status >= 200 && h->status != 204 &&
        (h->has_length || h->body == BODY_LENGTH))
        put_length(k, h->content_length);
    if (h->status == 101) {
        put(k, SLICE("Connection: Upgrade\r\n"));
        put_upgrade(k, h);
    } else if (h->status >= 200) {
        if (!w->keep_alive)
            put(k, SLICE("Connection: close\r\n"));
        else if (w->peer_minor == 0)
            put(k, SLICE("Connection: keep-alive\r\n"));
    }
    put(k, CRLF);
    *to = mine;
}

enum h1_framing h1_framing_response(const struct head *h, enum http_method request_method,
                                    unsigned peer_minor)
{
    if (h->status < 200 || h->status == 204 || h->status == 304 || request_method == METHOD_HEAD)
        return H1_FRAME_NONE;
    switch (h->body) {
    case BODY_NONE: /* the peer would wait for the connection's end */
    case BODY_LENGTH:
        return H1_FRAME_LENGTH;
    case BODY_CHUNKED:
    case BODY_CLOSE:
        break;
    }
    return peer_minor > 0 ? H1_FRAME_CHUNKED : H1_FRAME_CLOSE;
}

enum h1_framing h1_framing_request(const struct head *h)
{
    switch (h->body) {
    case BODY_NONE:
        return H1_FRAME_NONE;
    case BODY_LENGTH:
        return H1_FRAME_LENGTH;
    case BODY_CHUNKED:
    case BODY_CLOSE:
        break;
    }
    return H1_FRAME_CHUNKED;
}

bool h1_write_request(struct bufq *out, struct buf_pool *pool, const struct head *h,
                      enum h1_framing framing, bool keep_alive)
{
    struct head_writing w = { .head = h, .framing = framing, .keep_alive = keep_alive };

    assert(h->method_text.n > 0 && h->path.n > 0 && framing != H1_FRAME_CLOSE);
    return write_all(out, pool, HEAD_ROOM, put_request, &w);
}

bool h1_write_response(struct bufq *out, struct buf_pool *pool, const struct head *h,
                       enum h1_framing framing, unsigned peer_minor, bool keep_alive)
{
    struct head_writing w = {
        .head = h, .framing = framing, .peer_minor = peer_minor, .keep_alive = keep_alive,
    };

    assert(h->status >= 100 && h->status <= 999);
    return write_all(out, pool, HEAD_ROOM, put_response, &w);
}

/* ---- bodies ---- */

/* "1f\r\n" with its end at `end`. */
static struct slice chunk_header(char *end, uint32_t n)
{
    char *p = end;

    *--p = '\n';
    *--p = '\r';
    do
        *--p = "0123456789abcdef"[n & 15];
    while ((n >>= 4) > 0);
    return slice_of(p, (size_t)(end - p));
}

/* The chunk's header and CRLF into the rooms of its own buf. */
static bool wrap_in_place(struct buf *b)
{
    struct slice header;

    if (b->is_pipe || b->off < HEX_MAX + 2 || BUF_SIZE - b->off - b->len < 2)
        return false;
    header = chunk_header(buf_bytes(b), b->len);
    memcpy(buf_tail(b), "\r\n", 2);
    b->off -= (uint32_t)header.n;
    b->len += (uint32_t)header.n + 2;
    return true;
}

static bool wrap_apart(struct bufq *out, struct buf_pool *pool, struct buf *b)
{
    char room[HEX_MAX + 2];
    struct bufq end;

    bufq_init(&end);
    if (!bufq_add(&end, pool, CRLF))
        return false;
    if (!bufq_add(out, pool, chunk_header(room + sizeof room, b->len))) {
        bufq_clear(&end);
        return false;
    }
    bufq_push(out, b);
    bufq_splice(out, &end);
    return true;
}

bool h1_write_data(struct bufq *out, struct buf_pool *pool, enum h1_framing framing,
                   struct buf *b)
{
    assert(framing != H1_FRAME_NONE || b->len == 0);
    if (framing != H1_FRAME_CHUNKED || b->len == 0 || wrap_in_place(b)) {
        bufq_push(out, b);
        return true;
    }
    if (wrap_apart(out, pool, b))
        return true;
    buf_put(&b);
    return false;
}

static void put_end(struct sink *k, const void *what)
{
    const struct fields *trailers = what;

    put(k, SLICE("0\r\n"));
    if (trailers)
        put_fields(k, trailers);
    put(k, CRLF);
}

bool h1_write_end(struct bufq *out, struct buf_pool *pool, enum h1_framing framing,
                  const struct fields *trailers)
{
    if (framing != H1_FRAME_CHUNKED)
        return true;
    return write_all(out, pool, END_ROOM, put_end, trailers);
}
