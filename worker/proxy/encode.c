/* Compression of a response. What has been taken in is granted anew at the end of a batch of
 * events, and only while few compressed bytes wait for the client: memory stays bounded however
 * well the content shrinks, or does not, and a fast server cannot keep the worker from others.
 *
 *   server --data--> compressor --out--> down side --> client
 *      ^--- owed ----- task         on_way < STREAM_CREDIT
 *
 * When a round of that brings nothing new the server has paused: what the compressor holds back is
 * flushed, so that events of a stream arrive when they are sent. */
#include "worker/proxy/encode.h"

#include <string.h>
#include "worker/http/accept_encoding.h"
#include "worker/http/compress.h"

struct encode {
    struct exchange *exchange;
    struct compressor *compressor;
    struct buf *out;     /* not full yet; NULL: none */
    struct task task;    /* grants, then flushes */
    uint64_t owed;       /* bytes taken in that were not granted anew */
    uint64_t on_way;     /* bytes sent to the down side that have not left */
    uint64_t batch;      /* of the loop's, in which the last grant was made */
    bool is_dirty;       /* the compressor, or `out`, has something */
};

/* ---- the head ---- */

static bool type_matches(struct slice pattern, struct slice type)
{
    if (slice_ends(pattern, SLICE("*")))
        return slice_istarts(type, slice_of(pattern.p, pattern.n - 1));
    if (pattern.p[0] == '*') {
        size_t n = pattern.n - 1;

        return type.n > n && slice_ieq(slice_of(type.p + type.n - n, n),
                                       slice_of(pattern.p + 1, n));
    }
    return slice_ieq(pattern, type);
}

static bool has_type(const struct conf_route *r, const struct head *h)
{
    const struct field *f = fields_find(&h->fields, FIELD_CONTENT_TYPE);
    struct slice type;

    if (!f)
        return false;
    type = slice_trim(slice_of(f->value.p, slice_find(f->value, ';')));
    for (size_t i = 0; i < r->compress_types.n; i++)
        if (type_matches(r->compress_types.v[i], type))
            return true;
    return false;
}

/* Fields that say of the bytes what would not be true any more. */
static const struct slice digests[] = {
    SLICE_INIT("Content-Digest"), SLICE_INIT("Repr-Digest"), SLICE_INIT("Digest"),
    SLICE_INIT("Content-MD5"),
};

static bool has_digest(const struct fields *f)
{
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++)
        if (fields_find_name(f, digests[i]))
            return true;
    return false;
}

/* As a field, or announced as a trailer. */
static bool will_have_digest(const struct fields *f)
{
    if (has_digest(f))
        return true;
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++)
        if (fields_list_has(f, FIELD_TRAILER, digests[i]))
            return true;
    return false;
}

static bool is_long_enough(const struct exchange *x, const struct head *h)
{
    bool is_head = x->stream.request.method == METHOD_HEAD;

    if (h->body == BODY_NONE && !is_head)
        return false;
    return !h->has_length ||
           (h->content_length > 0 && h->content_length >= x->route->compress_min);
}

/* Would another representation be made of it, for those who ask? Of a 206 and a 304 that would be
 * of their 200 (RFC 9110 15.3.7, 15.4.5), of which a 304 says little. */
static bool may_vary(const struct exchange *x, const struct head *h)
{
    const struct fields *f = &h->fields;

    if (h->status < 200 || h->status == 204 || h->status == 205 ||
        fields_list_has(f, FIELD_CACHE_CONTROL, SLICE("no-transform")))
        return false;
    if (h->status == 304)
        return true;
    return has_type(x->route, h) && !fields_find(f, FIELD_CONTENT_ENCODING) &&
           !will_have_digest(f) &&
           (h->status == 206 ||
            (is_long_enough(x, h) && !fields_find(f, FIELD_CONTENT_RANGE)));
}

static bool add_vary(struct head *h)
{
    const struct fields *f = &h->fields;

    return fields_list_has(f, FIELD_VARY, SLICE("Accept-Encoding")) ||
           fields_list_has(f, FIELD_VARY, SLICE("*")) ||
           fields_add(&h->fields, FIELD_VARY, SLICE("Vary"), SLICE("Accept-Encoding"));
}

static bool says_it_has(const struct fields *request, struct slice etag)
{
    FIELDS_EACH(f, request)
        if (f->id == FIELD_IF_NONE_MATCH && memmem(f->value.p, f->value.n, etag.p, etag.n))
            return true;
    return false;
}

/* Not the same bytes any more (RFC 9110 8.8.1). A 304 is told of what was compressed when the
 * client says that it has what was weakened. */
static bool weaken_etag(const struct exchange *x, struct head *h)
{
    struct field *f = fields_find(&h->fields, FIELD_ETAG);
    struct slice weak;

    if (!f || slice_starts(f->value, SLICE("W/")))
        return true;
    weak = arena_printf(h->fields.arena, "W/%.*s", SLICE_ARG(f->value));
    if (!weak.p)
        return false;
    if (h->status != 304 || says_it_has(&x->stream.request.fields, weak))
        field_set_value(f, weak);
    return true;
}

static bool make(struct exchange *x, enum conf_coding coding);

