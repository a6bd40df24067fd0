/* HTTP/1 towards clients: reads requests one by one, opens a stream for each, writes what the
 * stream answers. Called by the listeners; never routes and never answers by itself but when no
 * stream can be had.
 *
 *   IDLE -> HEAD -> BODY -> ANSWER -> IDLE ...      ANSWER: the request is in, its answer is not out
 *                        -> TUNNEL                  any -> closed
 */
#include "worker/http/h1_down.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "common/core/stats.h"
#include "worker/http/h1_gather.h"

#define SPLICE_MIN 65536
#define DOWN_SLAB 32

enum down_state { DOWN_IDLE, DOWN_HEAD, DOWN_BODY, DOWN_ANSWER, DOWN_TUNNEL };

/* What only a request in progress needs: in its stream's arena. */
struct exchange_state {
    llhttp_t parser;
    struct h1_body body;
};

struct h1_down {
    struct side side;
    struct conn *conn;
    struct http_service *svc;
    struct h1_down_pool *pool;
    struct list link;          /* in pool->open; in the free list `next` alone */
    struct buf *in;            /* bytes read, not yet consumed */
    struct h1_gather gather;
    struct task task;          /* does what `later` says */
    struct exchange_state *ex;
    uint64_t credit;           /* request body bytes that may be delivered */
    uint64_t queued;           /* response body bytes in conn->out not yet reported */
    uint8_t state;
    uint8_t framing;           /* of the response */
    uint8_t later;             /* LATER_ bits */
    bool is_head_sent : 1;     /* the final response's */
    bool is_response_done : 1; /* send_end was called */
    bool is_request_done : 1;
    bool must_close : 1;
    bool is_busy : 1;
    bool is_eof_told : 1;
    bool is_bulk : 1;
    bool is_first : 1;         /* no request has come yet */
};

/* What must not be done within the stream's or the conn's call; in this order. */
enum { LATER_SHED = 1, LATER_RESET = 2, LATER_ANSWERED = 4, LATER_READ = 8 };

static struct h1_down *down_of(struct side *s)
{
    return CONTAINER(s, struct h1_down, side);
}

static void later(struct h1_down *d, unsigned what)
{
    d->later |= (uint8_t)what;
    loop_soon(d->conn->pool->loop, &d->task);
}

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

/* At once: nobody is there to hear more. */
static void close_now(struct h1_down *d)
{
    struct http_service *svc = d->svc;

    conn_close(&d->conn);
    down_free(d);
    closed(svc);
}

/* After what is queued has left. */
static void close_gently(struct h1_down *d)
{
    conn_linger(&d->conn, closed, d->svc);
    down_free(d);
}

/* The client is gone: the stream, if any, is told first. */
static void gone(struct h1_down *d, enum end_reason why)
{
    struct stream *st = d->side.stream;

    d->side.stream = NULL;
    if (st)
        st->ops->on_reset(st, &d->side, why);
    close_now(d);
}

/* ---- timers: whose turn is it? ---- */

static void arm(struct h1_down *d)
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
        close_gently(d);
    else
        close_now(d);
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
    d->is_eof_told = d->is_bulk = d->is_first = d->must_close = false;
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
    enum end_reason why = END_EXHAUSTED;
    struct conn *c = d->conn;

    head_init(h, &st->arena);
    d->ex = bytes.p ? arena_alloc(&st->arena, sizeof *d->ex) : NULL;
    if (d->ex)
        why = h1_parse_request(&d->ex->parser, bytes, h);
    if (why == END_OK && bytes.n > d->svc->limits.max_header_size)
        why = END_HEADER_TOO_LARGE;
    if (why == END_OK && max_body && h->body == BODY_LENGTH && h->content_length > max_body)
        why = END_BODY_TOO_LARGE;
    if (why != END_OK) {
        bad(d, why);
        return;
    }
    h1_body_init(&d->ex->body, h, &d->ex->parser, &st->arena, d->svc->limits.max_header_size);
    d->must_close = !h->keep_alive;
    d->is_request_done = d->ex->body.is_done;
    d->state = d->is_request_done ? DOWN_ANSWER : DOWN_BODY;
    conn_timer_clear(c);
    st->ops->on_head(st, &d->side, h);
    if (d->conn == c && d->side.stream == st && d->is_request_done)
        st->ops->on_end(st, &d->side, NULL);
}

