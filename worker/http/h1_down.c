/* HTTP/1 towards clients: the connection's life, and the way in: reads requests one by one and
 * opens a stream for each. Called by the listeners; never routes and never answers by itself but
 * when no stream can be had. See h1_down_impl.h. */
#include "worker/http/h1_down_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "common/core/stats.h"

#define BULK_MIN 65536 /* of a body that is still to come */
#define DOWN_SLAB 32
/* Reads in a row before others have their turn. */
#define READS_MAX 16

/* ---- memory ---- */

void h1_down_pool_init(struct h1_down_pool *p)
{
    p->free = p->slabs = NULL;
    list_init(&p->open);
}

struct slab {
    struct slab *next;
    struct h1_down v[DOWN_SLAB];
};

void h1_down_pool_fini(struct h1_down_pool *p)
{
    assert(list_empty(&p->open));
    for (struct slab *s = p->slabs, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    h1_down_pool_init(p);
}

static bool pool_grow(struct h1_down_pool *p)
{
    struct slab *s = malloc(sizeof *s);

    if (!s)
        return false;
    s->next = p->slabs;
    p->slabs = s;
    for (unsigned i = 0; i < DOWN_SLAB; i++) {
        s->v[i].link.next = p->free;
        p->free = &s->v[i].link;
    }
    return true;
}

static struct h1_down *down_alloc(struct h1_down_pool *p)
{
    struct list *node;

    if (!p->free && !pool_grow(p))
        return NULL;
    node = p->free;
    p->free = node->next;
    return CONTAINER(node, struct h1_down, link);
}

/* ---- the end of the connection ---- */

/* The conn must have been closed or given to linger. */
static void down_free(struct h1_down *d)
{
    assert(!d->conn);
    task_cancel(&d->task);
    buf_put(&d->in);
    h1_gather_fini(&d->gather);
    list_remove(&d->link);
    d->link.next = d->pool->free;
    d->pool->free = &d->link;
}

static void closed(void *svc)
{
    struct http_service *s = svc;

    s->ops->closed(s);
}

void h1_down_close(struct h1_down *d)
{
    struct http_service *svc = d->svc;

    conn_close(&d->conn);
    down_free(d);
    closed(svc);
}

void h1_down_close_reset(struct h1_down *d)
{
    struct http_service *svc = d->svc;

    conn_reset(&d->conn);
    down_free(d);
    closed(svc);
}

void h1_down_close_gently(struct h1_down *d)
{
    conn_linger(&d->conn, closed, d->svc);
    down_free(d);
}

void h1_down_gone(struct h1_down *d, enum end_reason why)
{
    struct stream *st = d->side.stream;

    d->side.stream = NULL;
    if (st)
        st->ops->on_reset(st, &d->side, why);
    /* What only a close ends must not look whole; who takes nothing would be waited for. */
    if ((st && h1_down_is_cut(d)) || why == END_CLIENT_WRITE_TIMEOUT)
        h1_down_close_reset(d);
    else
        h1_down_close(d);
}

/* A socket that takes nothing of it tells nobody: the timer must run. */
void h1_down_flush(struct h1_down *d)
{
    conn_flush(d->conn);
    if (!timer_is_set(&d->conn->timer))
        h1_down_arm(d);
}

void h1_down_arm(struct h1_down *d)
{
    const struct http_limits *l = &d->svc->limits;
    struct conn *c = d->conn;

    if (d->state == DOWN_HEAD)
        return; /* set when its first byte came */
    if (c->out.bytes > 0)
        conn_timer(c, (uint64_t)l->idle_timeout_ms * 1000);
    else if (d->state == DOWN_IDLE)
        conn_timer(c, (uint64_t)(d->is_first ? l->header_timeout_ms : l->idle_timeout_ms) * 1000);
    else if (d->state == DOWN_BODY && d->credit > 0)
        conn_timer(c, (uint64_t)l->body_timeout_ms * 1000);
    else
        conn_timer_clear(c);
}

/* ---- the request's head ---- */

static const char exhausted[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n"
    "Retry-After: 1\r\n\r\n";

/* No memory for a stream: the one answer made here. */
static void refuse(struct h1_down *d)
{
    if (bufq_add(&d->conn->out, d->conn->pool->bufs, SLICE(exhausted)))
        h1_down_close_gently(d);
    else
        h1_down_close(d);
}

static bool open_stream(struct h1_down *d)
{
    struct stream *st = d->svc->ops->open(d->svc, &d->side, d->conn);

    if (!st)
        return false;
    d->side.stream = st;
    d->side.wants_pipe = false;
    d->side.can_pipe = d->conn->ops->can_splice;
    d->ex = NULL;
    d->credit = d->queued = 0;
    d->is_head_sent = d->is_response_done = d->is_request_done = false;
    d->is_eof_told = d->is_bulk = d->is_first = d->must_close = d->is_close_asked = false;
    return true;
}

/* Nonsense, or too much: the stream answers, we close afterwards. */
static void bad(struct h1_down *d, enum end_reason why)
{
    d->must_close = true;
    d->state = DOWN_ANSWER;
    conn_timer_clear(d->conn);
    buf_put(&d->in);
    h1_gather_fini(&d->gather);
    d->side.stream->ops->on_bad(d->side.stream, &d->side, why);
}

/* As bad, where no stream has been opened yet. */
static void bad_head(struct h1_down *d, enum end_reason why)
{
    if (open_stream(d)) {
        head_init(&d->side.stream->request, &d->side.stream->arena);
        d->side.stream->request.minor = 1;
        d->side.wire_in = h1_gather_bytes(&d->gather);
        bad(d, why);
    } else {
        refuse(d);
    }
}

static void on_request(struct h1_down *d, struct slice bytes)
{
    struct stream *st = d->side.stream;
    struct head *h = &st->request;
    uint64_t max_body = d->svc->limits.max_body_size;
    uint32_t max_head = d->svc->limits.max_header_size;
    enum end_reason why = END_EXHAUSTED;
    struct conn *c = d->conn;

    head_init(h, &st->arena);
    d->ex = bytes.p ? arena_alloc(&st->arena, sizeof *d->ex) : NULL;
    if (d->ex)
        why = h1_parse_request(bytes, h);
    if (why == END_OK && h->wire_bytes > max_head)
        why = slice_find(bytes, '\n') >= max_head ? END_URI_TOO_LONG : END_HEADER_TOO_LARGE;
    if (why == END_OK && max_body && h->body == BODY_LENGTH && h->content_length > max_body)
        why = END_BODY_TOO_LARGE;
    if (why != END_OK) {
        bad(d, why);
        return;
    }
    d->side.wire_in = h->wire_bytes;
    buf_unskip(d->in, bytes.n - h->wire_bytes);
    h1_body_init(&d->ex->body, h, &d->ex->parser, &st->arena, d->svc->limits.max_header_size);
    d->must_close = d->is_close_asked = !h->keep_alive;
    d->is_request_done = d->ex->body.is_done;
    d->state = d->is_request_done ? DOWN_ANSWER : DOWN_BODY;
    conn_timer_clear(c);
    st->ops->on_head(st, &d->side, h);
    if (d->conn == c && d->side.stream == st && d->is_request_done)
        st->ops->on_end(st, &d->side, NULL);
}

/* RFC 9112 2.2: empty lines before a request line are ignored. false: half of one is all there
 * is. */
static bool skip_empty_lines(struct h1_down *d)
{
    struct buf *b = d->in;

    if (h1_gather_bytes(&d->gather) > 0)
        return true;
    while (b->len >= 2 && memcmp(buf_bytes(b), "\r\n", 2) == 0)
        buf_skip(b, 2);
    if (b->len != 1 || *buf_bytes(b) != '\r')
        return true;
    b->off = BUF_HEADROOM; /* there must be room for more */
    *buf_bytes(b) = '\r';
    return false;
}

/* Some of a head is there. The stream is opened when all of it is. */
static bool wait_for_head(struct h1_down *d)
{
    if (d->state == DOWN_IDLE) {
        d->state = DOWN_HEAD;
        conn_timer(d->conn, (uint64_t)d->svc->limits.header_timeout_ms * 1000);
    }
    return false;
}

static bool head_done(struct h1_down *d)
{
    struct slice head;

    if (!open_stream(d)) {
        refuse(d);
        return false;
    }
    head = h1_gather_head(&d->gather, d->in, &d->side.stream->arena, true);
    d->side.wire_in = head.n;
    on_request(d, head);
    return true;
}

static bool step_head(struct h1_down *d)
{
    uint32_t max = d->svc->limits.max_header_size;
    bool is_begun = skip_empty_lines(d);

    if (d->in->len == 0)
        return false;
    if (!is_begun)
        return wait_for_head(d);
    if (h1_gather_at_once(&d->gather, d->in))
        return head_done(d);
    switch (h1_gather(&d->gather, &d->in)) {
    case H1_SCAN_DONE:
        return head_done(d);
    case H1_SCAN_BAD:
        bad_head(d, END_BAD_REQUEST);
        return false;
    case H1_SCAN_MORE:
        break;
    }
    if (h1_gather_bytes(&d->gather) <= max)
        return wait_for_head(d);
    bad_head(d, d->gather.scan.first_line ? END_HEADER_TOO_LARGE : END_URI_TOO_LONG);
    return false;
}

/* ---- the request's body ---- */

static void body_done(struct h1_down *d)
{
    struct stream *st = d->side.stream;

    d->is_request_done = true;
    d->state = DOWN_ANSWER;
    conn_timer_clear(d->conn);
    st->ops->on_end(st, &d->side, d->ex->body.trailers);
}

static bool step_body(struct h1_down *d)
{
    struct stream *st = d->side.stream;
    uint64_t max = d->svc->limits.max_body_size;
    struct buf *out = NULL;
    uint32_t had = d->in->len;
    enum end_reason why;

    if (d->credit <= 0)
        return false;
    why = h1_body_decode(&d->ex->body, d->conn->pool->bufs, &d->in, (uint64_t)d->credit, &out);
    d->side.wire_in += had - (d->in ? d->in->len : 0);
    if (max && d->ex->body.total > max)
        why = END_BODY_TOO_LARGE;
    if (why != END_OK) {
        buf_put(&out);
        bad(d, why);
        return false;
    }
    if (out) {
        d->credit -= out->len;
        st->ops->on_data(st, &d->side, out);
        if (d->side.stream != st || d->state != DOWN_BODY)
            return false;
    }
    if (d->ex->body.is_done)
        body_done(d);
    return true;
}

static bool step_tunnel(struct h1_down *d)
{
    struct stream *st = d->side.stream;
    struct buf *out = d->in;

    if (d->credit <= 0)
        return false;
    /* No more was read than credit, or it came before and the first credit is more. */
    assert(out->len <= (uint64_t)d->credit);
    d->in = NULL;
    d->side.wire_in += out->len;
    d->credit -= out->len;
    st->ops->on_data(st, &d->side, out);
    return true;
}

static void process(struct h1_down *d)
{
    struct conn *c = d->conn;
    bool is_going = true;

    while (is_going && d->conn == c && d->in && d->in->len > 0) {
        switch ((enum down_state)d->state) {
        case DOWN_IDLE:
        case DOWN_HEAD: is_going = step_head(d); break;
        case DOWN_BODY: is_going = step_body(d); break;
        case DOWN_TUNNEL: is_going = step_tunnel(d); break;
        case DOWN_ANSWER: is_going = false; break; /* pipelined: its turn comes */
        }
    }
    if (d->conn == c && d->in && d->in->len == 0 && h1_gather_bytes(&d->gather) == 0)
        buf_put(&d->in);
}

/* ---- reading ---- */

static void on_eof(struct h1_down *d)
{
    if (d->state == DOWN_TUNNEL) {
        d->is_eof_told = true;
        if (d->is_response_done && d->conn->out.bytes == 0)
            h1_down_later(d, LATER_ANSWERED);
        d->side.stream->ops->on_end(d->side.stream, &d->side, NULL);
    } else if (d->is_response_done && d->conn->out.bytes > 0) {
        d->must_close = true; /* all is said; let it leave */
        d->is_eof_told = true;
    } else {
        h1_down_gone(d, END_CLIENT_CLOSED);
    }
}

static bool wants_bytes(const struct h1_down *d)
{
    switch ((enum down_state)d->state) {
    case DOWN_IDLE:
    case DOWN_HEAD:
        return true;
    case DOWN_BODY:
        return d->credit > 0;
    case DOWN_TUNNEL:
        return d->credit > 0 && !d->is_eof_told;
    case DOWN_ANSWER: /* the next request, one buffer of it; and the client's leaving */
        return !d->is_eof_told && (!d->in || buf_room(d->in) > 0);
    }
    return false;
}

/* Bytes of the body, or the tunnel, that need not be looked at come in bulk. */
static bool may_read_bulk(const struct h1_down *d)
{
    bool takes_pipe = d->side.wants_pipe && d->conn->ops->can_splice;

    if (d->in || (!takes_pipe && d->credit < BUF_READ_MAX))
        return false;
    if (d->state == DOWN_TUNNEL)
        return d->is_bulk;
    return d->state == DOWN_BODY && h1_body_unseen(&d->ex->body) >= BULK_MIN;
}

/* 1 went on, 0 the end, -1 with errno. */
static ssize_t read_bulk(struct h1_down *d)
{
    struct stream *st = d->side.stream;
    uint64_t max = BUF_PIPE_SIZE, credit = (uint64_t)d->credit;
    struct bufq q;
    ssize_t n;

    bufq_init(&q);
    if (d->state == DOWN_BODY && max > h1_body_unseen(&d->ex->body))
        max = h1_body_unseen(&d->ex->body);
    n = conn_read_bulk(d->conn, &q, d->side.wants_pipe ? max : 0, max < credit ? max : credit);
    if (n <= 0)
        return n;
    stat_add(d->svc->bytes_in, (uint64_t)n);
    d->side.wire_in += (uint64_t)n;
    d->credit -= n;
    d->is_bulk = n >= BUF_READ_MAX;
    if (d->state == DOWN_BODY)
        h1_body_skip(&d->ex->body, (uint64_t)n);
    while (q.head && d->side.stream == st)
        st->ops->on_data(st, &d->side, bufq_shift(&q));
    bufq_clear(&q);
    if (d->side.stream == st && d->state == DOWN_BODY && d->ex->body.is_done)
        body_done(d);
    return 1;
}

static ssize_t read_memory(struct h1_down *d)
{
    ssize_t n;

    if (!d->in && !(d->in = buf_get(d->conn->pool->bufs))) {
        if (!d->side.stream)
            stat_inc(d->svc->shed);
        h1_down_gone(d, END_EXHAUSTED);
        return 1;
    }
    n = conn_read(d->conn, d->in,
                  d->state == DOWN_TUNNEL && d->credit < BUF_SIZE ? (size_t)d->credit : BUF_SIZE);
    if (n <= 0) {
        if (d->in->len == 0)
            buf_put(&d->in);
        return n;
    }
    stat_add(d->svc->bytes_in, (uint64_t)n);
    d->is_bulk = buf_room(d->in) == 0;
    process(d);
    return 1;
}

void h1_down_on_readable(struct conn *c)
{
    struct h1_down *d = c->owner;

    d->is_busy = true;
    process(d); /* what a grant, or the last answer's end, has freed */
    for (unsigned reads = 0; d->conn == c && c->is_readable && wants_bytes(d); reads++) {
        bool is_bulk = may_read_bulk(d);
        ssize_t n;

        if (reads == READS_MAX) {
            h1_down_later(d, LATER_READ);
            break;
        }
        n = is_bulk ? read_bulk(d) : read_memory(d);
        if (n > 0 && !is_bulk)
            continue;
        if (n > 0 && d->conn == c)
            h1_down_after_flush(d, LATER_READ); /* more when this has left */
        else if (n == 0)
            on_eof(d);
        else if (n < 0 && errno == ENOBUFS)
            h1_down_gone(d, END_EXHAUSTED);
        else if (n < 0 && errno != EAGAIN)
            h1_down_gone(d, END_CLIENT_RESET);
        break;
    }
    if (d->conn != c)
        return;
    d->is_busy = false;
    /* Not read because there is no credit or no room, but the client has left all the same. */
    if (c->is_hup && d->side.stream && !d->is_response_done && !wants_bytes(d) &&
        (d->state == DOWN_ANSWER || d->state == DOWN_BODY))
        h1_down_gone(d, END_CLIENT_CLOSED);
    else
        h1_down_arm(d);
}

/* What came while others had their turn came in time, whatever the clock says by now. */
static bool has_come(struct h1_down *d)
{
    struct conn *c = d->conn;
    uint64_t had = *d->svc->bytes_in;

    c->is_readable = true;
    h1_down_on_readable(c);
    return d->conn != c || *d->svc->bytes_in != had;
}

static void on_timer(struct conn *c)
{
    struct h1_down *d = c->owner;

    if (c->out.bytes > 0) {
        h1_down_gone(d, END_CLIENT_WRITE_TIMEOUT);
        return;
    }
    switch ((enum down_state)d->state) {
    case DOWN_IDLE:
        if (!has_come(d))
            h1_down_gone(d, END_CLIENT_IDLE);
        break;
    case DOWN_HEAD:
        (void)has_come(d);
        if (d->conn == c && d->state == DOWN_HEAD)
            bad_head(d, END_CLIENT_HEADER_TIMEOUT);
        break;
    case DOWN_BODY:
        if (!has_come(d))
            bad(d, END_CLIENT_BODY_TIMEOUT);
        break;
    case DOWN_ANSWER:
    case DOWN_TUNNEL:
        break;
    }
}

static void on_broken(struct conn *c, int error)
{
    (void)error;
    h1_down_gone(c->owner, END_CLIENT_RESET);
}

static void on_connected(struct conn *c, int error)
{
    (void)c;
    (void)error;
    assert(!"it was accepted");
}

static const struct conn_user down_user = {
    .on_connected = on_connected,
    .on_readable = h1_down_on_readable,
    .on_sent = h1_down_on_sent,
    .on_timer = on_timer,
    .on_broken = on_broken,
};

bool h1_down_start(struct h1_down_pool *p, struct conn *c, struct http_service *svc,
                   struct buf *first)
{
    struct h1_down *d = down_alloc(p);

    if (!d)
        return false;
    *d = (struct h1_down){
        .side = { .ops = &h1_down_side_ops },
        .conn = c,
        .svc = svc,
        .pool = p,
        .in = first,
        .state = DOWN_IDLE,
        .is_first = true,
    };
    h1_gather_init(&d->gather);
    task_init(&d->task, h1_down_on_later);
    list_push(&p->open, &d->link);
    conn_use(c, &down_user, d);
    h1_down_arm(d);
    if (first)
        h1_down_later(d, LATER_READ);
    return true;
}

void h1_down_retire(struct h1_down_pool *p, bool is_fresh_too)
{
    LIST_EACH(it, &p->open) {
        struct h1_down *d = CONTAINER(it, struct h1_down, link);

        if (d->state == DOWN_IDLE && !d->in && d->conn->out.bytes == 0 &&
            !d->conn->is_readable && (is_fresh_too || !d->is_first))
            h1_down_close(d);
    }
}

void h1_down_abort(struct h1_down_pool *p)
{
    LIST_EACH(it, &p->open)
        h1_down_gone(CONTAINER(it, struct h1_down, link), END_RETIRING);
}