static bool change_head(const struct exchange *x, struct head *h, enum conf_coding coding)
{
    h->has_length = false;
    h->content_length = 0;
    if (h->body == BODY_LENGTH)
        h->body = BODY_CHUNKED;
    fields_remove_name(&h->fields, SLICE("Accept-Ranges"));
    return weaken_etag(x, h) &&
           fields_add(&h->fields, FIELD_CONTENT_ENCODING, SLICE("Content-Encoding"),
                      conf_coding_name(coding));
}

enum conf_coding encode_choice(const struct exchange *x)
{
    const struct fields *request = &x->stream.request.fields;

    return fields_list_has(request, FIELD_CACHE_CONTROL, SLICE("no-transform"))
               ? CONF_CODING_NONE
               : accept_encoding_choose(request, &x->route->compress);
}

bool encode_head(struct exchange *x, struct head *h)
{
    enum conf_coding coding;

    if (!may_vary(x, h))
        return true;
    if (!add_vary(h))
        return false;
    if (h->status == 304)
        return weaken_etag(x, h);
    if (h->status == 206)
        return true;
    coding = x->is_ruled ? (enum conf_coding)x->coding : encode_choice(x);
    if (coding == CONF_CODING_NONE)
        return true;
    if (x->stream.request.method != METHOD_HEAD && !make(x, coding))
        return true; /* as it is: there is no room to compress it in */
    if (change_head(x, h, coding))
        return true;
    if (x->encode)
        encode_fini(x); /* what is answered instead is not its */
    return false;
}

/* ---- the body ---- */

static void send_out(struct encode *e)
{
    struct side *down = e->exchange->stream.down;
    struct buf *b = e->out;

    e->out = NULL;
    if (!b)
        return;
    e->on_way += b->len;
    if (e->exchange->route_stats)
        stat_add(&e->exchange->route_stats->compressed_out, b->len);
    down->ops->send_data(down, b);
}

/* false: memory is at its end, and the exchange with it. */
static bool run(struct encode *e, enum compress_op op, struct slice in)
{
    bool is_done = false;

    while (!is_done) {
        size_t n;

        if (!e->out && !(e->out = buf_get(&e->exchange->proxy->bufs)))
            break;
        is_done = compressor_run(e->compressor, op, &in, buf_tail(e->out), buf_room(e->out), &n);
        if (n == SIZE_MAX) {
            is_done = false;
            break;
        }
        e->out->len += (uint32_t)n;
        if (buf_room(e->out) == 0 || (op != COMPRESS_MORE && is_done))
            send_out(e);
    }
    if (!is_done)
        exchange_abort(e->exchange, END_EXHAUSTED);
    return is_done;
}

/* To whoever sends. */
static void grant(struct encode *e)
{
    struct exchange *x = e->exchange;
    uint64_t bytes = e->owed;

    e->owed = 0;
    if (x->stream.up)
        x->stream.up->ops->grant(x->stream.up, bytes);
    else
        reply_go_on(x, bytes);
}

static void on_task(struct task *t)
{
    struct encode *e = CONTAINER(t, struct encode, task);
    struct loop *loop = &e->exchange->proxy->loop;

    if (e->on_way >= STREAM_CREDIT)
        return; /* encode_credit comes back to it */
    if (e->owed > 0) {
        loop_flush_soon(loop, t);
        if (e->batch != loop->batches) {
            e->batch = loop->batches;
            grant(e); /* of x there may be nothing left */
        }
    } else if (e->is_dirty) {
        e->is_dirty = false;
        (void)run(e, COMPRESS_FLUSH, SLICE(""));
    }
}

static bool make(struct exchange *x, enum conf_coding coding)
{
    struct encode *e = arena_zalloc(&x->stream.arena, sizeof *e);

    if (!e)
        return false;
    e->compressor = compressor_get(&x->proxy->compressors, coding, x->route->compress_level);
    if (!e->compressor)
        return false;
    e->exchange = x;
    e->batch = x->proxy->loop.batches;
    task_init(&e->task, on_task);
    x->encode = e;
    if (x->stream.up)
        x->stream.up->wants_pipe = false;
    if (x->route_stats)
        stat_inc(&x->route_stats->compressed);
    return true;
}

void encode_data(struct exchange *x, struct buf *b)
{
    struct encode *e = x->encode;

    e->owed += b->len;
    e->is_dirty = true;
    if (x->route_stats)
        stat_add(&x->route_stats->compressed_in, b->len);
    if (run(e, COMPRESS_MORE, buf_slice(b)))
        loop_flush_soon(&x->proxy->loop, &e->task);
    buf_put(&b);
}

void encode_end(struct exchange *x, const struct fields *trailers)
{
    struct encode *e = x->encode;
    struct side *down = x->stream.down;

    if (!run(e, COMPRESS_END, SLICE("")))
        return;
    e->owed = 0;
    e->is_dirty = false;
    task_cancel(&e->task);
    compressor_put(&e->compressor); /* others may have it while the rest leaves */
    down->ops->send_end(down, trailers && has_digest(trailers) ? NULL : trailers);
}

void encode_credit(struct exchange *x, uint64_t bytes)
{
    struct encode *e = x->encode;

    e->on_way -= bytes;
    if (e->on_way < STREAM_CREDIT && (e->owed > 0 || e->is_dirty))
        loop_flush_soon(&x->proxy->loop, &e->task);
}

void encode_fini(struct exchange *x)
{
    struct encode *e = x->encode;

    x->encode = NULL;
    task_cancel(&e->task);
    buf_put(&e->out);
    compressor_put(&e->compressor);
}