/* RFC 9112 2.2: empty lines before a request line are ignored, a few of them. */
static void skip_empty_lines(struct h1_down *d)
{
    while (h1_gather_bytes(&d->gather) == 0 && d->in->len >= 2 &&
           memcmp(buf_bytes(d->in), "\r\n", 2) == 0)
        buf_skip(d->in, 2);
}

static bool step_head(struct h1_down *d)
{
    uint32_t max = d->svc->limits.max_header_size;
    struct slice head;
    enum h1_scanned r;

    skip_empty_lines(d);
    if (d->in->len == 0)
        return false;
    if (d->state == DOWN_IDLE) {
        d->state = DOWN_HEAD;
        conn_timer(d->conn, (uint64_t)d->svc->limits.header_timeout_ms * 1000);
    }
    /* A DONE is only looked at here: the head goes to the arena of a stream yet to be opened. */
    r = h1_gather(&d->gather, &d->in, NULL, true, &head);
    if (r == H1_SCAN_DONE) {
        if (!open_stream(d)) {
            refuse(d);
            return false;
        }
        r = h1_gather(&d->gather, &d->in, &d->side.stream->arena, true, &head);
        assert(r == H1_SCAN_DONE);
        d->side.wire_in = head.n;
        on_request(d, head);
        return true;
    }
    if (r == H1_SCAN_BAD)
        bad_head(d, END_BAD_REQUEST);
    else if (h1_gather_bytes(&d->gather) > max)
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

    if (d->credit == 0)
        return false;
    why = h1_body_decode(&d->ex->body, d->conn->pool->bufs, &d->in, d->credit, &out);
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

    if (d->credit == 0)
        return false;
    d->in = NULL;
    d->side.wire_in += out->len;
    d->credit -= out->len < d->credit ? out->len : d->credit;
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
            later(d, LATER_ANSWERED);
        d->side.stream->ops->on_end(d->side.stream, &d->side, NULL);
    } else if (d->is_response_done && d->conn->out.bytes > 0) {
        d->must_close = true; /* all is said; let it leave */
        d->is_eof_told = true;
    } else {
        gone(d, END_CLIENT_CLOSED);
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

static bool may_splice(const struct h1_down *d)
{
    if (d->in || !d->side.wants_pipe || !d->conn->ops->can_splice)
        return false;
    if (d->state == DOWN_TUNNEL)
        return d->is_bulk;
    return d->state == DOWN_BODY && d->ex->body.kind == BODY_LENGTH &&
           d->ex->body.left >= SPLICE_MIN;
}

/* 1 went on, 0 the end, -1 with errno, -2 no pipe to be had. */
static ssize_t read_pipe(struct h1_down *d)
{
    struct stream *st = d->side.stream;
    struct buf *pipe = buf_get_pipe(d->conn->pool->bufs);
    uint64_t max = d->credit;
    ssize_t n;

    if (!pipe)
        return -2;
    if (d->state == DOWN_BODY && max > d->ex->body.left)
        max = d->ex->body.left;
    n = conn_splice_in(d->conn, pipe, max);
    if (n <= 0) {
        buf_put(&pipe);
        return n;
    }
    stat_add(d->svc->bytes_in, (uint64_t)n);
    d->side.wire_in += (uint64_t)n;
    d->credit -= (uint64_t)n;
    d->is_bulk = n >= BUF_READ_MAX;
    if (d->state == DOWN_BODY) {
        d->ex->body.left -= (uint64_t)n;
        d->ex->body.total += (uint64_t)n;
        d->ex->body.is_done = d->ex->body.left == 0;
    }
    st->ops->on_data(st, &d->side, pipe);
    if (d->side.stream == st && d->state == DOWN_BODY && d->ex->body.is_done)
        body_done(d);
    return 1;
}

static ssize_t read_memory(struct h1_down *d)
{
    ssize_t n;

    if (!d->in && !(d->in = buf_get(d->conn->pool->bufs))) {
        gone(d, END_EXHAUSTED);
        return 1;
    }
    n = conn_read(d->conn, d->in, BUF_SIZE);
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

static void on_readable(struct conn *c)
{
    struct h1_down *d = c->owner;

    d->is_busy = true;
    process(d); /* what a grant, or the last answer's end, has freed */
    while (d->conn == c && c->is_readable && wants_bytes(d)) {
        ssize_t n = may_splice(d) ? read_pipe(d) : -2;

        if (n == -2)
            n = read_memory(d);
        if (n > 0)
            continue;
        if (n == 0)
            on_eof(d);
        else if (errno != EAGAIN)
            gone(d, END_CLIENT_RESET);
        break;
    }
    if (d->conn != c)
        return;
    d->is_busy = false;
    /* Not read because there is no credit or no room, but the client has left all the same. */
    if (c->is_hup && d->side.stream && !d->is_response_done && !wants_bytes(d) &&
        (d->state == DOWN_ANSWER || d->state == DOWN_BODY))
        gone(d, END_CLIENT_CLOSED);
    else
        arm(d);
}

/* ---- writing ---- */

/* The last byte of the answer has left. */
static void answered(struct h1_down *d)
{
    struct stream *st = d->side.stream;
    bool is_all_read = d->is_request_done || d->state == DOWN_TUNNEL;
    bool stays = d->is_request_done && !d->must_close && d->state != DOWN_TUNNEL &&
                 !d->conn->is_hup;

    d->side.stream = NULL;
    d->state = DOWN_IDLE;
    d->ex = NULL;
    st->ops->on_done(st, &d->side);
    d->side.wire_in = d->side.wire_out = 0;
    if (!stays || !d->svc->ops->keep_alive(d->svc)) {
        if (is_all_read && !d->in && !d->conn->is_readable)
            close_now(d);
        else
            close_gently(d);
        return;
    }
    if (d->in || d->conn->is_readable)
        later(d, LATER_READ);
    arm(d);
}

static void on_sent(struct conn *c, size_t n)
{
    struct h1_down *d = c->owner;
    struct stream *st = d->side.stream;
    uint64_t left = c->out.bytes < d->queued ? c->out.bytes : d->queued;
    uint64_t sent = d->queued - left;

    stat_add(d->svc->bytes_out, n);
    d->side.wire_out += n;
    d->queued = left;
    if (st && sent > 0)
        st->ops->on_credit(st, &d->side, sent);
    if (d->conn != c)
        return;
    if (d->side.stream && d->is_response_done && c->out.bytes == 0 &&
        (d->state != DOWN_TUNNEL || d->is_eof_told))
        answered(d);
    else
        arm(d);
}

static void on_timer(struct conn *c)
{
    struct h1_down *d = c->owner;

    if (c->out.bytes > 0) {
        gone(d, END_CLIENT_WRITE_TIMEOUT);
        return;
    }
    switch ((enum down_state)d->state) {
    case DOWN_IDLE:
        gone(d, END_CLIENT_IDLE);
        break;
    case DOWN_HEAD:
        bad_head(d, END_CLIENT_HEADER_TIMEOUT);
        break;
    case DOWN_BODY:
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
    gone(c->owner, END_CLIENT_RESET);
}

static void on_connected(struct conn *c, int error)
{
    (void)c;
    (void)error;
    assert(!"it was accepted");
}

static const struct conn_user down_user = {
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_sent = on_sent,
    .on_timer = on_timer,
    .on_broken = on_broken,
};

/* ---- what the stream asks ---- */

/* Buffers are at their end within the stream's call: it is told later. */
static void give_up(struct h1_down *d)
{
    bufq_clear(&d->conn->out);
    later(d, LATER_SHED);
}

static bool is_shed(const struct h1_down *d)
{
    return d->later & LATER_SHED;
}

static void send_head(struct side *s, const struct head *h)
{
    struct h1_down *d = down_of(s);
    const struct head *req = &s->stream->request;
    enum h1_framing framing = h1_framing_response(h, req->method, req->minor);
    bool is_final = h->status >= 200 || h->status == 101;
    bool stays;

    if (is_final) {
        d->framing = (uint8_t)framing;
        d->is_head_sent = true;
        if (framing == H1_FRAME_CLOSE || !d->is_request_done ||
            !d->svc->ops->keep_alive(d->svc))
            d->must_close = true;
    }
    stays = !is_final || !d->must_close;
    if (is_shed(d))
        return;
    if (!h1_write_response(&d->conn->out, d->conn->pool->bufs, h, framing, req->minor, stays))
        give_up(d);
    else
        conn_flush(d->conn);
}

static void send_data(struct side *s, struct buf *b)
{
    struct h1_down *d = down_of(s);

    if (is_shed(d)) {
        buf_put(&b);
        return;
    }
    d->queued += b->len;
    if (!h1_write_data(&d->conn->out, d->conn->pool->bufs, (enum h1_framing)d->framing, b))
        give_up(d);
    else
        conn_flush(d->conn);
}

static void send_end(struct side *s, const struct fields *trailers)
{
    struct h1_down *d = down_of(s);

    d->is_response_done = true;
    if (is_shed(d))
        return;
    if (d->state == DOWN_TUNNEL) {
        if (d->is_eof_told && d->conn->out.bytes == 0)
            later(d, LATER_ANSWERED);
        else
            conn_shutdown(d->conn);
        return;
    }
    if (!h1_write_end(&d->conn->out, d->conn->pool->bufs, (enum h1_framing)d->framing, trailers))
        give_up(d);
    else if (d->conn->out.bytes > 0)
        conn_flush(d->conn);
    else
        later(d, LATER_ANSWERED);
}

static void grant(struct side *s, uint64_t bytes)
{
    struct h1_down *d = down_of(s);

    d->credit += bytes;
    if (!d->is_busy && (d->state == DOWN_BODY || d->state == DOWN_TUNNEL))
        later(d, LATER_READ);
}

static void reset(struct side *s, enum end_reason why)
{
    struct h1_down *d = down_of(s);

    (void)why;
    d->side.stream = NULL;
    d->state = DOWN_ANSWER;
    d->must_close = true;
    later(d, LATER_RESET);
}

/* A response that broke off in the middle must not look whole to the client. */
static void break_off(struct h1_down *d)
{
    struct http_service *svc = d->svc;

    if (!d->is_head_sent || d->framing != H1_FRAME_CLOSE) {
        close_gently(d);
        return;
    }
    conn_reset(&d->conn);
    down_free(d);
    closed(svc);
}

static void on_later(struct task *t)
{
    struct h1_down *d = CONTAINER(t, struct h1_down, task);
    unsigned what = d->later;

    d->later = 0;
    if (what & LATER_SHED)
        gone(d, END_EXHAUSTED);
    else if (what & LATER_RESET)
        break_off(d);
    else if ((what & LATER_ANSWERED) && d->side.stream && d->is_response_done &&
             d->conn->out.bytes == 0)
        answered(d);
    else if (what & LATER_READ)
        on_readable(d->conn);
}

static void detach(struct side *s)
{
    (void)s;
    assert(!"a down side is done when its answer has left");
}

static void tunnel(struct side *s)
{
    struct h1_down *d = down_of(s);

    d->state = DOWN_TUNNEL;
    d->framing = H1_FRAME_CLOSE;
    d->must_close = true;
    if (!d->is_busy)
        later(d, LATER_READ);
}

static const struct side_ops down_ops = {
    .send_head = send_head,
    .send_data = send_data,
    .send_end = send_end,
    .grant = grant,
    .reset = reset,
    .detach = detach,
    .tunnel = tunnel,
};

bool h1_down_start(struct h1_down_pool *p, struct conn *c, struct http_service *svc,
                   struct buf *first)
{
    struct h1_down *d = down_alloc(p);

    if (!d)
        return false;
    *d = (struct h1_down){
        .side = { .ops = &down_ops },
        .conn = c,
        .svc = svc,
        .pool = p,
        .in = first,
        .state = DOWN_IDLE,
        .is_first = true,
    };
    h1_gather_init(&d->gather);
    task_init(&d->task, on_later);
    list_push(&p->open, &d->link);
    conn_use(c, &down_user, d);
    arm(d);
    if (first)
        later(d, LATER_READ);
    return true;
}

void h1_down_retire(struct h1_down_pool *p)
{
    LIST_EACH(it, &p->open) {
        struct h1_down *d = CONTAINER(it, struct h1_down, link);

        if (d->state == DOWN_IDLE && !d->in && d->conn->out.bytes == 0)
            close_now(d);
    }
}

void h1_down_abort(struct h1_down_pool *p)
{
    LIST_EACH(it, &p->open)
        gone(CONTAINER(it, struct h1_down, link), END_RETIRING);
}
